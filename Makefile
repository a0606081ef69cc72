# Everything is built with one selection of packages (the whole workspace with its tests) and run from the target
# folder: cargo unites the features of what is selected, and another selection would build the AWS crates once more.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ssm-ready

# More than there are cores: the end-to-end tests mostly wait.
TEST_THREADS ?= 5
TICKING := tests/tools/ticking.sh

MUTANTS_VERSION := 27.1.0
# Each builds in a folder of its own; two are enough for two cores.
MUTANTS_JOBS ?= 2
# A part of the core: make mutants MUTANTS='-f controller/core/src/plan.rs', or '--shard 1/8'.
MUTANTS ?=
# What is measured: vpcs or regions; both without it.
BENCH ?=
# Rules to be taken out: make rules-proved RULES='--only 6 8', '--suites core crds', or '--without-sdk'.
RULES ?=

DENY_VERSION := 0.20.2
# Without "advisories", whose database is a git repository: `make deny DENY=advisories` fetches it.
DENY ?= bans licenses sources

.PHONY: help
help: ## This list.
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -nE 's/^([a-z-]+):.*## (.*)/  make \1: \2/p' $(MAKEFILE_LIST)

.PHONY: test
test: format build tools chart ## Everything that must hold; from nothing about 40 minutes on two cores, then 12.
	@echo '== table of rules' >&2
	@python3 tests/rules/prove.py --check
	@echo '== tests in Rust' >&2
	RUST_TEST_THREADS=$(TEST_THREADS) $(TICKING) tests $(CARGO) test --workspace
	@$(MAKE) oracles
	@echo '== tests of the AWS stand-in' >&2
	venv=$$(tests/aws/setup.sh | tail -n 1); \
		cd tests/aws && PYTHONDONTWRITEBYTECODE=1 "$$venv/bin/python" -m pytest -q -p no:cacheprovider tests

# Without a toolchain newer than the one that is there; modules are fetched once, into the user's module cache.
.PHONY: oracles
oracles: ## What Flux, Argo CD and Prometheus say of our objects, manifests and queries; 3 minutes the first time.
	@echo '== oracles' >&2
	cd tests/oracles && GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly \
		$(abspath $(TICKING)) oracles go test -vet=all ./...

.PHONY: build
build: ## The controller and all tests, in the dev profile; 8 minutes the first time.
	@echo '== build' >&2
	$(TICKING) build $(CARGO) build --workspace --all-targets

.PHONY: tools
tools: ## What the tests run against: kube-apiserver, etcd, Helm and the AWS stand-in; 15 minutes the first time.
	@echo '== tools' >&2
	@tests/tools/build.sh >/dev/null
	@tests/tools/chart.sh >/dev/null
	@$(TICKING) 'stand-in: installing' tests/aws/setup.sh >/dev/null

.PHONY: chart
chart: ## The Helm chart without a cluster: lint, unit tests, renderings, refusals; 20 seconds. UPDATE_CHART=1 writes what is made from it.
	@echo '== chart' >&2
	@tests/chart/check.sh

.PHONY: demo
demo: build tools ## The controller at work on a real API server and the AWS stand-in.
	$(TARGET)/debug/demo

.PHONY: bench
bench: build tools ## What the release build costs: calls, writes, CPU, memory, detection times. BENCH=regions measures one part.
	$(TICKING) 'release build' $(CARGO) build --release -p ssm-ready
	SSM_READY_BIN=$(abspath $(TARGET))/release/ssm-ready $(TARGET)/debug/bench $(BENCH)

.PHONY: worlds
worlds: ## Only the simulated worlds: SSM_READY_WORLDS says how many, SSM_READY_WORLD plays one again.
	$(TICKING) worlds $(CARGO) test --workspace --test simulation -- --nocapture

# For how many minutes, and the seed of the first world.
MINUTES ?= 60
FIRST ?= $(shell date +%s)
.PHONY: soak
soak: build ## Simulated worlds for as long as asked: make soak MINUTES=600 FIRST=1.
	$(TARGET)/debug/soak --minutes $(MINUTES) --seed $(FIRST)

.PHONY: mutants
mutants: ## What the tests of controller/core do not notice; two hours on two cores. Not part of test.
	@root=$(CACHE)/cargo-mutants-$(MUTANTS_VERSION); \
	[[ -x $$root/bin/cargo-mutants ]] || $(TICKING) 'installing cargo-mutants, once' \
		$(CARGO) install cargo-mutants --version $(MUTANTS_VERSION) --locked --root "$$root"; \
	PATH=$$root/bin:$$PATH python3 tests/rules/mutants.py --output $(abspath $(TARGET))/mutants --jobs $(MUTANTS_JOBS) -- $(MUTANTS)

.PHONY: rules-proved
rules-proved: ## That each rule of the design, taken out of the code, turns a test red; an hour. Not part of test.
	python3 tests/rules/prove.py --scratch $(CACHE)/rules $(RULES)

.PHONY: crds
crds: ## Writes the definitions of our kinds (crds/*.yaml) anew from their Rust types.
	UPDATE_CRDS=1 $(CARGO) test -p ssm-ready-crds

MDBOOK_VERSION := 0.5.4
.PHONY: docs
docs: ## The documentation as a book of web pages, in target/book.
	@root=$(CACHE)/mdbook-$(MDBOOK_VERSION); \
	[[ -x $$root/bin/mdbook ]] || $(TICKING) 'installing mdbook, once' \
		$(CARGO) install mdbook --version $(MDBOOK_VERSION) --locked --root "$$root"; \
	"$$root/bin/mdbook" build

.PHONY: image-check
image-check: build tools ## The image's binary, built and tried without a container engine; half an hour. REPRODUCE=1 builds it twice.
	image/check.sh

.PHONY: lint
lint: format clippy deny ## Formatting, clippy, and the licences and sources of dependencies.

.PHONY: format
format:
	@echo '== format' >&2
	$(CARGO) fmt --all --check
	@files=$$(find tests -name '*.go' -not -path '*/.*'); \
		if [[ -n $$files ]]; then unformatted=$$(gofmt -l $$files); fi; \
		if [[ -n $${unformatted:-} ]]; then echo "not formatted (gofmt): $$unformatted" >&2; exit 1; fi

.PHONY: clippy
clippy:
	@echo '== clippy' >&2
	$(TICKING) clippy $(CARGO) clippy --workspace --all-targets -- -D warnings

# Taken from the PATH if it is there in a version that reads our deny.toml; else installed once.
.PHONY: deny
deny:
	@echo '== cargo-deny' >&2
	@if [[ $$(cargo-deny --version 2>/dev/null) == "cargo-deny $(basename $(DENY_VERSION))".* ]]; then deny=cargo-deny; \
	else \
		root=$(CACHE)/cargo-deny-$(DENY_VERSION); deny=$$root/bin/cargo-deny; \
		[[ -x $$deny ]] || $(TICKING) 'installing cargo-deny, once' \
			$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --root "$$root"; \
	fi; \
	"$$deny" --all-features check --hide-inclusion-graph $(DENY)
