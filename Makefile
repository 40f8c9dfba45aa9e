# Thin names for what people do here; the work is in cargo and in scripts/.
CARGO ?= cargo
DENY_VERSION := 0.20.2
FUZZ_VERSION := 0.13.2
# How long `make fuzz` goes on.
FUZZ_SECONDS ?= 60
# How many lives `make chaos` lives, and how long they are.
SEEDS ?= 1000
STEPS ?= 200
# Started as it was built with all the rest: another choice of packages would build its dependencies anew.
K8S := $(or $(CARGO_TARGET_DIR),target)/debug/k8s

.PHONY: help build test sanity demo k8s kubectl k8s-shell k8s-down k8s-test lint bench oracle fuzz chaos mutants clean packages
.DEFAULT_GOAL := help

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the programs: driver, emulator, demo, csi-sanity runner
	$(CARGO) build --workspace --bins

test: packages build ## everything: unit to binary tests, the independent client, csi-sanity (as root)
	$(CARGO) test --workspace
	$(MAKE) chaos SEEDS=5000
	$(MAKE) oracle
	$(MAKE) sanity

sanity: packages build .cache/bin/csi-sanity ## the unmodified csi-sanity, mount and block, every skip by name
	PATH="$(CURDIR)/.cache/bin:$$PATH" $(CARGO) run --quiet -p e2e --bin sanity

demo: packages build ## a disk's whole life on a local Azure with two nodes, step by step (as root)
	$(CARGO) run --quiet -p e2e --bin demo

k8s: packages build ## a real Kubernetes on a local Azure, with the driver and a first pod (as root)
	@$(K8S) up

kubectl: ## kubectl in that cluster: make kubectl ARGS='get pods --all-namespaces'
	@$(K8S) kubectl $(ARGS)

k8s-shell: ## a shell with KUBECONFIG set, where that cluster is in reach
	@$(K8S) shell

k8s-down: ## end that cluster, and leave nothing of it
	@$(K8S) down

k8s-test: packages build ## pods on that cluster: a story, failures, Kubernetes' own storage suite (as root)
	KUBE_TOOLS=$$($(K8S) tools) $(CARGO) test --workspace --test machine --test chart -- --test-threads=1
	$(K8S) test $(ARGS)

oracle: build ## Azure clients that are not ours work on the emulator
	scripts/oracle

fuzz: ## random answers from Azure for the client, for FUZZ_SECONDS (60); needs nightly Rust
	CARGO_FUZZ_VERSION=$(FUZZ_VERSION) scripts/fuzz $(FUZZ_SECONDS)

chaos: ## random lives of volumes: SEEDS=1000 of them, or one again with all that happens: SEED=17
	$(CARGO) run --quiet --profile chaos -p chaos -- --steps $(STEPS) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

mutants: ## bugs planted in the driver, each of which the chaos must find
	scripts/mutants

lint: ## format, clippy, docs, dependency rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps
	command -v cargo-deny >/dev/null || $(CARGO) install cargo-deny --locked --version $(DENY_VERSION)
	$(CARGO) deny check bans licenses sources

# Two builds: the program that is measured has only the features that users get.
bench: ## what the release build weighs, and how near attach and detach are to what Azure needs (ARGS='--help')
	$(CARGO) build --release --bin azuredisk-csi
	$(CARGO) build --release -p e2e --bin bare --bin bench
	@$${CARGO_TARGET_DIR:-target}/release/bench $(ARGS)

clean: ## everything that was built
	$(CARGO) clean
	rm -rf .cache e2e/oracle/target fuzz/target

# Only what is missing, and silent when nothing is.
packages:
	@scripts/debian-packages

.cache/bin/csi-sanity: scripts/csi-sanity
	scripts/csi-sanity
