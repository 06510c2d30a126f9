// Package alicreds obtains Alibaba Cloud credentials, by every way there is,
// and keeps them fresh.
//
// # Choosing a provider
//
// A [Provider] is one way. Where the program runs says which:
//
//   - wherever it runs: [Default] looks for what is set up there
//   - on an ECS instance with a RAM role: [NewECSRAMRole]
//   - in a pod with RRSA (RAM Roles for Service Accounts): [NewOIDCRoleARN]
//   - on the machine of somebody who uses the aliyun CLI: [NewCLIProfile], and
//     [NewProfile] for the INI file of the Credentials tools
//   - beside an agent that hands out keys: [NewCredentialsURI], or
//     [NewExternal] for a command that prints them
//   - with keys of its own: [NewAccessKey], [NewSTS], [NewEnvironment]
//   - with a login in a browser, and no CLI: [NewCloudSSO], [NewOAuth]
//   - with what a few services take in place of keys: [NewBearer],
//     [NewRSAKeyPair]
//
// [NewRAMRoleARN] assumes a RAM role with the keys of any of them. [New]
// builds a provider from a [Config], by the name of its type and with the
// parameters of Alibaba Cloud's own Credentials tools. A function becomes a
// provider by [ProviderFunc].
//
// Constructors check everything that can be checked without a call, and make
// none.
//
// # Keeping credentials
//
// Providers hold configuration only and ask anew at each call. Wrap one in a
// [Cache], which asks once for everybody, and again before the credentials
// expire:
//
//	key, err := alicreds.NewAccessKey(id, secret)
//	if err != nil {
//		return err
//	}
//	role, err := alicreds.NewRAMRoleARN(key, alicreds.RAMRoleARNOptions{RoleARN: roleARN})
//	if err != nil {
//		return err
//	}
//	cache := alicreds.NewCache(role, alicreds.CacheOptions{}) // one for the whole program
//	defer cache.Close()
//
//	c, err := cache.Retrieve(ctx)
//	if err != nil {
//		return err
//	}
//	use(c.AccessKeyID, c.AccessKeySecret, c.SecurityToken)
//
// [NewCached] does both for a [Config]:
//
//	cache, err := alicreds.NewCached(alicreds.Config{Type: "default"}, alicreds.CacheOptions{})
//
// Call Retrieve for every request that is signed: it costs nanoseconds while
// the credentials are fresh. Take all fields from one value; those of two may
// belong to two sessions.
//
// A service may refuse credentials that have not expired: a key was deleted, a
// role was made anew. [Cache.Invalidate] tells the Cache, and the next Retrieve
// brings new ones. [CallerIdentity] asks whose credentials they are.
//
// # Chains
//
// A [Chain] asks providers in turn, and [Default] is the chain for a program
// that does not know where it runs:
//
//	chain, err := alicreds.Default(alicreds.DefaultOptions{})
//	if err != nil {
//		return err
//	}
//	cache := alicreds.NewCache(chain, alicreds.CacheOptions{})
//	defer cache.Close()
//
// After a provider that is not set up the chain asks the next one. One that is
// set up and fails ends the search: the next provider would be another identity,
// with other permissions. From then on only the one that succeeded is asked, for
// 5 minutes where one before it could not be reached, and else for good.
//
// # Errors
//
// A provider's failure is an [*Error], which names the provider. It wraps
// [ErrUnavailable] when the provider is not set up here, *openapi.Error when
// Alibaba Cloud refused, and *openapi.NetworkError when no answer came:
//
//	var failure *alicreds.Error
//	var refused *openapi.Error
//	switch {
//	case errors.Is(err, alicreds.ErrUnavailable):
//		log.Print("nothing is set up here: ", err)
//	case errors.As(err, &refused) && refused.NotExist():
//		log.Print("the role is gone; tell support about request ", refused.RequestID)
//	case errors.As(err, &failure) && failure.Temporary():
//		log.Print("try again later: ", err)
//	case errors.As(err, &failure):
//		log.Print(failure.Source, " needs a look: ", failure.Help())
//	}
//
// A Chain's failure is a [*ChainError], which has the failure of each provider
// that was asked. Nothing is set up at all where it is an ErrUnavailable.
//
// A call that the program makes itself, [CallerIdentity] or Do of an openapi.Client,
// fails without an [*Error]: with *openapi.Error, which has a Temporary of its own,
// or *openapi.NetworkError. A [Cache] adds none either when it says that the
// caller's context ended (context.DeadlineExceeded), or that it is closed.
//
// The calls have been repeated already when an error is temporary, and a
// Cache with valid credentials returns those in place of one.
//
// # Concurrency
//
// Everything here is safe for concurrent use. A renewal in a Cache is shared
// by all callers, belongs to none of them, and is bounded by
// [CacheOptions].RefreshTimeout: a caller whose context ends leaves, and the
// renewal goes on. Nothing runs in the background but the renewals, which
// [Cache.Close] ends.
//
// # Secrets
//
// Credentials, Config and providers print neither keys nor tokens, whatever
// the verb, in JSON, or in a log. No error holds any, nor a policy, a
// request, a reply, or what a file or a command contained.
//
// # Environment
//
// [New], [Default], [NewEnvironment], [NewCLIProfile] and [NewProfile] read
// the variables of Alibaba Cloud's tools, ALIBABA_CLOUD_ACCESS_KEY_ID for
// one, with os.Getenv or the Getenv of their options. Each documents its own.
// The other constructors read none:
//
//	provider, err := alicreds.New(alicreds.Config{
//		Type:   "access_key",
//		Getenv: func(string) string { return "" }, // the configuration alone counts
//	})
//
// Calls to STS go through the proxy of the environment, calls to the metadata
// service never. To choose hosts, timeouts, proxies and certificates, and to
// share connections, put an openapi.Client into the [STSOptions].
package alicreds
