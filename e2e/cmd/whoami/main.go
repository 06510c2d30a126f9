// Whoami asks Alibaba Cloud who the keys in the environment belong to, through
// an SDK of Alibaba's that this project did not write, and prints the ARN.
//
//	whoami [-keys FILE] [-ca FILE] [-sdk credentials-go|v1|v3] [-assume-role ARN]
//	whoami [-keys FILE] [-ca FILE] -ram-user NAME
//
// The keys are those of -keys, an answer of "vault read -format=json", else
// ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and
// ALIBABA_CLOUD_SECURITY_TOKEN. With -assume-role the SDK first obtains a
// session of that role by itself. With -ram-user the answer is "exists" or
// "gone". Without keys credentials-go looks for some itself, such as those in
// ~/.aliyun/config.json. HTTPS_PROXY is honoured, so that a simulator can stand in.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/sts"
	"github.com/aliyun/credentials-go/credentials"
)

const (
	region      = "cn-hangzhou"
	stsHost     = "sts." + region + ".aliyuncs.com"
	ramHost     = "ram.aliyuncs.com"
	sessionName = "whoami"

	patience = time.Minute // with one call; of a busy machine
)

func main() {
	sdkName := flag.String("sdk", "v3", "credentials-go, v1 (alibaba-cloud-sdk-go) or v3 (darabonba-openapi)")
	roleARN := flag.String("assume-role", "", "ARN of a role to assume first")
	ramUser := flag.String("ram-user", "", "name of a RAM user to look for, instead of asking who we are")
	caFile := flag.String("ca", "", "PEM file of the CA to trust; v3 only, the others read SSL_CERT_FILE")
	keysFile := flag.String("keys", "", "JSON file that vault read -format=json creds/<role> printed")
	flag.Parse()
	if err := run(*sdkName, *roleARN, *ramUser, *caFile, *keysFile); err != nil {
		fmt.Fprintln(os.Stderr, "whoami:", err)
		os.Exit(1)
	}
}

func run(sdkName, roleARN, ramUser, caFile, keysFile string) error {
	v3 := v3SDK{proxy: os.Getenv("HTTPS_PROXY")}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return err
		}
		v3.ca = string(pem)
	}
	sdks := map[string]sdk{"credentials-go": credentialsGo{v3}, "v1": v1SDK{}, "v3": v3}
	s, ok := sdks[sdkName]
	if !ok {
		return fmt.Errorf("no SDK %q", sdkName)
	}
	k, err := readKeys(keysFile)
	if err != nil {
		return err
	}
	if roleARN != "" {
		if k, err = s.assumeRole(k, roleARN); err != nil {
			return fmt.Errorf("AssumeRole: %w", err)
		}
	}
	if ramUser != "" {
		exists, err := v3.userExists(k, ramUser)
		if err != nil {
			return fmt.Errorf("GetUser: %w", err)
		}
		if exists {
			fmt.Println("exists")
		} else {
			fmt.Println("gone")
		}
		return nil
	}
	arn, err := s.callerIdentity(k)
	if err != nil {
		return fmt.Errorf("GetCallerIdentity: %w", err)
	}
	fmt.Println(arn)
	return nil
}

type keys struct{ id, secret, token string }

