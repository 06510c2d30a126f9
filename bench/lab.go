package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

// roundTrip is how far away the cloud is, where it is away.
const roundTrip = 20 * time.Millisecond

// lab is where engines are measured: a simulated cloud, near or far, and Vault.
// All of it is on this machine.
type lab struct {
	dir      string
	programs programs
	cloud    *alisim.Server
	vault    *vaultServer
	client   *http.Client // of the readers
	profiles string       // directory for profiles of our plugin; "" for none
}

// openLab sets everything up anew, the cloud so far away, so that no measurement
// inherits leases, connections or processes of another. The caller must close it.
func openLab(ctx context.Context, p programs, profiles string, away time.Duration) (_ *lab, err error) {
	l := &lab{programs: p, profiles: profiles}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	if l.cloud, err = alisim.Start(alisim.Options{JournalSize: 2000, RTT: away}); err != nil {
		return nil, err
	}
	if err = os.WriteFile(filepath.Join(l.dir, "ca.pem"), l.cloud.CACertPEM(), 0o600); err != nil {
		return nil, err
	}
	l.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}, Timeout: requestTimeout}
	l.vault, err = startVault(ctx, l.programs.vault)
	return l, err
}

func (l *lab) close() error {
	var errs []error
	if l.client != nil {
		l.client.CloseIdleConnections()
	}
	if l.vault != nil {
		errs = append(errs, l.vault.close())
	}
	if l.cloud != nil {
		l.cloud.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}

// kind is which software an engine is.
type kind string

const (
	ourEngine      kind = "ours"
	peerEngine     kind = "peer"
	constantEngine kind = "constant"
)

// engine is a mount, with a plugin process of its own.
type engine struct {
	kind  kind
	mount string
	vault *vaultServer
}

func (e engine) creds(role string) string { return e.mount + "/creds/" + role }

const (
	sessionRole = "deploy"
	userRole    = "ci"

	policyDocument = `{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:%s","Resource":"acs:oss:*:*:%s/*"}]}`
)

// engine mounts one more engine for a purpose, with a role of each kind.
func (l *lab) engine(ctx context.Context, k kind, purpose string) (engine, error) {
	return l.engineOn(ctx, l.vault, k, purpose)
}

func (l *lab) engineOn(ctx context.Context, v *vaultServer, k kind, purpose string) (engine, error) {
	e := engine{kind: k, mount: string(k) + "-" + purpose, vault: v}
	config := map[string]any{"access_key": alisim.DefaultAccessKeyID, "secret_key": alisim.DefaultAccessKeySecret}
	program, version, env := l.programs.constant, "", []string(nil)
	switch k {
	case ourEngine:
		program, version = l.programs.ours, pluginVersion
		config["sts_endpoint"], config["ram_endpoint"], config["ca_certificate"] = l.cloud.URL, l.cloud.URL, string(l.cloud.CACertPEM())
		if l.profiles != "" {
			env = []string{"BENCH_PROFILE=" + l.profiles}
		}
	case peerEngine:
		// Its hosts are hard-coded.
		program = l.programs.peer
		env = []string{"HTTPS_PROXY=" + l.cloud.ProxyURL, "SSL_CERT_FILE=" + filepath.Join(l.dir, "ca.pem")}
	}
	if err := v.enable(ctx, e.mount, program, version, env); err != nil {
		return e, fmt.Errorf("%s: %w", e.mount, err)
	}
	if k == constantEngine {
		return e, nil
	}
	if err := v.write(ctx, e.mount+"/config", config); err != nil {
		return e, err
	}
	if err := v.write(ctx, e.mount+"/role/"+sessionRole, map[string]any{"role_arn": alisim.DefaultRoleARN}); err != nil {
		return e, err
	}
	return e, e.writeUserRole(ctx, userRole, "shared")
}

// writeUserRole makes a role of two inline policies, about a bucket, and two
// system policies.
func (e engine) writeUserRole(ctx context.Context, name, bucket string) error {
	return e.vault.write(ctx, e.mount+"/role/"+name, map[string]any{
		"inline_policies": "[" + fmt.Sprintf(policyDocument, "GetObject", bucket) + "," + fmt.Sprintf(policyDocument, "PutObject", bucket) + "]",
		"remote_policies": []string{"name:AliyunOSSReadOnlyAccess,type:System", "name:AliyunECSReadOnlyAccess,type:System"},
		"ttl":             "1h", "max_ttl": "2h",
	})
}

// engines mounts one engine of each kind.
func (l *lab) engines(ctx context.Context, purpose string, kinds ...kind) ([]engine, error) {
	var all []engine
	for _, k := range kinds {
		e, err := l.engine(ctx, k, purpose)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}
