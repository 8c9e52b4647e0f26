# What people run. `make` alone prints the list. Everything made here stands under build/ and .venv/; the control plane
# is built once into ~/.cache/ostkeeper (OSTKEEPER_CACHE=DIR puts it elsewhere, KUBEBUILDER_ASSETS=DIR brings a ready one).

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# A distribution builds its Python with profiles and link-time optimization; what version managers build is a third slower.
PYTHON ?= $(shell for p in /usr/bin/python3 python3; do $$p -c 'import sys, ensurepip, venv; \
	sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && exit; done; echo python3)
BIN := .venv/bin
WORKERS ?= 2
PYTEST := $(BIN)/pytest --durations=10
STAY ?=

# command:Debian package that brings it
TOOLS := ipmi_sim:openipmi ipmitool:ipmitool snmpd:snmpd snmpset:snmp mkfs.ext4:e2fsprogs debugfs:e2fsprogs \
	ip:iproute2 nft:nftables unshare:util-linux nsenter:util-linux fsfreeze:util-linux losetup:mount ps:procps \
	openssl:openssl

##@ First

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: build/system.stamp build/venv.stamp ## system packages where missing, .venv with all of Python: 2 min once, root for the former

.PHONY: control-plane
control-plane: build/venv.stamp ## etcd, kube-apiserver, kubectl into the cache: 5 min once, then nothing
	@$(BIN)/python -m ostkeeper.testbed.build

##@ Work

.PHONY: check
check: build/venv.stamp ## style, types and layers: ruff, mypy --strict, import-linter; 1 min
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict operator/ostkeeper tests
	$(BIN)/lint-imports --no-logo

.PHONY: test
test: setup needs-root control-plane ## every test, the quick tiers first; under 30 min, root
	@failed=0; \
	echo "== decisions, contracts on real parts, simulator"; \
	$(PYTEST) -n $(WORKERS) -m "not e2e" </dev/null || failed=1; \
	echo "== end to end: real API server, hosts that die"; \
	$(PYTEST) -n $(WORKERS) --dist worksteal -v -m e2e </dev/null || failed=1; \
	exit $$failed

.PHONY: test-quick
test-quick: build/venv.stamp ## only what needs neither root nor a control plane: decisions, 200 simulated runs; 2 min
	OSTKEEPER_SIM_RUNS=200 $(PYTEST) -n $(WORKERS) -m "(scenario or sim) and not thorough" </dev/null

RUNS ?= 1000000
SEED ?= 1
.PHONY: soak
soak: build/venv.stamp ## simulated nights by the million, into build/sim.json: hours; RUNS= how many, SEED= the first
	$(BIN)/python -m ostkeeper.sim.soak --runs $(RUNS) --seed $(SEED)

.PHONY: scenario
scenario: build/venv.stamp ## one scenario file played, its story printed: FILE=path, such as a report from the field; seconds
	@[ -n "$(FILE)" ] || { echo "make scenario FILE=path; tests/scenarios has examples, tests/core/story.py the words" >&2; exit 2; }
	@PYTHONPATH=tests $(BIN)/python -m core.story "$(FILE)"

.PHONY: crds
crds: build/venv.stamp ## crds/*.yaml from the models in operator/ostkeeper/api; seconds
	$(BIN)/python -m ostkeeper.api.crdgen crds

##@ See it

.PHONY: demo
demo: setup needs-root control-plane ## two pairs, four servers, three failures, on real parts; under 4 min, root. STAY=1 leaves it running
	$(BIN)/ostkeeper testbed demo $(if $(STAY),--stay)

.PHONY: bench
bench: setup needs-root control-plane ## ten failovers timed, into build/bench/failover.json; 10 min, root
	$(BIN)/ostkeeper testbed bench

##@ Last

.PHONY: clean
clean: ## build/ and the tools' caches; .venv and the cached control plane stay
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find operator tests -name __pycache__ -prune -exec rm -rf {} +

# ---- what the targets above rest on

build/system.stamp: Makefile
	@mkdir -p build
	@missing=$$(for pair in $(TOOLS); do command -v "$${pair%%:*}" >/dev/null || echo "$${pair#*:}"; done | sort -u); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing="$$missing python3-venv"; \
	missing=$$(echo $$missing); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
			echo "setup: missing here: $$missing (names of Debian packages)." >&2; \
			echo "setup: install them, as root: apt-get install --no-install-recommends $$missing; then make again." >&2; \
			exit 1; \
		fi; \
		echo "setup: apt-get install $$missing"; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get update -q </dev/null && apt-get install -q -y --no-install-recommends $$missing </dev/null || exit 1; \
	fi
	@touch $@

build/venv.stamp: pyproject.toml
	@mkdir -p build
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "setup: $$($(PYTHON) --version) is too old: 3.11 or newer is needed; make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "setup: .venv with ostkeeper and its tools"
	@$(PYTHON) -m venv .venv || { echo "setup: as root: apt-get install python3-venv; then make again." >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[operator,dev]' </dev/null
	@touch $@

.PHONY: needs-root
needs-root:
	@[ "$$(id -u)" = 0 ] || { echo "This mounts file systems and makes network namespaces, so it needs root: sudo make ..." >&2; \
		echo "Without root there is: make check test-quick" >&2; exit 1; }
	@unshare --net --mount --pid --fork true 2>/dev/null || { echo "Root here may make no namespaces (a container without" \
		"CAP_SYS_ADMIN?): use a virtual machine, or docker run --privileged." >&2; exit 1; }
	@[ -e /dev/loop-control ] && losetup --find >/dev/null 2>&1 || { echo "No loop devices here: modprobe loop; in a" \
		"container: docker run --privileged -v /dev:/dev. The hosts' disks are loop devices." >&2; exit 1; }
