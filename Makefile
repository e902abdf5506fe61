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
race: ## the tests under the race detector, but for long simulations
	$(GO) test -race -short -timeout 20m ./...

.PHONY: lint
lint: ## formatting and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

.PHONY: bench
bench: ## benchmarks in this module
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-compare
bench-compare: ## beside protoactor's remote: two processes a measure, some two hours; writes docs/results/bench.md
	cd bench && $(GO) run . -out ../docs/results/bench.md

.PHONY: bench-channels
bench-channels: ## large messages of many actors over slow links, beside protoactor's remote, and what modes cost; some ten minutes; writes docs/results/channels.md
	cd bench && $(GO) run ./channels -commit $$(git rev-parse --short HEAD) -out ../docs/results/channels.md

.PHONY: parity
parity: ## one set of actor behaviors: local, over protoactor's remote, over Maquis
	cd bench && $(GO) test -run Parity -v -timeout 5m .

.PHONY: mesh
mesh: ## what a full mesh of 50 nodes in one process costs
	cd bench && $(GO) test -run Mesh -v -timeout 5m .

.PHONY: connections
connections: ## sockets of a node while 10, 30 and 100 nodes all send to all others, beside protoactor's remote; some ten minutes
	cd bench && $(GO) test -run Connections -v -timeout 20m .

.PHONY: compat
compat: ## protoactor's grains over Maquis: its nested module's tests, some with three processes
	cd compat/protoactor && $(GO) vet ./... && $(GO) test -timeout 5m ./...

.PHONY: traffic
traffic: ## random traffic over all delivery modes, over links and over changing paths and overlays, 2,000 seeds each, 300 times the seed that once failed in one run of a hundred, and 20,000 of causal broadcasts; an hour
	$(GO) test ./channelmgr -run 'Random|Calm' -timeout 3h -traffic.seeds 2000
	$(GO) test ./channelmgr -run 'RandomTraffic/27$$$$' -traffic.first 27 -count 300
	$(GO) test ./channelmgr/causal -timeout 20m -casts.seeds 20000

.PHONY: discovery
discovery: ## strategies beside Kubernetes' own types, and a real etcd where it is installed (Debian: etcd-server)
	cd peerservice/discovery/k8stest && $(GO) test -timeout 2m .
	$(GO) test -run 'RealEtcd|Namespaces' -v -timeout 2m ./peerservice/discovery

.PHONY: sim
sim: ## the papers' experiments at 10,000 nodes, some two hours; writes docs/results/simulation.md
	$(GO) run ./overlay/sim/paper -commit $$(git rev-parse --short HEAD)

PROTOS = $(abspath $(wildcard messages/*.proto cmd/demo/*.proto bench/*.proto))

.PHONY: proto
proto: ## generate the protobuf code, with pinned tools and no protoc
	cd tools && $(GO) run ./protogen $(PROTOS)

.PHONY: proto-check
proto-check: ## is the generated code current?
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && (cd tools && $(GO) run ./protogen -out $$dir $(PROTOS)) && \
	for f in $(PROTOS:.proto=.pb.go); do cmp "$$f" "$$dir/$$(basename $$f)" || { echo "run make proto"; exit 1; }; done

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s)
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || exit 1; \
	  done; done

COMMIT = $$(git rev-parse --short HEAD)$$(git diff --quiet HEAD || echo +)

.PHONY: faults
faults: ## faults on real processes, in a private network of the kernel's and by a wrapper, 20 minutes; writes docs/results/faults.md
	@for t in ip ss nft; do command -v $$t >/dev/null || { echo "$$t is missing: apt-get install iproute2 nftables"; exit 1; }; done
	$(GO) test -tags netns -v -count 1 -timeout 60m ./internal/faultnet -faults.full -faults.report $(abspath docs/results/faults.md) -faults.commit $(COMMIT)

SOAK ?= --for 20m

.PHONY: soak
soak: ## 8 processes under mixed traffic and random faults, 20 minutes (SOAK='--for 1h --seed 7'); writes docs/results/soak.md
	$(GO) run ./internal/faultnet/soak $(SOAK) --report docs/results/soak.md --json docs/results/soak.json --commit $(COMMIT)

N ?= 1024
.PHONY: scale
scale: ## N real nodes in 33 processes (N=1024 SCALE='--at-once'), 6 minutes; writes docs/results/scale-N.md; expected: every bound reached
	$(GO) run ./cmd/demo scale --nodes $(N) --commit $$(git rev-parse --short HEAD) --out docs/results/scale-$(N)$(if $(findstring at-once,$(SCALE)),-at-once).md $(SCALE)

.PHONY: suspend
suspend: ## a process suspended for 30 s is down, then back with a new generation
	$(GO) test -run Suspend -v -count 1 ./cmd/demo -suspended 30s

.PHONY: invariants
invariants: ## tests with the machines' invariants checked after every step
	$(GO) test -tags invariants -timeout 10m ./...

.PHONY: check
check: lint proto-check test ## what a change must pass

.PHONY: tidy
tidy: ## tidy the module
	$(GO) mod tidy

.PHONY: clean
clean: ## remove build output
	rm -rf bin dist
