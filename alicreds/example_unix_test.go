//go:build unix

package alicreds_test

import (
	"context"
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
)

func ExampleNewExternal() {
	command, err := alicreds.NewExternal(`echo '{"mode": "AK", "access_key_id": "LTAI5texample", "access_key_secret": "example"}'`, alicreds.ExternalOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := command.Retrieve(context.Background())
	fmt.Println(c, err)
	// Output: Credentials(Keys(LTAI****) from external) <nil>
}
