package ossv2_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/alicreds/vault-plugin-secrets-alicloud/adapters/ossv2"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss"
	"github.com/aliyun/alibabacloud-oss-go-sdk-v2/oss/credentials"
)

func ExampleNew() {
	bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("token:", r.Header.Get("X-Oss-Security-Token"))
	}))
	defer bucket.Close()

	keys, err := alicreds.NewSTS("STS.example", "example", "example-token")
	if err != nil {
		fmt.Println(err)
		return
	}
	cache := alicreds.NewCache(keys, alicreds.CacheOptions{})
	defer cache.Close()

	client := oss.NewClient(oss.LoadDefaultConfig().
		WithRegion("cn-hangzhou").
		WithEndpoint(bucket.URL). // leave out in earnest
		WithUsePathStyle(true).   // this too
		WithCredentialsProvider(ossv2.New(cache)))
	got, err := client.GetObject(context.Background(), &oss.GetObjectRequest{Bucket: oss.Ptr("fruits"), Key: oss.Ptr("apple")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer got.Body.Close()
	fmt.Println(got.Status)
	// Output:
	// token: example-token
	// 200 OK
}

// A program that has a CredentialsProvider of the OSS SDK already uses it for
// other products too.
func ExampleFrom() {
	theirs := credentials.NewStaticCredentialsProvider("LTAI5texample", "example")

	cache := alicreds.NewCache(ossv2.From(theirs), alicreds.CacheOptions{})
	defer cache.Close()
	c, err := cache.Retrieve(context.Background())
	fmt.Println(c, err)
	// Output: Credentials(Keys(LTAI****) from oss) <nil>
}
