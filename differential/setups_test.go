package differential

import (
	"testing"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// setup is one situation. Words in braces are filled in: see bed.filler.
type setup struct {
	name     string
	config   map[string]any
	env      map[string]string
	files    map[string]string // below the home directory
	faults   []alisim.Fault
	instance *alisim.Instance   // in place of the seeded one
	token    alisim.TokenDefect // of {jwt}
	asks     int                // 0 means once

	prepare func(t *testing.T, home string) // after the files are written

	want string // what alicreds makes of it
}

func names(setups []setup) []string {
	var all []string
	for _, s := range setups {
		all = append(all, s.name)
	}
	return all
}

const (
	keyPairID = "LTAI5tKEYPAIRFAKEFAKE000"
	unknown   = "acs:ram::1234567890123456:role/nobody"

	deployed = "ok ram_role_arn assumed-role/deploy/* with token"
	podded   = "ok oidc_role_arn assumed-role/pod/* with token"
	noded    = "ok ecs_ram_role assumed-role/node/vm-ram-i-alisim00000000000000 with token"
	fetched  = "ok credentials_uri assumed-role/local/credentials-uri with token"

	assume = "AssumeRole"
	oidc   = "AssumeRoleWithOIDC"
)

type object = map[string]any
type texts = map[string]string

// with adds to the fields of a set-up that is good.
func with(base, more object) object {
	all := object{}
	for _, fields := range []object{base, more} {
		for name, value := range fields {
			if value == nil {
				delete(all, name)
				continue
			}
			all[name] = value
		}
	}
	return all
}

func spoilt(action, how string) []alisim.Fault {
	return []alisim.Fault{{Action: action, Kind: alisim.FaultMalform, Malform: how}}
}

func refused(action string, status int, code string) []alisim.Fault {
	return []alisim.Fault{{Action: action, Kind: alisim.FaultRefuse, Status: status, Code: code}}
}

// firstThenOut lets a session through that ends soon, and then nothing.
func firstThenOut(action, ends string) []alisim.Fault {
	return []alisim.Fault{
		{Action: action, Kind: alisim.FaultMalform, Malform: `set:Expiration="` + ends + `"`, Count: 1},
		{Action: action, Kind: alisim.FaultRefuse, Status: 403, Code: "Forbidden"},
	}
}

var (
	key  = object{"type": "access_key", "access_key_id": "{id}", "access_key_secret": "{secret}"}
	sts  = object{"type": "sts", "access_key_id": "{hub id}", "access_key_secret": "{hub secret}", "security_token": "{hub token}"}
	role = object{"type": "ram_role_arn", "access_key_id": "{id}", "access_key_secret": "{secret}", "role_arn": alisim.DefaultRoleARN}
	pod  = object{"type": "oidc_role_arn", "role_arn": alisim.DefaultPodRoleARN,
		"oidc_provider_arn": alisim.DefaultOIDCProviderARN, "oidc_token_file_path": "{home}/token"}
	ecs    = object{"type": "ecs_ram_role"}
	uri    = object{"type": "credentials_uri", "credentials_uri": "{uri}/credentials"}
	pair   = object{"type": "rsa_key_pair", "public_key_id": keyPairID, "private_key_file": "{key file}", "sts_endpoint": "{sts}"}
	bearer = object{"type": "bearer", "bearer_token": alisim.DefaultBearerToken}
	chain  = object{"type": "default"}

	token = texts{"token": "{jwt}"}
	noECS = texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true"}
	rrsa  = texts{
		"ALIBABA_CLOUD_ROLE_ARN": alisim.DefaultPodRoleARN, "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": alisim.DefaultOIDCProviderARN,
		"ALIBABA_CLOUD_OIDC_TOKEN_FILE": "{home}/token",
	}
)

const (
	cliFile = ".aliyun/config.json"
	iniFile = ".alibabacloud/credentials"
)

// cli is a config.json whose current profile is "default".
func cli(profiles string) texts {
	return texts{cliFile: `{"current": "default", "profiles": [` + profiles + `]}`}
}

const keyProfile = `"access_key_id": "{id}", "access_key_secret": "{secret}"`

var setups = []setup{
	{name: "no type", config: object{"access_key_id": "{id}", "access_key_secret": "{secret}"}, want: "error"},
	{name: "unknown type", config: with(key, object{"type": "sdk"}), want: "error"},

	{name: "access_key: good", config: key, want: "ok access_key user/vault"},
	{name: "access_key: no values", config: object{"type": "access_key"}, want: "error"},
	{name: "access_key: id only", config: with(key, object{"access_key_secret": nil}), want: "error"},
	{name: "access_key: secret only", config: with(key, object{"access_key_id": nil}), want: "error"},
	{name: "access_key: from the environment", config: object{"type": "access_key"},
		env: texts{"ALIBABA_CLOUD_ACCESS_KEY_ID": "{id}", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "{secret}"}, want: "ok access_key user/vault"},
	{name: "access_key: secret from the environment", config: with(key, object{"access_key_secret": nil}),
		env: texts{"ALIBABA_CLOUD_ACCESS_KEY_SECRET": "{secret}"}, want: "ok access_key user/vault"},
	{name: "access_key: unknown to the cloud", config: with(key, object{"access_key_id": "LTAI5tFAKE"}), want: "ok access_key nobody"},

	{name: "sts: good", config: sts, want: "ok sts assumed-role/hub/given with token"},
	{name: "sts: no token", config: with(sts, object{"security_token": nil}), want: "error"},
	{name: "sts: token from the environment", config: with(sts, object{"security_token": nil}),
		env: texts{"ALIBABA_CLOUD_SECURITY_TOKEN": "{hub token}"}, want: "ok sts assumed-role/hub/given with token"},
	{name: "sts: from the environment", config: object{"type": "sts"},
		env:  texts{"ALIBABA_CLOUD_ACCESS_KEY_ID": "{hub id}", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "{hub secret}", "ALIBABA_CLOUD_SECURITY_TOKEN": "{hub token}"},
		want: "ok sts assumed-role/hub/given with token"},

	{name: "ram_role_arn: good", config: role, want: deployed},
	{name: "ram_role_arn: no keys", config: with(role, object{"access_key_id": nil, "access_key_secret": nil}), want: "error"},
	{name: "ram_role_arn: keys from the environment", config: with(role, object{"access_key_id": nil, "access_key_secret": nil}),
		env: texts{"ALIBABA_CLOUD_ACCESS_KEY_ID": "{id}", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "{secret}"}, want: deployed},
	{name: "ram_role_arn: a token in the environment beside the keys", config: role,
		env: texts{"ALIBABA_CLOUD_SECURITY_TOKEN": "{hub token}"}, want: deployed},
	{name: "ram_role_arn: over sts", config: with(sts, object{"type": "ram_role_arn", "role_arn": alisim.DefaultRoleARN}), want: deployed},
	{name: "ram_role_arn: an empty token", config: with(role, object{"security_token": ""}), want: deployed},
	{name: "ram_role_arn: no role", config: with(role, object{"role_arn": nil}), want: "error"},
	{name: "ram_role_arn: role from the environment", config: with(role, object{"role_arn": nil}),
		env: texts{"ALIBABA_CLOUD_ROLE_ARN": alisim.DefaultRoleARN}, want: deployed},
	{name: "ram_role_arn: unknown role", config: with(role, object{"role_arn": unknown}), want: "error"},
	{name: "ram_role_arn: not an ARN", config: with(role, object{"role_arn": "deploy"}), want: "error"},
	{name: "ram_role_arn: wrong secret", config: with(role, object{"access_key_secret": "wrong"}), want: "error"},
	{name: "ram_role_arn: unknown key", config: with(role, object{"access_key_id": "LTAI5tFAKE"}), want: "error"},
	{name: "ram_role_arn: session name", config: with(role, object{"role_session_name": "alice"}),
		want: "ok ram_role_arn assumed-role/deploy/alice with token"},
	{name: "ram_role_arn: session name from the environment", config: role, env: texts{"ALIBABA_CLOUD_ROLE_SESSION_NAME": "bob"},
		want: "ok ram_role_arn assumed-role/deploy/bob with token"},
	{name: "ram_role_arn: session name with a space", config: with(role, object{"role_session_name": "alice in wonderland"}), want: "error"},
	{name: "ram_role_arn: 900 seconds", config: with(role, object{"role_session_expiration": 900}), want: deployed},
	{name: "ram_role_arn: 100 seconds", config: with(role, object{"role_session_expiration": 100}), want: "error"},
	{name: "ram_role_arn: 0 seconds", config: with(role, object{"role_session_expiration": 0}), want: deployed},
	{name: "ram_role_arn: a day", config: with(role, object{"role_session_expiration": 86400}), want: "error"},
	{name: "ram_role_arn: policy with blanks and stars",
		config: with(role, object{"policy": `{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oss:*", "Resource": "*"}]}`}), want: deployed},
	{name: "ram_role_arn: policy that is not JSON", config: with(role, object{"policy": "everything"}), want: "error"},
	{name: "ram_role_arn: external id", config: with(role, object{"external_id": "partner-1"}), want: deployed},
	{name: "ram_role_arn: endpoint", config: with(role, object{"sts_endpoint": "{sts}"}), want: deployed},
	{name: "ram_role_arn: endpoint beats region", config: with(role, object{"sts_endpoint": "{sts}"}),
		env: texts{"ALIBABA_CLOUD_STS_REGION": "no-such-region"}, want: deployed},
	{name: "ram_role_arn: region and VPC from the environment", config: role,
		env: texts{"ALIBABA_CLOUD_STS_REGION": "cn-beijing", "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "True"}, want: deployed},
	{name: "ram_role_arn: VPC without region", config: role, env: texts{"ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true"}, want: deployed},
	{name: "ram_role_arn: refused", config: role, faults: refused(assume, 403, "NoPermission"), want: "error"},
	{name: "ram_role_arn: throttled once", config: role, faults: []alisim.Fault{{Action: assume, Kind: alisim.FaultThrottle, Count: 1}}, want: deployed},
	{name: "ram_role_arn: one internal error", config: role, faults: []alisim.Fault{{Action: assume, Kind: alisim.FaultError500, Count: 1}}, want: deployed},
	{name: "ram_role_arn: one connection that breaks", config: role, faults: []alisim.Fault{{Action: assume, Kind: alisim.FaultDrop, Count: 1}}, want: deployed},
	{name: "ram_role_arn: out of order", config: role, faults: []alisim.Fault{{Action: assume, Kind: alisim.FaultError500}}, want: "error"},
	{name: "ram_role_arn: reply that is not JSON", config: role, faults: spoilt(assume, "not_json"), want: "error"},
	{name: "ram_role_arn: reply of a login page", config: role, faults: spoilt(assume, "html"), want: "error"},
	{name: "ram_role_arn: reply null", config: role, faults: spoilt(assume, "null"), want: "error"},
	{name: "ram_role_arn: reply {}", config: role, faults: spoilt(assume, "object"), want: "error"},
	{name: "ram_role_arn: reply with status 201", config: role, faults: spoilt(assume, "status:201"), want: "error"},
	{name: "ram_role_arn: reply without SecurityToken", config: role, faults: spoilt(assume, "remove:SecurityToken"), want: "error"},
	{name: "ram_role_arn: reply with an empty AccessKeyId", config: role, faults: spoilt(assume, `set:AccessKeyId=""`), want: "error"},
	{name: "ram_role_arn: reply without Expiration", config: role, faults: spoilt(assume, "remove:Expiration"), want: "error"},
	{name: "ram_role_arn: reply with an Expiration that is no time", config: role, faults: spoilt(assume, `set:Expiration="tomorrow"`), want: "error"},
	{name: "ram_role_arn: reply that has expired", config: role, faults: spoilt(assume, `set:Expiration="{an hour ago}"`), want: "error"},
	{name: "ram_role_arn: outage, 10 minutes left", config: role, faults: firstThenOut(assume, "{in 10 min}"), asks: 2, want: deployed},
	{name: "ram_role_arn: outage, 2 minutes left", config: role, faults: firstThenOut(assume, "{in 2 min}"), asks: 2, want: deployed},

	{name: "oidc_role_arn: good", config: pod, files: token, want: podded},
	{name: "oidc_role_arn: from the environment", config: object{"type": "oidc_role_arn"}, env: rrsa, files: token, want: podded},
	{name: "oidc_role_arn: session name from the environment", config: pod, files: token,
		env: texts{"ALIBABA_CLOUD_ROLE_SESSION_NAME": "bob"}, want: "ok oidc_role_arn assumed-role/pod/bob with token"},
	{name: "oidc_role_arn: no token file", config: with(pod, object{"oidc_token_file_path": nil}), want: "error"},
	{name: "oidc_role_arn: no provider", config: with(pod, object{"oidc_provider_arn": nil}), files: token, want: "error"},
	{name: "oidc_role_arn: no role", config: with(pod, object{"role_arn": nil}), files: token, want: "error"},
	{name: "oidc_role_arn: token file that is not there", config: pod, want: "error"},
	{name: "oidc_role_arn: token file that holds no token", config: pod, files: texts{"token": "root:x:0:0:root"}, want: "error"},
	{name: "oidc_role_arn: token with a newline behind it", config: pod, files: texts{"token": "{jwt}\n"}, want: podded},
	{name: "oidc_role_arn: the token itself in the environment", config: with(pod, object{"oidc_token_file_path": nil}),
		env: texts{"ALIBABA_CLOUD_OIDC_TOKEN": "{jwt}"}, want: podded},
	{name: "oidc_role_arn: a token in the environment, and a file", config: pod, files: token,
		env: texts{"ALIBABA_CLOUD_OIDC_TOKEN": "root:x:0:0:root"}, want: podded},
	{name: "oidc_role_arn: 100 seconds", config: with(pod, object{"role_session_expiration": 100}), files: token, want: "error"},
	{name: "oidc_role_arn: token that has expired", config: pod, files: token, token: alisim.TokenExpired, want: "error"},
	{name: "oidc_role_arn: token for somebody else", config: pod, files: token, token: alisim.TokenOtherAudience, want: "error"},
	{name: "oidc_role_arn: token with a wrong signature", config: pod, files: token, token: alisim.TokenBadSignature, want: "error"},
	{name: "oidc_role_arn: unknown provider", files: token,
		config: with(pod, object{"oidc_provider_arn": "acs:ram::1234567890123456:oidc-provider/nobody"}), want: "error"},
	{name: "oidc_role_arn: reply null", config: pod, files: token, faults: spoilt(oidc, "null"), want: "error"},
	{name: "oidc_role_arn: reply without Expiration", config: pod, files: token, faults: spoilt(oidc, "remove:Expiration"), want: "error"},
	{name: "oidc_role_arn: throttled once", config: pod, files: token,
		faults: []alisim.Fault{{Action: oidc, Kind: alisim.FaultThrottle, Count: 1}}, want: podded},

	{name: "ecs_ram_role: good", config: ecs, want: noded},
	{name: "ecs_ram_role: role name", config: with(ecs, object{"role_name": "node"}), want: noded},
	{name: "ecs_ram_role: role name from the environment", config: ecs, env: texts{"ALIBABA_CLOUD_ECS_METADATA": "node"}, want: noded},
	{name: "ecs_ram_role: another role", config: with(ecs, object{"role_name": "deploy"}), want: "error"},
	{name: "ecs_ram_role: switched off", config: ecs, env: noECS, want: "error"},
	{name: "ecs_ram_role: no role", config: ecs, instance: &alisim.Instance{}, want: "error"},
	{name: "ecs_ram_role: v2 only", config: ecs, instance: &alisim.Instance{RoleARN: alisim.DefaultNodeRoleARN, HTTPTokens: "required"}, want: noded},
	{name: "ecs_ram_role: v1 only", config: ecs, faults: refused("IMDS.Token", 404, "NotFound"), want: noded},
	{name: "ecs_ram_role: v1 only, and forbidden", config: with(ecs, object{"disable_imds_v1": true}),
		faults: refused("IMDS.Token", 404, "NotFound"), want: "error"},
	{name: "ecs_ram_role: v1 only, and forbidden by the environment", config: ecs, env: texts{"ALIBABA_CLOUD_IMDSV1_DISABLED": "True"},
		faults: refused("IMDS.Token", 404, "NotFound"), want: "error"},
	{name: "ecs_ram_role: a token that is refused once", config: ecs,
		faults: []alisim.Fault{{Action: "IMDS.Credentials", Kind: alisim.FaultRefuse, Status: 401, Code: "Unauthorized", Count: 1}}, want: noded},
	{name: "ecs_ram_role: metadata service is off", config: ecs, instance: &alisim.Instance{RoleARN: alisim.DefaultNodeRoleARN, Disabled: true}, want: "error"},
	{name: "ecs_ram_role: reply that failed", config: ecs, faults: spoilt("IMDS.Credentials", `set:Code="Failed"`), want: "error"},
	{name: "ecs_ram_role: reply without Code", config: ecs, faults: spoilt("IMDS.Credentials", "remove:Code"), want: "error"},
	{name: "ecs_ram_role: reply without Expiration", config: ecs, faults: spoilt("IMDS.Credentials", "remove:Expiration"), want: "error"},
	{name: "ecs_ram_role: reply that is not JSON", config: ecs, faults: spoilt("IMDS.Credentials", "not_json"), want: "error"},

	{name: "credentials_uri: good", config: uri, want: fetched},
	{name: "credentials_uri: from the environment", config: object{"type": "credentials_uri"},
		env: texts{"ALIBABA_CLOUD_CREDENTIALS_URI": "{uri}/credentials"}, want: fetched},
	{name: "credentials_uri: none", config: object{"type": "credentials_uri"}, want: "error"},
	{name: "credentials_uri: nothing there", config: with(uri, object{"credentials_uri": "{uri}/elsewhere"}), want: "error"},
	{name: "credentials_uri: reply that failed", config: uri, faults: spoilt("CredentialsURI.Get", `set:Code="Fail"`), want: "error"},
	{name: "credentials_uri: reply without Code", config: uri, faults: spoilt("CredentialsURI.Get", "remove:Code"), want: fetched},
	{name: "credentials_uri: reply without AccessKeySecret", config: uri, faults: spoilt("CredentialsURI.Get", "remove:AccessKeySecret"), want: "error"},
	{name: "credentials_uri: reply without Expiration", config: uri, faults: spoilt("CredentialsURI.Get", "remove:Expiration"), want: fetched},
	{name: "credentials_uri: reply that is not JSON", config: uri, faults: spoilt("CredentialsURI.Get", "not_json"), want: "error"},
	{name: "credentials_uri: reply that has expired", config: uri,
		faults: spoilt("CredentialsURI.Get", `set:Expiration="{an hour ago}"`), want: "error"},
	{name: "credentials_uri: redirected", config: uri, faults: []alisim.Fault{
		{Action: "CredentialsURI.Get", Kind: alisim.FaultMalform, Malform: "redirect:{uri}/credentials", Count: 1}}, want: "error"},
	{name: "credentials_uri: outage, 2 minutes left", config: uri, faults: firstThenOut("CredentialsURI.Get", "{in 2 min}"), asks: 2, want: fetched},

	{name: "rsa_key_pair: good", config: pair, want: "ok rsa_key_pair user/vault"},
	{name: "rsa_key_pair: no key file", config: with(pair, object{"private_key_file": nil}), want: "error"},
	{name: "rsa_key_pair: key file that is not there", config: with(pair, object{"private_key_file": "{home}/key"}), want: "error"},
	{name: "rsa_key_pair: no id", config: with(pair, object{"public_key_id": nil}), want: "error"},
	{name: "rsa_key_pair: key file that holds no key", config: with(pair, object{"private_key_file": "{home}/key"}),
		files: texts{"key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, want: "error"},
	{name: "rsa_key_pair: unknown id", config: with(pair, object{"public_key_id": "LTAI5tFAKE"}), want: "error"},

	{name: "bearer: good", config: bearer, want: "ok bearer bearer token"},
	{name: "bearer: none", config: object{"type": "bearer"}, want: "error"},

	{name: "default: nothing is set up", config: chain, env: noECS, want: "error"},
	{name: "default: env", config: chain, env: texts{"ALIBABA_CLOUD_ACCESS_KEY_ID": "{id}", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "{secret}"},
		want: "ok default user/vault"},
	{name: "default: env with a token", config: chain, env: texts{
		"ALIBABA_CLOUD_ACCESS_KEY_ID": "{hub id}", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "{hub secret}", "ALIBABA_CLOUD_SECURITY_TOKEN": "{hub token}"},
		want: "ok default assumed-role/hub/given with token"},
	{name: "default: env without a secret, on an instance", config: chain, env: texts{"ALIBABA_CLOUD_ACCESS_KEY_ID": "{id}"}, want: "error"},
	{name: "default: oidc", config: chain, env: rrsa, files: token, want: "ok default assumed-role/pod/* with token"},
	{name: "default: oidc refused, on an instance", config: chain, env: rrsa, files: token, token: alisim.TokenExpired, want: "error"},
	{name: "default: instance", config: chain, want: "ok default assumed-role/node/vm-ram-i-alisim00000000000000 with token"},
	{name: "default: uri", config: chain,
		env:  texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "ALIBABA_CLOUD_CREDENTIALS_URI": "{uri}/credentials"},
		want: "ok default assumed-role/local/credentials-uri with token"},
	{name: "default: uri, on an instance", config: chain, env: texts{"ALIBABA_CLOUD_CREDENTIALS_URI": "{uri}/credentials"},
		want: "ok default assumed-role/node/vm-ram-i-alisim00000000000000 with token"},

	{name: "config.json: AK", config: chain, env: noECS, files: cli(`{"name": "default", "mode": "AK", ` + keyProfile + `}`), want: "ok default user/vault"},
	{name: "config.json: AK without keys, on an instance", config: chain, files: cli(`{"name": "default", "mode": "AK"}`), want: "error"},
	{name: "config.json: StsToken", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "StsToken", "access_key_id": "{hub id}", "access_key_secret": "{hub secret}", "sts_token": "{hub token}"}`),
		want: "ok default assumed-role/hub/given with token"},
	{name: "config.json: RamRoleArn", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "RamRoleArn", ` + keyProfile + `, "ram_role_arn": "` + alisim.DefaultRoleARN + `", "ram_session_name": "carol"}`),
		want: "ok default assumed-role/deploy/carol with token"},
	{name: "config.json: EcsRamRole", config: chain, files: cli(`{"name": "default", "mode": "EcsRamRole", "ram_role_name": "node"}`),
		want: "ok default assumed-role/node/vm-ram-i-alisim00000000000000 with token"},
	{name: "config.json: OIDC", config: chain, env: noECS, files: texts{"token": "{jwt}", cliFile: `{"current": "default", "profiles": [` +
		`{"name": "default", "mode": "OIDC", "oidc_provider_arn": "` + alisim.DefaultOIDCProviderARN + `", "oidc_token_file": "{home}/token", ` +
		`"ram_role_arn": "` + alisim.DefaultPodRoleARN + `", "ram_session_name": "carol"}]}`}, want: "ok default assumed-role/pod/carol with token"},
	{name: "config.json: ChainableRamRoleArn", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "ChainableRamRoleArn", "source_profile": "first", "ram_role_arn": "` + alisim.DefaultRoleARN + `", "ram_session_name": "carol"},` +
			`{"name": "first", "mode": "AK", ` + keyProfile + `}`), want: "ok default assumed-role/deploy/carol with token"},
	{name: "config.json: a source that is its own source", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "ChainableRamRoleArn", "source_profile": "default", "ram_role_arn": "` + alisim.DefaultRoleARN + `"}`), want: "error"},
	{name: "config.json: a source that is not there", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "ChainableRamRoleArn", "source_profile": "first", "ram_role_arn": "` + alisim.DefaultRoleARN + `"}`), want: "error"},
	{name: "config.json: CloudSSO", config: chain, env: noECS, files: cli(`{"name": "default", "mode": "CloudSSO", ` +
		`"cloud_sso_sign_in_url": "https://signin-cn-shanghai.alibabacloudsso.com/alisim/login", "cloud_sso_account_id": "` + alisim.DefaultAccountID + `", ` +
		`"cloud_sso_access_config": "` + alisim.DefaultAccessConfiguration + `", "access_token": "` + alisim.DefaultCloudSSOToken + `", ` +
		`"cloud_sso_access_token_expire": {in an hour, unix}}`), want: "ok default assumed-role/local/cloudsso-user with token"},
	{name: "config.json: CloudSSO, login is over", config: chain, env: noECS, files: cli(`{"name": "default", "mode": "CloudSSO", ` +
		`"cloud_sso_sign_in_url": "https://signin-cn-shanghai.alibabacloudsso.com/alisim/login", "cloud_sso_account_id": "` + alisim.DefaultAccountID + `", ` +
		`"cloud_sso_access_config": "` + alisim.DefaultAccessConfiguration + `", "access_token": "` + alisim.DefaultCloudSSOToken + `", ` +
		`"cloud_sso_access_token_expire": {an hour ago, unix}}`), want: "error"},
	{name: "config.json: CloudSSO, login is over, asked twice", config: chain, env: noECS, asks: 2, files: cli(`{"name": "default", "mode": "CloudSSO", ` +
		`"cloud_sso_sign_in_url": "https://signin-cn-shanghai.alibabacloudsso.com/alisim/login", "cloud_sso_account_id": "` + alisim.DefaultAccountID + `", ` +
		`"cloud_sso_access_config": "` + alisim.DefaultAccessConfiguration + `", "access_token": "` + alisim.DefaultCloudSSOToken + `", ` +
		`"cloud_sso_access_token_expire": {an hour ago, unix}}`), want: "error"},
	{name: "config.json: OAuth", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "OAuth", "oauth_site_type": "CN", "oauth_refresh_token": "` + alisim.DefaultRefreshToken + `"}`),
		want: "ok default assumed-role/local/oauth-user with token"},
	{name: "config.json: OAuth, unknown refresh token", config: chain, env: noECS, files: cli(
		`{"name": "default", "mode": "OAuth", "oauth_site_type": "CN", "oauth_refresh_token": "wrong"}`), want: "error"},
	{name: "config.json: OAuth, keys in capitals", config: chain, env: noECS, faults: spoilt("OAuth.Exchange", "pascal_case"), files: cli(
		`{"name": "default", "mode": "OAuth", "oauth_site_type": "CN", "oauth_refresh_token": "` + alisim.DefaultRefreshToken + `"}`),
		want: "ok default assumed-role/local/oauth-user with token"},
	{name: "config.json: External", config: chain, env: noECS, files: texts{
		"keys":  `{"mode": "AK", "access_key_id": "{id}", "access_key_secret": "{secret}"}`,
		cliFile: `{"current": "default", "profiles": [{"name": "default", "mode": "External", "process_command": "cat '{home}/keys'"}]}`},
		want: "ok default user/vault"},
	{name: "config.json: External, command fails", config: chain, env: noECS,
		files: cli(`{"name": "default", "mode": "External", "process_command": "false"}`), want: "error"},
	{name: "config.json: External, no secret", config: chain, env: noECS, files: texts{
		"keys":  `{"mode": "AK", "access_key_id": "{id}"}`,
		cliFile: `{"current": "default", "profiles": [{"name": "default", "mode": "External", "process_command": "cat '{home}/keys'"}]}`},
		want: "error"},
	{name: "config.json: CredentialsURI", config: chain, env: noECS,
		files: cli(`{"name": "default", "mode": "CredentialsURI", "credentials_uri": "{uri}/credentials"}`),
		want:  "ok default assumed-role/local/credentials-uri with token"},
	{name: "config.json: RamRoleArnWithRoleName", config: chain, files: cli(
		`{"name": "default", "mode": "RamRoleArnWithRoleName", "ram_role_name": "node", "ram_role_arn": "` + alisim.DefaultRoleARN + `", "ram_session_name": "carol"}`),
		want: "ok default assumed-role/deploy/carol with token"},
	{name: "config.json: BearerToken", config: chain, env: noECS,
		files: cli(`{"name": "default", "mode": "BearerToken", "bearer_token": "` + alisim.DefaultBearerToken + `"}`), want: "ok bearer bearer token"},
	{name: "config.json: unknown mode", config: chain, env: noECS, files: cli(`{"name": "default", "mode": "Magic"}`), want: "error"},
	{name: "config.json: not JSON, on an instance", config: chain, files: texts{cliFile: "{"}, want: "error"},
	{name: "config.json: profile from the environment", config: chain,
		env:   texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "ALIBABA_CLOUD_PROFILE": "second"},
		files: cli(`{"name": "default", "mode": "Magic"}, {"name": "second", "mode": "AK", ` + keyProfile + `}`), want: "ok default user/vault"},
	{name: "config.json: elsewhere", config: chain,
		env:   texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "ALIBABA_CLOUD_CONFIG_FILE": "{home}/other.json"},
		files: texts{"other.json": `{"current": "default", "profiles": [{"name": "default", "mode": "AK", ` + keyProfile + `}]}`}, want: "ok default user/vault"},
	{name: "config.json: switched off", config: chain,
		env:   texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "ALIBABA_CLOUD_CLI_PROFILE_DISABLED": "true"},
		files: cli(`{"name": "default", "mode": "AK", ` + keyProfile + `}`), want: "error"},

	{name: "INI: access_key", config: chain, env: noECS,
		files: texts{iniFile: "[default]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"}, want: "ok default user/vault"},
	{name: "INI: not enabled", config: chain, env: noECS,
		files: texts{iniFile: "[default]\nenable = false\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"}, want: "error"},
	{name: "INI: elsewhere", config: chain,
		env:   texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "ALIBABA_CLOUD_CREDENTIALS_FILE": "{home}/other"},
		files: texts{"other": "[default]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"}, want: "ok default user/vault"},
	{name: "INI: credentials.ini", config: chain, env: noECS,
		files: texts{iniFile + ".ini": "[default]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"}, want: "ok default user/vault"},
	{name: "INI: section from the environment", config: chain,
		env:   texts{"ALIBABA_CLOUD_ECS_METADATA_DISABLED": "true", "ALIBABA_CLOUD_PROFILE": "second"},
		files: texts{iniFile: "[default]\ntype = magic\n\n[second]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"},
		want:  "ok default user/vault"},
	{name: "INI: no such section", config: chain, env: noECS,
		files: texts{iniFile: "[other]\ntype = access_key\naccess_key_id = {id}\naccess_key_secret = {secret}\n"}, want: "error"},
	{name: "INI: sts", config: chain, env: noECS, files: texts{
		iniFile: "[default]\ntype = sts\naccess_key_id = {hub id}\naccess_key_secret = {hub secret}\nsecurity_token = {hub token}\n"},
		want: "ok default assumed-role/hub/given with token"},
	{name: "INI: ram_role_arn", config: chain, env: noECS, files: texts{
		iniFile: "[default]\ntype = ram_role_arn\naccess_key_id = {id}\naccess_key_secret = {secret}\nrole_arn = " + alisim.DefaultRoleARN + "\nrole_session_name = dave\n"},
		want: "ok default assumed-role/deploy/dave with token"},
	{name: "INI: ram_role_arn without a session name", config: chain, env: noECS, files: texts{
		iniFile: "[default]\ntype = ram_role_arn\naccess_key_id = {id}\naccess_key_secret = {secret}\nrole_arn = " + alisim.DefaultRoleARN + "\n"},
		want: "ok default assumed-role/deploy/* with token"},
	{name: "INI: ecs_ram_role", config: chain, files: texts{iniFile: "[default]\ntype = ecs_ram_role\nrole_name = node\n"},
		want: "ok default assumed-role/node/vm-ram-i-alisim00000000000000 with token"},
	{name: "INI: oidc_role_arn", config: chain, env: noECS, files: texts{"token": "{jwt}",
		iniFile: "[default]\ntype = oidc_role_arn\noidc_provider_arn = " + alisim.DefaultOIDCProviderARN + "\noidc_token_file_path = {home}/token\nrole_arn = " +
			alisim.DefaultPodRoleARN + "\nrole_session_name = dave\n"}, want: "ok default assumed-role/pod/dave with token"},
	{name: "INI: unknown type", config: chain, env: noECS, files: texts{iniFile: "[default]\ntype = magic\n"}, want: "error"},
	{name: "INI: unknown type, on an instance", config: chain, files: texts{iniFile: "[default]\ntype = magic\n"}, want: "error"},
}
