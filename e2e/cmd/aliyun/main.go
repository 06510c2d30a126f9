// Aliyun stands in for Alibaba Cloud's own command line, which no package
// registry has, in the tests of the tutorials. It knows the commands that are
// written there, and refuses an action or a parameter that the metadata of the
// real one (aliyun CLI 3.4.11) does not have:
//
//	aliyun PRODUCT ACTION [--PARAMETER VALUE]... [--profile NAME] [--region ID] [--cli-query JMESPATH]
//	aliyun configure set --mode External --process-command COMMAND [--profile NAME] [--region ID]
//
// As there, the keys are those of a profile of ~/.aliyun/config.json, and those
// of the environment only without that file, or where ALIBABA_CLOUD_IGNORE_PROFILE
// is TRUE. Alibaba's own SDKs find, sign and send.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/aliyun/credentials-go/credentials"
	"github.com/aliyun/credentials-go/credentials/providers"
	"github.com/jmespath/go-jmespath"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ERROR:", err)
		os.Exit(1)
	}
}

type product struct {
	host, version string
	actions       map[string][]string // and their parameters
}

var products = map[string]product{
	"sts": {"sts.aliyuncs.com", "2015-04-01", map[string][]string{
		"GetCallerIdentity": nil,
	}},
	"ram": {"ram.aliyuncs.com", "2015-05-01", map[string][]string{
		"CreateUser":           {"UserName", "DisplayName", "Comments"},
		"CreateAccessKey":      {"UserName"},
		"CreateRole":           {"RoleName", "AssumeRolePolicyDocument", "Description", "MaxSessionDuration"},
		"CreatePolicy":         {"PolicyName", "PolicyDocument", "Description"},
		"AttachPolicyToUser":   {"PolicyName", "PolicyType", "UserName"},
		"AttachPolicyToRole":   {"PolicyName", "PolicyType", "RoleName"},
		"GetRole":              {"RoleName"},
		"GetUser":              {"UserName"},
		"ListUsers":            nil,
		"ListAccessKeys":       {"UserName"},
		"ListPoliciesForUser":  {"UserName"},
		"DeleteAccessKey":      {"UserAccessKeyId", "UserName"},
		"DeleteUser":           {"UserName"},
		"DetachPolicyFromUser": {"PolicyName", "PolicyType", "UserName"},
		"DetachPolicyFromRole": {"PolicyName", "PolicyType", "RoleName"},
		"DeleteRole":           {"RoleName"},
		"DeletePolicy":         {"PolicyName"},
		"UpdateAccessKey":      {"UserAccessKeyId", "Status", "UserName"},
	}},
	"actiontrail": {"actiontrail.cn-hangzhou.aliyuncs.com", "2020-07-06", map[string][]string{
		"LookupEvents": {"LookupAttribute.1.Key", "LookupAttribute.1.Value", "StartTime", "EndTime", "MaxResults", "NextToken", "Direction"},
	}},
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("aliyun PRODUCT ACTION [--PARAMETER VALUE]...")
	}
	flags := map[string]*string{}
	for rest := args[2:]; len(rest) > 0; rest = rest[2:] {
		name, isFlag := strings.CutPrefix(rest[0], "--")
		if !isFlag || len(rest) == 1 {
			return fmt.Errorf("%q is no parameter with a value", rest[0])
		}
		flags[name] = dara.String(rest[1])
	}
	if args[0] == "configure" && args[1] == "set" {
		return configure(flags)
	}
	query := flags["cli-query"]
	delete(flags, "cli-query")
	profile := dara.StringValue(flags["profile"])
	delete(flags, "profile")
	region := dara.StringValue(flags["region"])
	delete(flags, "region")
	p, known := products[args[0]]
	if region != "" {
		p.host = strings.Replace(p.host, "cn-hangzhou", region, 1)
	}
	parameters, has := p.actions[args[1]]
	if !known || !has {
		return fmt.Errorf("'%s' is not a valid api of %s", args[1], args[0])
	}
	for name := range flags {
		if !slices.Contains(parameters, name) {
			return fmt.Errorf("'--%s' is not a valid parameter", name)
		}
	}
	credential, err := credentialOf(profile)
	if err != nil {
		return err
	}
	answer, err := call(p, args[1], flags, credential)
	if err != nil {
		return err
	}
	var shown any = answer
	if query != nil {
		if shown, err = jmespath.Search(*query, shown); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(shown, "", "\t")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

// credentialOf is that of a profile, "" for the current one.
func credentialOf(profile string) (credentials.Credential, error) {
	file, err := configFile()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err != nil || os.Getenv("ALIBABA_CLOUD_IGNORE_PROFILE") == "TRUE" {
		if err != nil && os.Getenv("ALIBABA_CLOUD_REGION_ID") == "" {
			return nil, errors.New("region can't be empty")
		}
		return credentials.NewCredential(nil) // the environment is the first it looks at
	}
	provider, err := providers.NewCLIProfileCredentialsProviderBuilder().WithProfileName(profile).Build()
	if err != nil {
		return nil, err
	}
	return credentials.FromCredentialsProvider("cli_profile", provider), nil
}

func configFile() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".aliyun", "config.json"), err
}

func call(p product, action string, parameters map[string]*string, credential credentials.Credential) (map[string]any, error) {
	client, err := openapi.NewClient(&openapiutil.Config{
		Endpoint: dara.String(p.host), Credential: credential, HttpsProxy: dara.String(os.Getenv("HTTPS_PROXY")),
	})
	if err != nil {
		return nil, err
	}
	answer, err := client.CallApi(&openapiutil.Params{
		Action: dara.String(action), Version: dara.String(p.version), Protocol: dara.String("HTTPS"), Method: dara.String("POST"),
		AuthType: dara.String("AK"), Style: dara.String("RPC"), Pathname: dara.String("/"),
		ReqBodyType: dara.String("formData"), BodyType: dara.String("json"),
	}, &openapiutil.OpenApiRequest{Query: parameters}, &dara.RuntimeOptions{})
	if err != nil {
		return nil, err
	}
	body, _ := answer["body"].(map[string]any)
	return body, nil
}

// configure adds a profile, or replaces it, and makes it the current one.
func configure(flags map[string]*string) error {
	profile := map[string]any{"name": "default"}
	fields := map[string]string{"profile": "name", "mode": "mode", "process-command": "process_command", "region": "region_id"}
	for name, value := range flags {
		if fields[name] == "" {
			return fmt.Errorf("configure set: unknown flag --%s", name)
		}
		profile[fields[name]] = *value
	}
	file, err := configFile()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config struct {
		Current  any              `json:"current"`
		Profiles []map[string]any `json:"profiles"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	config.Current = profile["name"]
	config.Profiles = append(slices.DeleteFunc(config.Profiles, func(p map[string]any) bool { return p["name"] == profile["name"] }), profile)
	if text, err = json.MarshalIndent(config, "", "\t"); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}
