# All that is done with this repository, by one word each. `make help` lists them.
#
# Everything happens in this folder and in Cargo's cache; nothing but the lab needs root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Where `make tools` puts etcd and protoc; the programme looks etcd up on PATH.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

# Passed to the demo: make demo DEMO_ARGS="--hosts 50 --budget 5"
DEMO_ARGS ?=

stage := tools/stage.sh

.PHONY: help
help: ## this list
	@printf 'make TARGET, where TARGET is\n\n'
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do printf '  %-14s %s\n' "$$name" "$$what"; done
	@printf '\nThe first build takes about 4 minutes on two cores.\n'

.PHONY: tools
tools: ## etcd and protoc below target/tools: those on PATH, else Debian's, unpacked and not installed
	@$(stage) --show tools "seconds; about 1 minute the first time" tools/setup.sh

.PHONY: build
build: tools ## the programme, target/debug/calico-dcos
	@$(stage) build "about 4 minutes the first time, on two cores" cargo build --locked

.PHONY: release-binary
release-binary: tools ## the programme as hosts run it: static and stripped, target/static/calico-dcos
	@$(stage) --show "static programme" "about 10 minutes" tools/static.sh

.PHONY: release
release: tools ## programme, image, DC/OS package, SBOM and digests below target/dist; DOWNLOAD_URL says where the programme will lie
	@$(stage) --show release "about 10 minutes" tools/release.sh

.PHONY: release-check
release-check: tools ## a release twice, in two folders: the same bytes
	@$(stage) --show "two releases" "about 20 minutes" tools/release.sh check

.PHONY: demo
demo: build ## a whole cluster on this machine, brought in sync; DEMO_ARGS="--hosts 50" passes options
	@cargo run --quiet --locked -- demo $(DEMO_ARGS)

.PHONY: test
test: tools lint unit doc deny ## everything that has to be green before a change lands

.PHONY: test-full
test-full: test long lab-test benches fuzz ## test, and what takes long

.PHONY: lint
lint: tools ## formatting and clippy, warnings are errors
	@$(stage) format "seconds" cargo fmt --check
	@$(stage) clippy "about 2 minutes the first time" cargo clippy --locked --all-targets -- -D warnings

.PHONY: unit
unit: tools ## the tests alone
	@$(stage) "test build" "about 9 minutes the first time" tools/test.sh build
	@$(stage) --show tests "about 6 minutes" tools/test.sh quick

.PHONY: pymesos
pymesos: ## pymesos below target/tools, a foreign client for the long tests
	@$(stage) --show pymesos "seconds; passed over without a network" tools/pymesos.sh

.PHONY: long
long: tools pymesos ## the tests that are too long for every day
	@$(stage) --show "long tests" "minutes" tools/test.sh long

.PHONY: screenshots
screenshots: tools ## the pictures of the page in the README, drawn anew below docs
	@$(stage) --show screenshots "minutes" tools/test.sh pictures

.PHONY: lab
lab: build ## hosts as containers with real systemd and Docker, etcd and the controller; needs root and Docker
	@$(stage) --show lab "about 30 s; 3 minutes the first time" tools/lab/lab.sh up

.PHONY: lab-down
lab-down: ## take the lab off again
	@$(stage) --show lab "seconds" tools/lab/lab.sh down

.PHONY: lab-test
lab-test: build ## the tests in the lab; passed over, and said so, where there can be none
	@$(stage) --show "lab tests" "minutes, with root and Docker" tools/lab/lab.sh test

.PHONY: lab-test-all
lab-test-all: build ## those and the ones that take long: power cuts between any two steps
	@$(stage) --show "all lab tests" "half an hour, with root and Docker" tools/lab/lab.sh test-all

.PHONY: doc
doc: tools ## the examples in the documentation run, and it has no broken link
	@$(stage) "doc tests" "seconds" cargo test --locked --doc
	@RUSTDOCFLAGS="-D warnings" $(stage) rustdoc "about 1 minute" cargo doc --locked --no-deps --document-private-items

.PHONY: deny
deny: ## licences, bans and sources of the dependencies; vulnerabilities where their list can be reached
	@$(stage) --show dependencies "seconds, when cargo-deny is there" tools/deny.sh

# With the versions of the dependencies that everything else has, so that they are built once.
.PHONY: fuzz
fuzz: tools ## the targets of cargo-fuzz compile; passed over where their one dependency cannot be had
	@cp Cargo.lock fuzz/Cargo.lock
	@if cargo fetch --quiet --manifest-path fuzz/Cargo.toml 2>/dev/null; then \
	  $(stage) "fuzz targets" "about 5 minutes the first time" cargo check --manifest-path fuzz/Cargo.toml --target-dir target; \
	else echo "     fuzz targets: libfuzzer-sys cannot be had, so they are not checked"; fi

.PHONY: benches
benches: tools ## the benchmarks compile
	@$(stage) benches "about 2 minutes" cargo bench --locked --profile dev --no-run

.PHONY: bench
bench: tools ## run the benchmarks, optimised
	cargo bench --locked

.PHONY: fmt
fmt: ## format the code
	cargo fmt
