package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	requestTimeout = 60 * time.Second // as Vault's own clients have it
	maxAnswer      = 1 << 20
)

// credential is what matters of an answer of creds/<role>.
type credential struct {
	LeaseID string `json:"lease_id"`
	Data    struct {
		AccessKey string `json:"access_key"`
	}
}

// do sends one request to Vault, with as little work of our own as can be.
func (l *lab) do(ctx context.Context, v *vaultServer, method, path string, body []byte, out any) error {
	request, err := http.NewRequestWithContext(ctx, method, v.address+"/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("X-Vault-Token", v.token)
	answer, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	switch {
	case err != nil:
		return err
	case answer.StatusCode >= 300:
		return fmt.Errorf("%s %s: %d %s", method, path, answer.StatusCode, bytes.TrimSpace(raw))
	case out == nil:
		return nil
	}
	return json.Unmarshal(raw, out)
}

// read issues a credential.
func (l *lab) read(ctx context.Context, e engine, role string) (credential, error) {
	var c credential
	err := l.do(ctx, e.vault, http.MethodGet, e.creds(role), nil, &c)
	if err == nil && c.Data.AccessKey == "" {
		err = fmt.Errorf("%s: no keys in the answer", e.mount)
	}
	return c, err
}

// revoke revokes a lease and waits until it is done.
func (l *lab) revoke(ctx context.Context, e engine, lease string) error {
	body, err := json.Marshal(map[string]any{"lease_id": lease, "sync": true})
	if err != nil {
		return err
	}
	return l.do(ctx, e.vault, http.MethodPut, "sys/leases/revoke", body, nil)
}

// latency is the median of so many reads, one after the other.
func (l *lab) latency(ctx context.Context, e engine, role string, reads int) (time.Duration, error) {
	took := make([]time.Duration, reads)
	for i := range took {
		began := time.Now()
		if _, err := l.read(ctx, e, role); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	return median(took), nil
}

// restart gives the engine a new process. The peer keeps a connection open for
// each call it has made, and the files that this needs here would run out.
func (l *lab) restart(ctx context.Context, e engine) error {
	_, err := e.vault.api.Sys().ReloadPluginWithContext(ctx, &api.ReloadPluginInput{Mounts: []string{e.mount}})
	return err
}

// throughput is how many credentials a second so many clients get.
func (l *lab) throughput(ctx context.Context, e engine, role string, clients int, during time.Duration) (load, error) {
	if err := l.issue(ctx, e, role, clients, 2*clients); err != nil { // every client has its connection
		return load{}, err
	}
	before, err := l.processorTime(e)
	if err != nil {
		return load{}, err
	}
	began := time.Now()
	var count atomic.Int64
	err = together(clients, func() error {
		for time.Since(began) < during {
			if _, err := l.read(ctx, e, role); err != nil {
				return err
			}
			count.Add(1)
		}
		return nil
	})
	took := time.Since(began)
	if err != nil {
		return load{}, err
	}
	after, err := l.processorTime(e)
	used, n := after.sub(before), time.Duration(max(count.Load(), 1))
	return load{float64(count.Load()) / took.Seconds(), processorTime{used.vault / n, used.plugin / n, used.here / n}}, err
}

// issue reads so many credentials, with so many clients at a time.
func (l *lab) issue(ctx context.Context, e engine, role string, clients, total int) error {
	var next atomic.Int64
	return together(clients, func() error {
		for next.Add(1) <= int64(total) {
			if _, err := l.read(ctx, e, role); err != nil {
				return err
			}
		}
		return nil
	})
}

// together runs a client so many times at once, and returns what went wrong.
func together(clients int, client func() error) error {
	failures := make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { failures[i] = client() })
	}
	all.Wait()
	for _, err := range failures {
		if err != nil {
			return err // the first will do: the others tend to say the same
		}
	}
	return nil
}
