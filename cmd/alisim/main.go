// Command alisim runs the simulator of Alibaba Cloud as a server on loopback, for shells, scripts and clients in any
// language. It prints the environment that points a client at it and runs until it is interrupted.
//
//	alisim -ca-file alisim-ca.pem -env-file alisim.env &
//	. ./alisim.env
//
// docs/alisim.md tells what it simulates and how its control API works.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alicreds/vault-plugin-secrets-alicloud/alisim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "alisim:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("alisim", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:0", "host:port of the simulated cloud, HTTPS; loopback only")
	controlAddr := flags.String("control-addr", "127.0.0.1:0", "host:port of the control API, HTTP; loopback only")
	proxyAddr := flags.String("proxy-addr", "127.0.0.1:0", "host:port of the CONNECT proxy; loopback only")
	imdsAddr := flags.String("imds-addr", "127.0.0.1:0", "host:port of the ECS metadata service, HTTP; loopback only")
	uriAddr := flags.String("uri-addr", "127.0.0.1:0", "host:port of the credentials URI, HTTP; loopback only")
	sources := flags.Bool("sources", false, "have something behind every door: an ECS role, an OIDC provider, CloudSSO, OAuth, a credentials URI")
	tokenFile := flags.String("oidc-token-file", "", "write an identity token that is good for 12 hours to this `file`; needs -sources")
	seedFile := flags.String("seed", "", "JSON `file` with what exists at the start; default: a user \"vault\" and a role \"deploy\"")
	settingsFile := flags.String("settings", "", "JSON `file` with quotas, propagation delays and rate limits to change")
	caFile := flags.String("ca-file", "", "write the certificate of the simulator's authority to this `file`, PEM")
	envFile := flags.String("env-file", "", "write the environment lines to this `file` instead of standard output")
	relayRTT := flags.Duration("relay-rtt", 0, "put the cloud this round trip away, for example 20ms")
	latency := flags.Duration("latency", 0, "let every call take this much longer")
	journal := flags.Int("journal", 0, "calls that the journal keeps; default 100000")
	verbose := flags.Bool("v", false, "log every call to standard error, without its parameters")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case *sources && *seedFile != "":
		return errors.New("-sources and -seed exclude each other: a seed has sources of its own")
	case *tokenFile != "" && !*sources:
		return errors.New("-oidc-token-file needs -sources")
	}
	for _, file := range []*string{caFile, tokenFile} { // the environment names them for programs that run elsewhere
		if *file == "" {
			continue
		}
		path, err := filepath.Abs(*file)
		if err != nil {
			return err
		}
		*file = path
	}
	options := alisim.Options{
		Addr: *addr, ControlAddr: *controlAddr, ProxyAddr: *proxyAddr, IMDSAddr: *imdsAddr, URIAddr: *uriAddr,
		JournalSize: *journal, RTT: *relayRTT,
	}
	if *sources {
		options.Seed = alisim.SourcesSeed()
	}
	if *verbose {
		options.Log = slog.New(slog.NewTextHandler(stderr, nil))
	}
	if *seedFile != "" {
		if err := readJSON(*seedFile, &options.Seed); err != nil {
			return err
		}
	}
	if *settingsFile != "" {
		settings := alisim.DefaultSettings()
		if err := readJSON(*settingsFile, &settings); err != nil {
			return err
		}
		options.Settings = &settings
	}
	server, err := alisim.Start(options)
	if err != nil {
		return err
	}
	defer server.Close()
	server.SetLatency(*latency)
	if *caFile != "" {
		if err := os.WriteFile(*caFile, server.CACertPEM(), 0o644); err != nil { // a public certificate
			return err
		}
	}
	if *tokenFile != "" {
		if err := writeToken(server, *tokenFile); err != nil {
			return err
		}
	}
	lines := environment(server, *caFile, *tokenFile, *seedFile == "" || hasPublishedKey(options.Seed), *sources)
	if *envFile != "" {
		if err := os.WriteFile(*envFile, []byte(lines), 0o600); err != nil {
			return err
		}
	} else if _, err := io.WriteString(stdout, lines); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// hasPublishedKey tells whether a seed has the key of the default seed, which is no secret.
func hasPublishedKey(seed alisim.Seed) bool {
	published := alisim.AccessKey{ID: alisim.DefaultAccessKeyID, Secret: alisim.DefaultAccessKeySecret}
	for _, a := range seed.Accounts {
		for _, u := range a.Users {
			if slices.Contains(u.AccessKeys, published) {
				return true
			}
		}
	}
	return false
}

// environment returns the lines a shell needs. A key is printed only if it is the published one.
func environment(server *alisim.Server, caFile, tokenFile string, publishedKey, sources bool) string {
	var b strings.Builder
	export := func(name, value string) {
		fmt.Fprintf(&b, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	export("ALISIM_URL", server.URL)
	export("ALISIM_CONTROL_URL", server.ControlURL)
	export("ALISIM_PROXY_URL", server.ProxyURL)
	export("ALISIM_IMDS_URL", server.IMDSURL)
	export("ALISIM_CREDENTIALS_URL", server.CredentialsURL)
	if sources {
		export("ALIBABA_CLOUD_CREDENTIALS_URI", server.CredentialsURL+"/credentials")
	}
	if tokenFile != "" {
		export("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", alisim.DefaultOIDCProviderARN)
		export("ALIBABA_CLOUD_OIDC_TOKEN_FILE", tokenFile)
		export("ALIBABA_CLOUD_ROLE_ARN", alisim.DefaultPodRoleARN)
	}
	export("HTTPS_PROXY", server.ProxyURL)
	export("NO_PROXY", "127.0.0.1,localhost")
	if caFile != "" {
		export("ALISIM_CA_FILE", caFile)
		export("SSL_CERT_FILE", caFile)
		export("NODE_EXTRA_CA_CERTS", caFile)
		export("REQUESTS_CA_BUNDLE", caFile)
	}
	if publishedKey {
		export("ALIBABA_CLOUD_ACCESS_KEY_ID", alisim.DefaultAccessKeyID)
		export("ALIBABA_CLOUD_ACCESS_KEY_SECRET", alisim.DefaultAccessKeySecret)
	}
	return b.String()
}

// writeToken writes a token as a cluster mounts it into a pod.
func writeToken(server *alisim.Server, name string) error {
	issuer, err := server.Issuer(alisim.DefaultIssuerName)
	if err != nil {
		return err
	}
	token, err := issuer.Sign(alisim.IdentityToken{Expires: server.Now().Add(12 * time.Hour)})
	if err != nil {
		return err
	}
	return os.WriteFile(name, []byte(token), 0o600)
}

// readJSON decodes a file strictly.
func readJSON(name string, out any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
