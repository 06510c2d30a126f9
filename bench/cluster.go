package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"
)

// cluster is three Vault servers with integrated storage, and one plugin directory.
// Two of them are enough.
type cluster struct {
	nodes []*vaultServer
	key   string // unseals each of them
}

const clusterNodes = 3

// startCluster starts the servers, and returns when all of them vote. The caller
// must close it.
func startCluster(ctx context.Context, binary string) (_ *cluster, err error) {
	c := &cluster{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for n := range clusterNodes {
		v, err := newVaultServer(binary)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			v.pluginDir = c.nodes[0].pluginDir
		}
		if v, err = v.start(ctx, (*vaultServer).startNode); err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, v)
	}
	first := c.nodes[0]
	seal, err := first.api.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return nil, err
	}
	c.key = seal.Keys[0]
	for _, v := range c.nodes {
		v.token = seal.RootToken
		v.api.SetToken(v.token)
	}
	if err := c.unseal(ctx, first); err != nil {
		return nil, err
	}
	if err := await(ctx, "the first node leads", func() bool { return first.leads(ctx) }); err != nil {
		return nil, err
	}
	// Servers vote once they have been stable for a while, 10 s by default.
	if err := first.write(ctx, "sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "1s"}); err != nil {
		return nil, err
	}
	for _, v := range c.nodes[1:] {
		if err := await(ctx, "a node joins", func() bool {
			_, err := v.api.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: first.address})
			return err == nil
		}); err != nil {
			return nil, err
		}
		if err := c.unseal(ctx, v); err != nil {
			return nil, err
		}
	}
	return c, await(ctx, "all nodes vote", func() bool { return first.voters(ctx) == clusterNodes })
}

// startNode starts the process, which answers sealed.
func (v *vaultServer) startNode(ctx context.Context) error {
	at, err := freeAddress()
	if err != nil {
		return err
	}
	within, err := freeAddress()
	if err != nil {
		return err
	}
	v.address = "http://" + at
	data := filepath.Join(v.home, "raft")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(v.home, "vault.hcl"), fmt.Appendf(nil, `
storage "raft" {
  path                   = %q
  node_id                = %q
  performance_multiplier = 1
}
listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_disable     = true
}
api_addr         = %q
cluster_addr     = "https://%s"
plugin_directory = %q
disable_mlock    = true
`, data, at, at, within, v.address, within, v.pluginDir), 0o600); err != nil {
		return err
	}
	return v.launchNode(ctx)
}

func (v *vaultServer) launchNode(ctx context.Context) error {
	return v.launch(ctx, func(ctx context.Context) error {
		_, err := v.api.Sys().SealStatusWithContext(ctx)
		return err
	}, "-config="+filepath.Join(v.home, "vault.hcl"))
}

func (c *cluster) close() error {
	var errs []error
	for _, v := range c.nodes[min(1, len(c.nodes)):] {
		errs = append(errs, v.close())
	}
	if len(c.nodes) > 0 {
		errs = append(errs, c.nodes[0].close()) // last: the plugins' files are its own
	}
	return errors.Join(errs...)
}

func (c *cluster) unseal(ctx context.Context, v *vaultServer) error {
	return await(ctx, "a node is unsealed", func() bool {
		status, err := v.api.Sys().UnsealWithContext(ctx, c.key)
		return err == nil && !status.Sealed
	})
}

// leader waits for a node that leads and takes requests.
func (c *cluster) leader(ctx context.Context) (leader *vaultServer, err error) {
	err = await(ctx, "a node leads", func() bool {
		for _, v := range c.nodes {
			if v.process != nil && v.leads(ctx) {
				_, err := v.api.Auth().Token().LookupSelfWithContext(ctx)
				leader = v
				return err == nil
			}
		}
		return false
	})
	return leader, err
}

// failOver kills the node that leads, with its plugins, as a power cut does. It
// returns the next one that leads.
func (c *cluster) failOver(ctx context.Context, leader *vaultServer) (*vaultServer, error) {
	plugins := children(leader.process.Pid)
	_ = leader.process.Kill()
	for _, p := range plugins {
		if p.alive() {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
	}
	<-leader.exited
	leader.process = nil
	return c.leader(ctx)
}

// revive starts the nodes that were killed.
func (c *cluster) revive(ctx context.Context) error {
	for _, v := range c.nodes {
		if v.process == nil {
			if err := errors.Join(v.launchNode(ctx), c.unseal(ctx, v)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *vaultServer) leads(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, err := v.api.Sys().LeaderWithContext(ctx)
	return err == nil && status.IsSelf
}

func (v *vaultServer) voters(ctx context.Context) (voters int) {
	secret, err := v.api.Logical().ReadWithContext(ctx, "sys/storage/raft/configuration")
	if err != nil || secret == nil {
		return 0
	}
	config, _ := secret.Data["config"].(map[string]any)
	servers, _ := config["servers"].([]any)
	for _, s := range servers {
		if server, _ := s.(map[string]any); server["voter"] == true {
			voters++
		}
	}
	return voters
}

// await asks until something is so.
func await(ctx context.Context, what string, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}
