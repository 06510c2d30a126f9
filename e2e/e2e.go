// Package e2e holds tests that run the plugin in a real Vault server, against
// the simulator of Alibaba Cloud, next to clients that Alibaba and HashiCorp
// wrote. It is a module of its own, so that none of them gets into the plugin's
// module graph.
package e2e
