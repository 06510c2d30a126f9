# Keeps a token of Vault for Prometheus in a file, and renews it:
#
#   VAULT_ADDR=https://vault.example.com:8200 vault agent -config=agent.hcl
#
# Paths are relative to where the agent runs; give absolute ones to a service. Let
# the agent run as the user of Prometheus, or in its group.

auto_auth {
  # Any method of the agent will do: approle, kubernetes, jwt, ...
  method "approle" {
    config = {
      role_id_file_path                   = "role-id"
      secret_id_file_path                 = "secret-id"
      remove_secret_id_file_after_reading = false
    }
  }

  sink "file" {
    config = {
      path = "token"
      mode = 416 # 0640
    }
  }
}
