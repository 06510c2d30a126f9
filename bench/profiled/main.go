// Profiled is the plugin with a door for go tool pprof, for bench alone: a
// unix socket named after the process, in the directory BENCH_PROFILE.
package main

import (
	"net"
	"net/http"
	_ "net/http/pprof" // registers the door
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/plugin"

	"github.com/alicreds/vault-plugin-secrets-alicloud/backend"
)

func main() {
	log := hclog.New(&hclog.LoggerOptions{Output: os.Stderr})
	door, err := net.Listen("unix", filepath.Join(os.Getenv("BENCH_PROFILE"), strconv.Itoa(os.Getpid())+".sock"))
	if err != nil {
		log.Error("no door for pprof", "error", err)
		os.Exit(1)
	}
	server := &http.Server{Handler: http.DefaultServeMux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(door) }() // ends with the process
	if err := plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: backend.Factory}); err != nil {
		log.Error("plugin shutting down", "error", err)
		os.Exit(1)
	}
}
