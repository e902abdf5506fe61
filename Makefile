# Maquis. `make` alone lists the targets. Needs Go, git and make.
.DEFAULT_GOAL := help
GO ?= go
FUZZTIME ?= 30s

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## 5 processes form a TLS cluster, count the words of Go's standard library and check the sum
	$(GO) run ./cmd/demo run

.PHONY: test
test: ## all tests
	$(GO) test -timeout 10m ./...

.PHONY: race
race: ## all tests under the race detector
	$(GO) test -race -timeout 20m ./...

.PHONY: lint
lint: ## formatting and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

.PHONY: bench
bench: ## benchmarks in this module
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: check
check: lint test ## what a change must pass

.PHONY: tidy
tidy: ## tidy the module
	$(GO) mod tidy

.PHONY: clean
clean: ## remove build output
	rm -rf bin dist
