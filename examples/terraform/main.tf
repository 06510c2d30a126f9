# The engine at alicloud/, with the resources that the Vault provider has for
# it, and vault_generic_endpoint for the fields that these do not know.

terraform {
  required_version = ">= 1.11" # write-only arguments, ephemeral resources

  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = ">= 5.10"
    }
  }
}

variable "access_key" {
  description = "AccessKey ID of the RAM user that Vault works as."
  type        = string
}

variable "secret_key" {
  description = "Its secret. It goes to Vault, and neither into the state nor into a plan."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "role_arn" {
  description = "RAM role that the role deploy hands out sessions of."
  type        = string
}

# The plugin is registered as "alicloud" before: docs/migration.md.
resource "vault_mount" "alicloud" {
  path = "alicloud"
  type = "alicloud"
}

resource "vault_alicloud_secret_backend" "alicloud" {
  mount                 = vault_mount.alicloud.path
  access_key            = var.access_key
  secret_key_wo         = var.secret_key
  secret_key_wo_version = 1 # count up to write the secret again

  lifecycle {
    # A rotation changes it, and an apply must not bring the old key back.
    ignore_changes = [access_key]
  }
}

# Other fields of the config. A write keeps those that it does not give.
resource "vault_generic_endpoint" "config" {
  path                 = "${vault_alicloud_secret_backend.alicloud.mount}/config"
  ignore_absent_fields = true
  disable_delete       = true

  data_json = jsonencode({
    region            = "cn-hangzhou"
    rotation_schedule = "0 3 * * SAT"
    rotation_window   = 3600
  })
}

# Sessions of a RAM role.
resource "vault_alicloud_secret_backend_role" "deploy" {
  mount    = vault_mount.alicloud.path
  name     = "deploy"
  role_arn = var.role_arn
  ttl      = 1800
  max_ttl  = 3600
}

# Fields of that role that the provider does not know. Durations in seconds,
# as Vault reads them back.
resource "vault_generic_endpoint" "deploy" {
  path                 = "${vault_mount.alicloud.path}/role/${vault_alicloud_secret_backend_role.deploy.name}"
  ignore_absent_fields = true
  disable_delete       = true

  data_json = jsonencode({
    expire_with_lease          = true
    role_session_name_template = "{{.DisplayName}}-{{.RoleName}}"
  })
}

# A RAM user for each lease.
resource "vault_alicloud_secret_backend_role" "ci" {
  mount   = vault_mount.alicloud.path
  name    = "ci"
  ttl     = 3600
  max_ttl = 86400

  inline_policies {
    policy_document = jsonencode({
      Version = "1"
      Statement = [{
        Effect   = "Allow"
        Action   = ["oss:GetObject", "oss:PutObject"]
        Resource = ["acs:oss:*:*:builds/*"]
      }]
    })
  }

  remote_policies {
    name = "AliyunECSReadOnlyAccess"
    type = "System"
  }
}

# A RAM role for each lease, which the provider has no resource for. Policies
# are read back in another form than they are written in, hence disable_read.
resource "vault_generic_endpoint" "batch" {
  path         = "${vault_mount.alicloud.path}/role/batch"
  disable_read = true

  data_json = jsonencode({
    credential_type = "ram_role"
    ttl             = 900
    remote_policies = ["name:AliyunOSSReadOnlyAccess,type:System"]
  })
}

# Keys for this run alone. The lease is revoked when the run is over.
ephemeral "vault_alicloud_access_credentials" "deploy" {
  mount    = vault_mount.alicloud.path
  mount_id = vault_mount.alicloud.id
  role     = vault_alicloud_secret_backend_role.deploy.name

  depends_on = [vault_generic_endpoint.config, vault_generic_endpoint.deploy]

  lifecycle {
    postcondition {
      condition     = self.security_token != ""
      error_message = "The role deploy hands out no session."
    }
  }
}
