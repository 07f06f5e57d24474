# Run make without a target for what there is to make.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help

# The state of the checkout is stamped by STAMP; Go need not look for it, and
# fails when it may not.
export GOFLAGS := $(shell go env GOFLAGS 2>/dev/null) -buildvcs=false

VERSION ?= $(shell v=$$(git describe --tags --match 'v*' 2>/dev/null) && echo "$${v\#v}" || echo 0.1.0-dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

TOOL  := go tool -modfile=tools/go.mod
STAMP := -X netctl/api.Version=$(VERSION) -X netctl/api.Commit=$(COMMIT)
BUILD := go build -trimpath -ldflags '$(STAMP)'

# The lab's packages build networks of namespaces: they measure time, so they
# run without the race detector, and never from the cache.
LAB_PACKAGES  := ./test/...
UNIT_PACKAGES := $$(go list ./... | grep -v '^netctl/test/')
TEST_FLAGS    := -timeout 15m

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/netctl and bin/netctld
	CGO_ENABLED=0 $(BUILD) -o bin/netctl ./cmd/netctl
	CGO_ENABLED=1 $(BUILD) -o bin/netctld ./cmd/netctld

.PHONY: test
test: deps ## run every test; needs root for the lab
	go test -race -shuffle=on $(TEST_FLAGS) $(UNIT_PACKAGES)
	go test -count=1 $(TEST_FLAGS) $(LAB_PACKAGES)

.PHONY: lab
lab: deps ## run only the tests with real routers and clients; needs root
	go test -count=1 $(TEST_FLAGS) $(LAB_PACKAGES)

.PHONY: check
check: ## check format, vet, linters, layers, and that generated files are up to date
	$(TOOL) golangci-lint fmt --diff
	go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) golangci-lint run
	tools/generated
	go test -run '^TestLayers$$' .

.PHONY: bench
bench: deps build ## measure it next to BIRD and gobgpd, in namespaces; needs root
	NETCTL_BIN=bin go run ./test/bench $(BENCH)

# How long each fuzz target runs.
FUZZ_TIME ?= 30s

.PHONY: fuzz
fuzz: deps ## run every fuzz target for FUZZ_TIME (30s)
	@git grep -l '^func Fuzz' -- '*_test.go' | while read -r f; do \
		sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' "$$f" | while read -r name; do \
			echo "$$(dirname "$$f") $$name"; \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZ_TIME) "./$$(dirname "$$f")" </dev/null || exit 1; \
		done || exit 1; \
	done

.PHONY: fmt
fmt: ## format the code
	$(TOOL) golangci-lint fmt

.PHONY: lint
lint: ## run golangci-lint and repair what it can
	$(TOOL) golangci-lint run --fix

.PHONY: generate
generate: ## write the generated files
	go generate ./...

.PHONY: demo
demo: deps build ## show it at work with a real router, in namespaces; needs root
	NETCTL_BIN=bin go run ./test/demo

.PHONY: package
package: build ## build the Debian package in dist/
	packaging/build bin '$(VERSION)' dist

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist

.PHONY: deps
deps: ## install the Debian packages that are missing
	@tools/deps
