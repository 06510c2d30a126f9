# Needs git, make and Go; -race needs a C compiler too.
.DEFAULT_GOAL := help
.PHONY: help build check vet lint unit test portable bench soak release demo dev acceptance clean

PLUGIN  := vault-plugin-secrets-alicloud
MODULE  := github.com/alicreds/$(PLUGIN)
# Vault compares the version with the registered one, so it is always a semantic version with a "v".
VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null || echo v0.0.0-dev.g$$(git rev-parse --short HEAD))
# The modules with code of ours. Those that only pin a program are e2e/vault, e2e/peer and scripts/lint.
MODULES := . $(patsubst %/go.mod,%,$(wildcard adapters/go.mod bench/go.mod differential/go.mod e2e/go.mod))
# Those that people build from source, on systems and with Gos that are not ours.
PUBLISHED := . adapters
# Not stamped by Go: it would fail in a checkout that belongs to another user.
LDFLAGS := -s -w
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

build: ## Build bin/vault-plugin-secrets-alicloud and bin/alisim
	$(GOBUILD) -ldflags '$(LDFLAGS) -X $(MODULE)/backend.version=$(VERSION)' -o bin/$(PLUGIN) .
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o bin/alisim ./cmd/alisim

check: build vet lint unit ## Quick loop: build, vet, lint, unit tests with -short; half a minute once built

# The tag takes in TestIrrevocableLease, which only make soak has the time to run.
vet:
	@set -e; for module in $(MODULES); do (set -x; go -C $$module vet -tags soak ./...); done

# staticcheck and govulncheck are pinned by a module of their own, away from the plugin's.
lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	@set -e; for module in $(MODULES); do \
		(set -x; go -C $$module tool -modfile=$(CURDIR)/scripts/lint/go.mod staticcheck -tags soak ./...); done
	scripts/vulnerabilities $(MODULES)
	go run ./scripts/prose $$(git ls-files '*.md')

# Without the tests of very many cases, and without those that link programs; scripts/test runs all.
unit:
	@set -e; for module in $(filter-out bench differential e2e,$(MODULES)); do (set -x; go -C $$module test -short -parallel 8 ./...); done

test: build vet lint ## Everything, with -race, and end to end on a real Vault server
	scripts/test

# The oldest Go is that of the go line, which golang.org/x dictates: see docs/contributing.md.
portable: ## Vet for Windows and macOS; unit tests with the oldest Go that go.mod allows
	@set -e; for os in windows darwin; do for module in $(PUBLISHED); do \
		(set -x; GOOS=$$os CGO_ENABLED=0 go -C $$module vet ./...); done; done
	@set -e; for module in $(PUBLISHED); do oldest=go$$(sed -n 's/^go //p' $$module/go.mod); \
		(set -x; GOTOOLCHAIN=$$oldest go -C $$module test -short ./...); done

soak: build ## 16 clients, a failing cloud, a plugin killed every 30 s, 20 minutes; then leases that Vault gives up, up to 17
	scripts/vault -pinned >/dev/null
	scripts/peer >/dev/null
	SOAK=20m go -C e2e test -count=1 -v -tags soak -timeout 60m -run '^(TestSoak|TestIrrevocableLease)$$' .

bench: ## Side by side with what we replace, on this machine; some eight minutes
	cd bench && go run .

release: ## Build dist/: six platforms, SHA256SUMS, SBOMs, an OCI image; the same bytes each time
	go run ./scripts/release -o dist $(if $(KEY),-key $(KEY)) $(VERSION)

demo: ## From nothing to credentials in a Vault dev server, and back to nothing
	scripts/demo

dev: ## The same, and stay up until Ctrl-C
	scripts/demo -stay

acceptance: ## The demo against Alibaba Cloud, with real keys from the environment
	ALICLOUD_DEMO=real scripts/demo

clean: ## Remove what was built here; the cached Vault stays
	rm -rf bin dist
