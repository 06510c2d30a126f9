package alicreds_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

// exampleHome is a home directory with one file.
func exampleHome(file, content string) (dir string, err error) {
	dir, err = os.MkdirTemp("", "example")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return dir, os.WriteFile(path, []byte(content), 0o600)
}

func ExampleNewCLIProfile() {
	dir, err := exampleHome(".aliyun/config.json", `{
		"current": "work",
		"profiles": [{"name": "work", "mode": "AK", "access_key_id": "LTAI5texample", "access_key_secret": "example"}]
	}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	profile, err := alicreds.NewCLIProfile(alicreds.CLIProfileOptions{
		Path: filepath.Join(dir, ".aliyun/config.json"), // leave out in earnest
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := profile.Retrieve(context.Background())
	fmt.Println(c, err)
	// Output: Credentials(Keys(LTAI****) from cli_profile/access_key) <nil>
}

func ExampleNewProfile() {
	dir, err := exampleHome(".alibabacloud/credentials", `
[default]
enable            = true
type              = access_key
access_key_id     = LTAI5texample   # comments follow white space
access_key_secret = example
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	profile, err := alicreds.NewProfile(alicreds.ProfileOptions{
		Path: filepath.Join(dir, ".alibabacloud/credentials"), // leave out in earnest
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := profile.Retrieve(context.Background())
	fmt.Println(c, err)
	// Output: Credentials(Keys(LTAI****) from profile/access_key) <nil>
}

func ExampleNewCloudSSO() {
	signIn := answering(`{"CloudCredential":{"AccessKeyId":"STS.example","AccessKeySecret":"example","SecurityToken":"example","Expiration":"2999-01-01T00:00:00Z"}}`)
	defer signIn.Close()

	login, err := alicreds.NewCloudSSO("example-access-token", alicreds.CloudSSOOptions{
		SignInURL:             signIn.URL, // https://signin-cn-shanghai.alibabacloudsso.com/... in earnest
		AccountID:             "1234567890123456",
		AccessConfig:          "ac-example",
		AccessTokenExpiration: time.Now().Add(time.Hour),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := login.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, c.AccountID, err)
	// Output: Keys(****, temporary) cloud_sso 1234567890123456 <nil>
}

func ExampleNewOAuth() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/token" {
			fmt.Fprint(w, `{"access_token":"example-access","refresh_token":"example-refresh-2","expires_in":3600}`)
			return
		}
		fmt.Fprint(w, `{"accessKeyId":"STS.example","accessKeySecret":"example","securityToken":"example","expiration":"2999-01-01T00:00:00Z"}`)
	}))
	defer server.Close()

	login, err := alicreds.NewOAuth(alicreds.OAuthTokens{RefreshToken: "example-refresh-1"}, alicreds.OAuthOptions{
		URL: server.URL, ClientID: "example", // Site: "CN" in earnest
		Save: func(_ context.Context, t alicreds.OAuthTokens, session alicreds.Credentials) error {
			fmt.Println("keep", t.RefreshToken, session.Keys())
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := login.Retrieve(context.Background())
	fmt.Println(c.Keys(), c.Source, err)
	// Output:
	// keep example-refresh-2 Keys(none)
	// keep example-refresh-2 Keys(****, temporary)
	// Keys(****, temporary) oauth <nil>
}
