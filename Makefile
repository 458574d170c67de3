# What a person does with this repository. `make` alone lists it.
# Run it as yourself or as root: what needs root asks for sudo itself.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo up down test skew bench setup build lint clean

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
IMAGES := $(abspath target/images)

# Where `make up` keeps its cluster: make up DATA_DIR=/srv/berth
DATA_DIR ?= /var/lib/berth

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: build ## install what is missing, build, and show Berth step by step with the real kubectl
	@BERTH=$(TARGET)/debug/berth KUBECTL=$$(tests/setup/kubectl.sh) IMAGES=$(IMAGES) tests/demo/demo.sh

up: build ## start a one-node cluster in the foreground and say what to try next
	@BERTH=$(TARGET)/debug/berth KUBECTL=$$(tests/setup/kubectl.sh) IMAGES=$(IMAGES) DATA_DIR=$(DATA_DIR) tests/setup/up.sh

down: build ## take the cluster of `make up` down: its containers, networks and mounts
	@tests/setup/as-root.sh $(TARGET)/debug/berth down --data-dir $(DATA_DIR)

# Where there is no Helm and none can be made, the test that needs one says so.
test: setup ## the same set-up, then all tests
	@tests/setup/helm.sh >/dev/null || true
	@tests/setup/test.sh

# Not part of `make test`: building the two clients takes several minutes of two cores, once.
skew: setup ## drive Berth with the oldest and the newest kubectl that it promises to work with
	@tests/setup/skew.sh

bench: setup ## measure the figures, in release mode, beside crun and runc
	@tests/setup/bench-packages.sh
	cargo build --release --workspace
	@BERTH=$(TARGET)/release/berth KUBECTL=$$(tests/setup/kubectl.sh) IMAGES=$(IMAGES) tests/bench/run.sh

setup: ## install what building and testing needs, only where it is missing
	@tests/setup/rust.sh
	@tests/setup/packages.sh
	@tests/setup/guests.sh
	@tests/setup/kubectl.sh >/dev/null
	@tests/images/build.sh $(IMAGES)

# The whole workspace, as the tests build it: for one package alone cargo would choose other features of the same
# dependencies, and compile them twice.
build: setup
	cargo build --workspace

lint: ## format, lints and shell scripts, as CI checks them
	@tests/setup/lint.sh

clean: ## remove what was built and what set-up made; a running cluster's data is not touched
	cargo clean
	rm -rf target
