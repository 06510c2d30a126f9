package openapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alicreds/openapi"
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
