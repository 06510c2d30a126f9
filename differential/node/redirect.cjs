// Leads the connections of this process to the simulator, because the library
// knows no proxy: the cloud's hosts and the metadata service go where the
// environment says, loopback addresses where they always go, and all others
// nowhere. Certificates are still checked against the original name.
'use strict';

const net = require('node:net');

const cloud = /(^|\.)(aliyuncs\.com|aliyun\.com|alibabacloud\.com|alibabacloudsso\.com)$/;

function redirected(host) {
  if (cloud.test(host)) return process.env.REDIRECT_CLOUD;
  if (host === '100.100.100.200') return process.env.REDIRECT_METADATA;
  if (host === 'localhost' || host === '127.0.0.1' || host === '::1') return undefined;
  throw new Error(`redirect: ${host} is not part of the simulated cloud`);
}

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options && typeof options === 'object' && options.host) {
    const to = redirected(options.host);
    if (to) [options.host, options.port] = [to.slice(0, to.lastIndexOf(':')), Number(to.slice(to.lastIndexOf(':') + 1))];
  }
  return connect.apply(this, args);
};
