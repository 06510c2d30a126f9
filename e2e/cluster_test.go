package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// A vaultCluster is real Vault servers with integrated storage, for one test.
// Each node is a vaultServer, with the token of the cluster; all share one
// plugin directory.
type vaultCluster struct {
	nodes []*clusterNode
	key   string // unseals every node
}

type clusterNode struct {
	*vaultServer
	name        string
	clusterAddr string
	down        bool
}

// startCluster starts, initialises, joins and unseals nodes, and waits until
// all of them vote.
func startCluster(t *testing.T, nodes int) *vaultCluster {
	t.Helper()
	pluginDir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &vaultCluster{}
	t.Cleanup(func() { c.stop(t) })
	for n := range nodes {
		c.nodes = append(c.nodes, startNode(t, fmt.Sprintf("node-%d", n), pluginDir))
	}
	first := c.nodes[0]
	seal, err := first.api.Sys().InitWithContext(t.Context(), &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.key = seal.Keys[0]
	for _, node := range c.nodes {
		node.token = seal.RootToken
		node.api.SetToken(seal.RootToken)
	}
	c.unseal(t, first)
	eventually(t, startTimeout, "the first node leads", func() bool { return c.leader(t) == first })
	// Servers vote once they have been stable for a while, 10 s by default.
	first.write(t, "sys/storage/raft/autopilot/configuration", map[string]any{"server_stabilization_time": "1s"})
	for _, node := range c.nodes[1:] {
		eventually(t, startTimeout, node.name+" joins", func() bool {
			_, err := node.api.Sys().RaftJoinWithContext(t.Context(), &api.RaftJoinRequest{LeaderAPIAddr: first.addr})
			return err == nil
		})
		c.unseal(t, node)
	}
	eventually(t, startTimeout, "all nodes vote", func() bool { return c.voters(t) == nodes })
	return c
}

func startNode(t *testing.T, name, pluginDir string) *clusterNode {
	t.Helper()
	var err error
	said := &output{}
	for range startTries {
		node := &clusterNode{
			vaultServer: &vaultServer{binary: need(t, programs.vault), home: t.TempDir(), pluginDir: pluginDir, output: said},
			name:        name,
		}
		if err = node.start(t); err == nil {
			return node
		}
	}
	t.Fatalf("no Vault server after %d tries: %v\n%s", startTries, err, tail(said.String(), 2<<10))
	return nil
}

// start starts the process, and returns when it answers, sealed.
func (n *clusterNode) start(t *testing.T) error {
	listen := freeAddr(t)
	n.addr, n.clusterAddr = "http://"+listen, freeAddr(t)
	data := filepath.Join(n.home, "raft")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	config := filepath.Join(n.home, "vault.hcl")
	err := os.WriteFile(config, fmt.Appendf(nil, `
storage "raft" {
  path    = %q
  node_id = %q
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
`, data, n.name, listen, n.clusterAddr, n.addr, n.clusterAddr, n.pluginDir), 0o600)
	if err != nil {
		return err
	}
	return n.launch(t, func(ctx context.Context) error {
		_, err := n.api.Sys().SealStatusWithContext(ctx)
		return err
	}, "-config="+config)
}

// stop ends all nodes by their pids, at the same time: one after the other each
// would elect the next. A node that is told to stop while it takes over can
// leave the plugin behind that it was about to start.
func (c *vaultCluster) stop(t *testing.T) {
	for _, node := range c.nodes {
		if !node.down {
			_ = node.process.Signal(syscall.SIGTERM)
		}
	}
	for _, node := range c.nodes {
		if node.down {
			continue
		}
		select {
		case <-node.exited:
		case <-time.After(stopTimeout):
			t.Errorf("%s still there %v after SIGTERM", node.name, stopTimeout)
			_ = node.process.Kill()
			<-node.exited
		}
		for _, pid := range node.pluginPIDs("") {
			if node.isPlugin(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	if t.Failed() {
		for _, node := range c.nodes {
			t.Logf("%s and its plugins printed:\n%s", node.name, tail(node.output.String(), 8<<10))
		}
	}
}

// kill ends the node as a power cut does: the server and its plugins, at once.
func (n *clusterNode) kill() {
	pids := n.pluginPIDs("")
	_ = n.process.Kill()
	for _, pid := range pids {
		if n.isPlugin(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	<-n.exited
	n.down = true
}

func (c *vaultCluster) unseal(t *testing.T, node *clusterNode) {
	t.Helper()
	eventually(t, startTimeout, node.name+" is unsealed", func() bool {
		status, err := node.api.Sys().UnsealWithContext(t.Context(), c.key)
		return err == nil && !status.Sealed
	})
}

// leader is the node that is active, nil while none is.
func (c *vaultCluster) leader(t *testing.T) *clusterNode {
	for _, node := range c.nodes {
		if node.down {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		status, err := node.api.Sys().LeaderWithContext(ctx)
		cancel()
		if err == nil && status.IsSelf {
			return node
		}
	}
	return nil
}

// awaitLeader waits for a node that is active and takes requests.
func (c *vaultCluster) awaitLeader(t *testing.T) *clusterNode {
	t.Helper()
	var leader *clusterNode
	eventually(t, startTimeout, "a node leads", func() bool {
		if leader = c.leader(t); leader == nil {
			return false
		}
		_, err := leader.api.Auth().Token().LookupSelfWithContext(t.Context())
		return err == nil
	})
	return leader
}

func (c *vaultCluster) voters(t *testing.T) int {
	secret, err := c.nodes[0].api.Logical().ReadWithContext(t.Context(), "sys/storage/raft/configuration")
	if err != nil || secret == nil {
		return 0
	}
	config, _ := secret.Data["config"].(map[string]any)
	servers, _ := config["servers"].([]any)
	voters := 0
	for _, s := range servers {
		if server, _ := s.(map[string]any); server["voter"] == true {
			voters++
		}
	}
	return voters
}

// noLeader tells whether a request failed because the cluster has no active
// node at the moment, or because its node is down: what a client tries again.
func noLeader(err error) bool {
	var refused *api.ResponseError
	if errors.As(err, &refused) {
		text := strings.Join(refused.Errors, " ")
		return refused.StatusCode == 503 || refused.StatusCode == 429 || refused.StatusCode == 472 || refused.StatusCode == 473 ||
			refused.StatusCode == 500 && (strings.Contains(text, "active") || strings.Contains(text, "sealed") ||
				strings.Contains(text, "node") || strings.Contains(text, "leader") || strings.Contains(text, "context canceled"))
	}
	var network net.Error
	return errors.As(err, &network) || strings.Contains(err.Error(), "EOF") || strings.Contains(err.Error(), "connection re")
}
