package backend_test

import "testing"

// TestAttacks is what experts tried on the mount and its library, one subtest
// for each attack; more than one where the attack has more faces.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for _, attack := range []struct {
		name string
		run  func(*testing.T)
	}{
		// F4.1: the keys change account under the mount
		{"F4.1 a revocation in another account", attackSourceChangesAccount},
		{"F4.1 tidy in another account", attackTidyInAnotherAccount},
		{"F4.1 a lease of the built-in engine", attackLeaseWithoutAccount},

		// F4.2: a static role of the user whose key the mount works with
		{"F4.2 the mount's own user", attackStaticRoleOfTheMount},
		{"F4.2 a user that becomes the mount's own", attackStaticRoleBecomesTheMount},

		// F4.3: a 200 of somebody else
		{"F4.3 a filter answers a revocation", attackRevokeBehindAFilter},
		{"F4.3 answers without RequestId", attackIssueWithoutRequestID},

		// F4.4: parameters of a read
		{"F4.4 a read with parameters", attackReadWithParameters},
		{"F4.4 a name beside a template", attackNameBesideATemplate},

		// F4.5: a shared policy that somebody planted
		{"F4.5 planted or changed", attackPlantedPolicy},
		{"F4.5 planted in between", attackPolicyPlantedInBetween},

		// F4.6: names in another letter case
		{"F4.6 a denied role in upper case", attackUpperCaseOfARole},
		{"F4.6 a denied static role in upper case", attackUpperCaseOfAStaticRole},

		// F4.7: requests of a megabyte
		{"F4.7 policies of a megabyte", attackMegabytes},

		// F4.8: answers quoted in errors
		{"F4.8 a service of the inside", attackInternalService},

		// F4.9: marks that somebody copied
		{"F4.9 on something else", attackCopiedMark},
		{"F4.9 on what the mount lives on", attackMarkOnTheMountItself},

		// F4.10: a session that is over when it arrives
		{"F4.10 storage is slow", attackSessionOverWhenItArrives},

		// F4.11: a flood of readers and a revocation
		{"F4.11 readers of a slow STS", attackFloodOfReaders},

		// F4.12: the mount's own role is made again
		{"F4.12 role deleted and made anew", attackMountsRoleMadeAnew},
		{"F4.12 a session that claims to live for ever", attackSessionForEver},

		// F4.13: a key made by hand during an outage
		{"F4.13 hours after the lost call", attackKeyMadeDuringAnOutage},
		{"F4.13 before a clean-up", attackKeyMadeBeforeTheCleanUp},
		{"F4.13 with the lost one", attackKeyMadeWithTheLostOne},

		// F4.14: clocks that were wrong
		{"F4.14 times of 2099", attackClockOfAnotherCentury},
		{"F4.14 a node that is a little ahead", attackNodeThatIsAhead},
		{"F4.14 a lease from the future", attackLeaseFromTheFuture},

		// F4.15: a rotation that is refused
		{"F4.15 six hours of NoPermission", attackRefusedRotation},

		// F4.17: small ones
		{"F4.17 a restored snapshot", attackRestoredSnapshot},
		{"F4.17 a token file that never ends", attackFileThatNeverEnds},
		{"F4.17 a private key of a megabit", attackHugeKey},
		{"F4.17 a shared session of another ttl", attackSharedSessionOfAnotherTTL},
		{"F4.17 a template that is not filled in", attackTemplateThatIsNotFilledIn},
		{"F4.17 a name that widens", attackNameThatWidens},
		{"F4.17 a policy chosen by name", attackPolicyByName},
		{"F4.17 a credentials URI read back", attackCredentialsURIReadBack},
		{"work in the background that outlives the mount", attackBackgroundOutlivesMount},

		// F4.18: the mount's credentials fail in the background
		{"own credentials that cannot be renewed", attackRenewalFailsUnseen},
		{"own credentials that have ended", attackOutageSaysSinceWhen},
		{"work that no request waits for", attackBackgroundFailsUnseen},

		// F4.19: a lease's user renames itself
		{"F4.19 a user that is renamed", attackUserRenamesItself},
		{"F4.19 a user that is renamed all the time", attackUserRenamesItselfAgain},
		{"F4.19 a mount that may not look", attackUserThatCannotBeLookedFor},
		{"F4.19 the user of a static role", attackStaticUserRenamed},
	} {
		t.Run(attack.name, func(t *testing.T) {
			t.Parallel()
			attack.run(t)
		})
	}
}
