package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"
)

// profiled measures, and if profiles are wanted keeps those of our plugin: of
// its processor time over the measurement and of its allocations until then;
// and that of our own processor time, which is the simulator's and the
// readers'.
func (l *lab) profiled(ctx context.Context, e engine, name string, during time.Duration, measure func(time.Duration) (load, error)) (load, error) {
	if l.profiles == "" || e.kind != ourEngine {
		return measure(during)
	}
	plugin, err := e.vault.plugin(e.mount)
	if err != nil {
		return load{}, err
	}
	during = max(during, time.Second)
	kept := make(chan error, 1)
	go func() {
		kept <- l.keepProfile(ctx, plugin, "profile?seconds="+strconv.Itoa(int(during.Seconds())), name+".cpu.pprof")
	}()
	harness, err := os.Create(filepath.Join(l.profiles, name+".harness.pprof"))
	if err != nil {
		return load{}, err
	}
	defer harness.Close()
	if err := pprof.StartCPUProfile(harness); err != nil {
		return load{}, err
	}
	value, err := measure(during)
	pprof.StopCPUProfile()
	return value, errors.Join(err, <-kept, l.keepProfile(ctx, plugin, "allocs", name+".allocs.pprof"))
}

func (l *lab) keepProfile(ctx context.Context, plugin process, what, file string) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(l.profiles, strconv.Itoa(plugin.pid)+".sock"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://plugin/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("pprof: %s", answer.Status)
	}
	out, err := os.Create(filepath.Join(l.profiles, file))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, answer.Body)
	return errors.Join(err, out.Close())
}
