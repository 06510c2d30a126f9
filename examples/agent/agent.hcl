# Renders the keys of alicloud/creds/deploy to files below ./rendered.
#
#   VAULT_ADDR=http://127.0.0.1:8200 vault agent -config=agent.hcl
#
# Paths are relative to where the agent runs; give absolute ones to a service.

auto_auth {
  # Any method of the agent will do: approle, kubernetes, jwt, ...
  method "token_file" {
    config = {
      token_file_path = "token"
    }
  }
}

template_config {
  # The files are written anew when this part of the lease is over. Alibaba
  # Cloud's SDKs look for new keys up to 15 minutes before the old ones end, so
  # of an hour less than three quarters.
  lease_renewal_threshold = 0.6

  # Try again instead of ending, while Vault cannot be reached.
  exit_on_retry_failure = false
}

# All templates name one secret, and share one lease of it.

# For systemd (EnvironmentFile=), docker run --env-file, and set -a; . env
template {
  source      = "env.ctmpl"
  destination = "rendered/env"
  perms       = "0600"
}

# For the aliyun CLI and all SDKs: ~/.aliyun/config.json
template {
  source      = "config.json.ctmpl"
  destination = "rendered/.aliyun/config.json"
  perms       = "0600"
}

# For the SDKs: ~/.alibabacloud/credentials.ini
template {
  source      = "credentials.ini.ctmpl"
  destination = "rendered/.alibabacloud/credentials.ini"
  perms       = "0600"
}

# What the process_command of an External profile prints: ../aliyun/config.json
template {
  source      = "external.json.ctmpl"
  destination = "rendered/.aliyun/vault.json"
  perms       = "0600"
}

# What a credentials URI answers, for a web server on loopback. For sessions
# only: the SDKs want a token and an expiration.
template {
  source      = "uri.json.ctmpl"
  destination = "rendered/uri/credentials"
  perms       = "0600"
}
