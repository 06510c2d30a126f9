# What the agent's token needs: vault policy write app policy.hcl
path "alicloud/creds/deploy" {
  capabilities = ["read"]
}
