// Outcome obtains credentials through one Go library, as a question on the
// standard input says, and prints what came of it.
//
//	outcome alicreds|credentials-go
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/credentialsgo"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/alicreds/vault-plugin-secrets-alicloud/differential"
	"github.com/aliyun/credentials-go/credentials"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "outcome:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	libraries := map[string]func(differential.Question) (credentials.Credential, error){
		"alicreds": ours, "credentials-go": peers,
	}
	if len(args) != 1 || libraries[args[0]] == nil {
		return fmt.Errorf("want one argument, alicreds or credentials-go")
	}
	var q differential.Question
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return err
	}
	a, err := ask(libraries[args[0]], q)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		a = differential.Answer{Error: true}
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

func ask(build func(differential.Question) (credentials.Credential, error), q differential.Question) (differential.Answer, error) {
	credential, err := build(q)
	if err != nil {
		return differential.Answer{}, err
	}
	var got *credentials.CredentialModel
	for range q.Asks {
		got, err = credential.GetCredential()
	}
	if err != nil {
		return differential.Answer{}, err
	}
	return differential.Answer{
		Type:            value(got.Type),
		AccessKeyID:     value(got.AccessKeyId),
		AccessKeySecret: value(got.AccessKeySecret),
		SecurityToken:   value(got.SecurityToken),
		BearerToken:     value(got.BearerToken),
	}, nil
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// recode fills a structure from the fields of a question.
func recode(config map[string]any, into any) error {
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func ours(q differential.Question) (credentials.Credential, error) {
	var c alicreds.Config
	if err := recode(q.Config, &c); err != nil {
		return nil, err
	}
	metadata, err := alicreds.NewMetadata(alicreds.MetadataOptions{
		Endpoint: q.MetadataURL,
		// The machine may be busy.
		ConnectTimeout: time.Minute, Timeout: time.Minute,
		DisableIMDSv1: c.DisableIMDSv1 || strings.EqualFold(os.Getenv("ALIBABA_CLOUD_IMDSV1_DISABLED"), "true"),
	})
	if err != nil {
		return nil, err
	}
	c.Metadata = metadata
	provider, err := alicreds.New(c)
	if err != nil {
		return nil, err
	}
	return credentialsgo.New(provider, credentialsgo.Options{}), nil
}

func peers(q differential.Question) (credentials.Credential, error) {
	if q.Config["type"] == "default" {
		return credentials.NewCredential(nil)
	}
	renamed := map[string]any{}
	for name, value := range q.Config {
		switch name {
		case "credentials_uri":
			name = "url"
		case "oidc_token_file_path":
			name = "oidc_token"
		}
		renamed[name] = value
	}
	var c credentials.Config
	if err := recode(renamed, &c); err != nil {
		return nil, err
	}
	return credentials.NewCredential(&c)
}
