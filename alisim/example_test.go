package alisim_test

import (
	"fmt"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func Example() {
	sim, err := alisim.Start(alisim.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()

	// For this client https://sts.aliyuncs.com is the simulator. Without a signature it gets nowhere.
	response, err := sim.Client().Get("https://sts.aliyuncs.com/?Action=GetCallerIdentity&Version=2015-04-01&Format=JSON")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Status)

	call := sim.Journal()[0]
	fmt.Println(call.Service, call.Action, call.Code)
	user, _ := sim.Inventory().User(alisim.DefaultUserName)
	fmt.Println(user.AccessKeys)
	// Output:
	// 400 Bad Request
	// Sts GetCallerIdentity MissingAccessKeyId
	// [{LTAI5tALISIMFAKEFAKEFAKE Active}]
}
