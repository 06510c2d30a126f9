module github.com/alicreds/vault-plugin-secrets-alicloud/differential

go 1.26.0

require (
	github.com/alicreds/vault-plugin-secrets-alicloud v0.1.0
	github.com/alicreds/vault-plugin-secrets-alicloud/adapters v0.0.0
	github.com/aliyun/credentials-go v1.4.14
)

require (
	github.com/alibabacloud-go/debug v1.0.1 // indirect
	github.com/alibabacloud-go/tea v1.5.3 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect
	github.com/modern-go/reflect2 v1.0.2 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	gopkg.in/ini.v1 v1.67.0 // indirect
)

replace (
	github.com/alicreds/vault-plugin-secrets-alicloud => ..
	github.com/alicreds/vault-plugin-secrets-alicloud/adapters => ../adapters
)