func readKeys(file string) (keys, error) {
	if file == "" {
		return keys{
			id:     os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"),
			secret: os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
			token:  os.Getenv("ALIBABA_CLOUD_SECURITY_TOKEN"),
		}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return keys{}, err
	}
	var answer struct {
		Data struct {
			AccessKey     string `json:"access_key"`
			SecretKey     string `json:"secret_key"`
			SecurityToken string `json:"security_token"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return keys{}, fmt.Errorf("%s: %w", file, err)
	}
	return keys{answer.Data.AccessKey, answer.Data.SecretKey, answer.Data.SecurityToken}, nil
}

// An sdk is one of Alibaba's.
type sdk interface {
	assumeRole(k keys, roleARN string) (keys, error)
	callerIdentity(k keys) (arn string, err error)
}

// v1SDK is alibaba-cloud-sdk-go, which signs V1.
type v1SDK struct{}

func (v1SDK) client(k keys) (client *sts.Client, err error) {
	if k.token != "" {
		client, err = sts.NewClientWithStsToken(region, k.id, k.secret, k.token)
	} else {
		client, err = sts.NewClientWithAccessKey(region, k.id, k.secret)
	}
	if err != nil {
		return nil, err
	}
	client.SetConnectTimeout(patience)
	client.SetReadTimeout(patience)
	return client, nil
}

func (s v1SDK) assumeRole(k keys, roleARN string) (keys, error) {
	client, err := s.client(k)
	if err != nil {
		return keys{}, err
	}
	request := sts.CreateAssumeRoleRequest()
	request.Scheme = "https"
	request.RoleArn = roleARN
	request.RoleSessionName = sessionName
	answer, err := client.AssumeRole(request)
	if err != nil {
		return keys{}, err
	}
	c := answer.Credentials
	return keys{id: c.AccessKeyId, secret: c.AccessKeySecret, token: c.SecurityToken}, nil
}

func (s v1SDK) callerIdentity(k keys) (string, error) {
	client, err := s.client(k)
	if err != nil {
		return "", err
	}
	request := sts.CreateGetCallerIdentityRequest()
	request.Scheme = "https"
	answer, err := client.GetCallerIdentity(request)
	if err != nil {
		return "", err
	}
	return answer.Arn, nil
}

// v3SDK is darabonba-openapi, which all of Alibaba's newer SDKs are made of; it signs V3.
type v3SDK struct{ proxy, ca string }

func (s v3SDK) config(host string) *openapiutil.Config {
	c := &openapiutil.Config{
		Endpoint:       dara.String(host),
		RegionId:       dara.String(region),
		ConnectTimeout: dara.Int(int(patience.Milliseconds())),
		ReadTimeout:    dara.Int(int(patience.Milliseconds())),
	}
	if s.proxy != "" {
		c.HttpsProxy = dara.String(s.proxy)
	}
	if s.ca != "" {
		c.Ca = dara.String(s.ca)
	}
	return c
}

func (s v3SDK) keyed(host string, k keys) *openapiutil.Config {
	c := s.config(host)
	c.AccessKeyId = dara.String(k.id)
	c.AccessKeySecret = dara.String(k.secret)
	if k.token != "" {
		c.SecurityToken = dara.String(k.token)
	}
	return c
}

func (v3SDK) call(config *openapiutil.Config, version, action string, query map[string]*string) (map[string]any, error) {
	client, err := openapi.NewClient(config)
	if err != nil {
		return nil, err
	}
	answer, err := client.CallApi(&openapiutil.Params{
		Action:      dara.String(action),
		Version:     dara.String(version),
		Protocol:    dara.String("HTTPS"),
		Method:      dara.String("POST"),
		AuthType:    dara.String("AK"),
		Style:       dara.String("RPC"),
		Pathname:    dara.String("/"),
		ReqBodyType: dara.String("formData"),
		BodyType:    dara.String("json"),
	}, &openapiutil.OpenApiRequest{Query: query}, &dara.RuntimeOptions{})
	if err != nil {
		return nil, err
	}
	body, _ := answer["body"].(map[string]any)
	return body, nil
}

func (s v3SDK) assumeRole(k keys, roleARN string) (keys, error) {
	body, err := s.call(s.keyed(stsHost, k), "2015-04-01", "AssumeRole", map[string]*string{
		"RoleArn":         dara.String(roleARN),
		"RoleSessionName": dara.String(sessionName),
	})
	if err != nil {
		return keys{}, err
	}
	c, _ := body["Credentials"].(map[string]any)
	text := func(name string) string { s, _ := c[name].(string); return s }
	return keys{id: text("AccessKeyId"), secret: text("AccessKeySecret"), token: text("SecurityToken")}, nil
}

func (s v3SDK) callerIdentity(k keys) (string, error) {
	return s.identity(s.keyed(stsHost, k))
}

func (s v3SDK) identity(config *openapiutil.Config) (string, error) {
	body, err := s.call(config, "2015-04-01", "GetCallerIdentity", nil)
	if err != nil {
		return "", err
	}
	arn, _ := body["Arn"].(string)
	if arn == "" {
		return "", errors.New("the answer has no Arn")
	}
	return arn, nil
}

func (s v3SDK) userExists(k keys, name string) (bool, error) {
	_, err := s.call(s.keyed(ramHost, k), "2015-05-01", "GetUser", map[string]*string{"UserName": dara.String(name)})
	var refusal *tea.SDKError
	if errors.As(err, &refusal) && tea.StringValue(refusal.Code) == "EntityNotExist.User" {
		return false, nil
	}
	return err == nil, err
}

// credentialsGo is the Credentials tool: it obtains keys, and gives them to the v3 SDK.
type credentialsGo struct{ v3 v3SDK }

func (s credentialsGo) assumeRole(k keys, roleARN string) (keys, error) {
	config := &credentials.Config{
		Type:            dara.String("ram_role_arn"),
		AccessKeyId:     dara.String(k.id),
		AccessKeySecret: dara.String(k.secret),
		SecurityToken:   dara.String(k.token),
		RoleArn:         dara.String(roleARN),
		RoleSessionName: dara.String(sessionName),
		STSEndpoint:     dara.String(stsHost),
		Proxy:           dara.String(s.v3.proxy),
	}
	credential, err := credentials.NewCredential(config)
	if err != nil {
		return keys{}, err
	}
	c, err := credential.GetCredential()
	if err != nil {
		return keys{}, err
	}
	return keys{
		id:     dara.StringValue(c.AccessKeyId),
		secret: dara.StringValue(c.AccessKeySecret),
		token:  dara.StringValue(c.SecurityToken),
	}, nil
}

func (s credentialsGo) callerIdentity(k keys) (string, error) {
	config := &credentials.Config{
		Type:            dara.String("access_key"),
		AccessKeyId:     dara.String(k.id),
		AccessKeySecret: dara.String(k.secret),
	}
	switch {
	case k == keys{}:
		config = nil // its default chain
	case k.token != "":
		config.Type = dara.String("sts")
		config.SecurityToken = dara.String(k.token)
	}
	credential, err := credentials.NewCredential(config)
	if err != nil {
		return "", err
	}
	v3 := s.v3.config(stsHost)
	v3.Credential = credential
	return s.v3.identity(v3)
}
