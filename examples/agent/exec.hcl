# Starts ./app with the keys of alicloud/creds/deploy in its environment, and
# starts it again with new ones before they end. No file holds them.
#
#   VAULT_ADDR=http://127.0.0.1:8200 vault agent -config=exec.hcl

auto_auth {
  method "token_file" {
    config = {
      token_file_path = "token"
    }
  }
}

template_config {
  lease_renewal_threshold = 0.6
  exit_on_retry_failure   = false
}

env_template "ALIBABA_CLOUD_ACCESS_KEY_ID" {
  contents = "{{ with secret \"alicloud/creds/deploy\" }}{{ .Data.access_key }}{{ end }}"
}

env_template "ALIBABA_CLOUD_ACCESS_KEY_SECRET" {
  contents = "{{ with secret \"alicloud/creds/deploy\" }}{{ .Data.secret_key }}{{ end }}"
}

env_template "ALIBABA_CLOUD_SECURITY_TOKEN" {
  contents = "{{ with secret \"alicloud/creds/deploy\" }}{{ .Data.security_token }}{{ end }}"
}

# The aliyun CLI wants a region, too.
env_template "ALIBABA_CLOUD_REGION_ID" {
  contents = "cn-hangzhou"
}

exec {
  command                   = ["./app"]
  restart_on_secret_changes = "always"
  restart_stop_signal       = "SIGTERM"
}
