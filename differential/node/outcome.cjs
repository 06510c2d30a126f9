// Obtains credentials through @alicloud/credentials, as a question on the
// standard input says, and prints what came of it.
'use strict';

const fs = require('node:fs');
const { default: Credential, Config } = require('@alicloud/credentials');

const names = {
  type: 'type',
  access_key_id: 'accessKeyId',
  access_key_secret: 'accessKeySecret',
  security_token: 'securityToken',
  bearer_token: 'bearerToken',
  role_arn: 'roleArn',
  role_session_name: 'roleSessionName',
  role_session_expiration: 'roleSessionExpiration',
  policy: 'policy',
  external_id: 'externalId',
  oidc_provider_arn: 'oidcProviderArn',
  oidc_token_file_path: 'oidcTokenFilePath',
  sts_endpoint: 'stsEndpoint',
  sts_region_id: 'stsRegionId',
  enable_vpc: 'enableVpc',
  role_name: 'roleName',
  disable_imds_v1: 'disableIMDSv1',
  public_key_id: 'publicKeyId',
  private_key_file: 'privateKeyFile',
  credentials_uri: 'credentialsURI',
  timeout: 'timeout',
  connect_timeout: 'connectTimeout',
};

async function ask(question) {
  const fields = {};
  for (const [name, value] of Object.entries(question.config)) fields[names[name]] = value;
  const credential = fields.type === 'default' ? new Credential() : new Credential(new Config(fields));
  let got;
  for (let n = 1; n <= question.asks; n++) {
    try {
      got = await credential.getCredential();
    } catch (error) {
      if (n === question.asks) throw error;
    }
  }
  return {
    error: false,
    type: got.type || '',
    access_key_id: got.accessKeyId || '',
    access_key_secret: got.accessKeySecret || '',
    security_token: got.securityToken || '',
    bearer_token: got.bearerToken || '',
  };
}

ask(JSON.parse(fs.readFileSync(0, 'utf8'))).catch((error) => {
  process.stderr.write(`${error && error.message}\n`);
  return { error: true };
}).then((answer) => process.stdout.write(`${JSON.stringify(answer)}\n`));
