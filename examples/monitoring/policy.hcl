# What the token of Prometheus may read, and nothing else. For people add
# path "alicloud/status" { capabilities = ["read"] } to a policy of theirs.
path "alicloud/metrics" {
  capabilities = ["read"]
}
