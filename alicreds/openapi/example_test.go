package openapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func ExampleClient_Do() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"RequestId":"6894B13B-0000-5000-8000-000000000000","Code":"EntityNotExist.User","Message":"The user does not exist."}`)
	}))
	defer service.Close()

	client, err := openapi.New(openapi.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var answer struct{ User struct{ UserName string } }
	err = client.Do(context.Background(), openapi.Request{
		Endpoint:   service.URL, // "ram.aliyuncs.com" in earnest
		Action:     "GetUser",
		Version:    "2015-05-01",
		Params:     map[string]string{"UserName": "alice"},
		Keys:       openapi.Keys{AccessKeyID: "LTAIexample", AccessKeySecret: "example"},
		Repeatable: true,
	}, &answer)

	var refused *openapi.Error
	if errors.As(err, &refused) && refused.NotExist() {
		fmt.Println(refused)
	}
	// Output: GetUser: EntityNotExist.User (HTTP 404, RequestId 6894B13B-0000-5000-8000-000000000000): The user does not exist.
}

// A refusal tells apart what a program can do about it.
func ExampleError() {
	cloud, err := alisim.Start(alisim.Options{NoListen: true}) // in place of Alibaba Cloud
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = client.Do(context.Background(), openapi.Request{
		Endpoint: "sts.aliyuncs.com",
		Action:   "GetCallerIdentity",
		Version:  "2015-04-01",
		Keys:     openapi.Keys{AccessKeyID: "LTAI5texample", AccessKeySecret: "example"},
	}, nil)

	var refused *openapi.Error
	if errors.As(err, &refused) {
		fmt.Println(refused.Status, refused.Code)
		fmt.Println("take other keys:", refused.KeyRefused())
		fmt.Println("try again later:", refused.Temporary())
		fmt.Println("it may have taken effect:", openapi.Ambiguous(err))
	}
	// Output:
	// 404 InvalidAccessKeyId.NotFound
	// take other keys: true
	// try again later: false
	// it may have taken effect: false
}

// The connection breaks after the call was sent. It is not repeated, because
// nothing says that it is Repeatable; here it has taken effect.
func ExampleAmbiguous() {
	cloud, err := alisim.Start(alisim.Options{NoListen: true}) // in place of Alibaba Cloud
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cloud.Close()
	if err := cloud.AddFault(alisim.Fault{Action: "CreateUser", Kind: alisim.FaultApplyThenDrop, Count: 1}); err != nil {
		fmt.Println(err)
		return
	}
	client, err := openapi.New(openapi.Options{HTTP: cloud.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	call := openapi.Request{
		Endpoint: "ram.aliyuncs.com",
		Action:   "CreateUser",
		Version:  "2015-05-01",
		Params:   map[string]string{"UserName": "alice"},
		Keys:     openapi.Keys{AccessKeyID: alisim.DefaultAccessKeyID, AccessKeySecret: alisim.DefaultAccessKeySecret},
	}
	err = client.Do(context.Background(), call, nil)

	var network *openapi.NetworkError
	fmt.Println("no answer:", errors.As(err, &network))
	if openapi.Ambiguous(err) {
		call.Action, call.Repeatable = "GetUser", true
		fmt.Println("look before calling again:", client.Do(context.Background(), call, nil))
	}
	// Output:
	// no answer: true
	// look before calling again: <nil>
}
