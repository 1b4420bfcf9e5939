# SPDX-License-Identifier: GPL-2.0-or-later
# `make help` lists the targets. Everything that is built once is kept in
# $USB4RDMA_CACHE (default ~/.cache/usb4rdma).

CACHE := $(or $(USB4RDMA_CACHE),$(HOME)/.cache/usb4rdma)
VENV := $(CACHE)/venv
SYSTEM_PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)
PYTHON := $(VENV)/bin/python
PYTEST := $(PYTHON) -m pytest
KERNEL ?= 7.2
KERNELS := 6.12 7.2 7.3
# What a person wants to add: make test PYTEST_ARGS='-k unplug -x'
PYTEST_ARGS ?=

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: bootstrap
bootstrap: ## install what this machine lacks (apt-get, then a Python environment in the cache)
	@bash .ci/bootstrap
	@$(MAKE) --no-print-directory venv

.PHONY: venv
venv: $(VENV)/.requirements

$(VENV)/.requirements: tests/requirements.txt
	@echo "venv: installing tests/requirements.txt into $(VENV)"
	@test -x $(PYTHON) || $(SYSTEM_PYTHON) -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --retries 5 -r tests/requirements.txt
	@cp tests/requirements.txt $@

.PHONY: demo
demo: ## two virtual hosts, one virtual cable, the packages, RDMA between them (KEEP=1 leaves them running)
	@bash .ci/bootstrap
	@$(SYSTEM_PYTHON) tests/demo/demo.py $(if $(KEEP),--keep)

.PHONY: test
test: venv ## all tests, units first, then those in virtual machines
	@$(PYTEST) -v --durations=15 tests/unit tests/packages tests/integration tests/vm $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: venv ## the tests that need no virtual machine (under a minute)
	@$(PYTEST) -q -n 2 --dist loadfile tests/unit tests/integration $(PYTEST_ARGS)

# The daemon's core, which does no I/O: decisions, protocol, presentation.
CORE := $(shell printf 'usb4rdmad/%s.py,' model events orders step machine administration admission \
	agreement comparison probing policy addressing naming messages 'pairing/*' \
	'bus/present' 'bus/publish' 'bus/interfaces' 'bus/introspection')

.PHONY: coverage
coverage: export COVERAGE_FILE := $(CACHE)/coverage
coverage: venv ## lines and branches that the daemon's tests reach; its pure core: at least 95 %
	@$(PYTEST) -q tests/unit/daemon tests/integration/daemon --cov=usb4rdmad --cov-branch --cov-report= $(PYTEST_ARGS)
	@$(PYTHON) -m coverage report --skip-covered
	@echo 'The pure core:'
	@$(PYTHON) -m coverage report --show-missing --include='$(CORE)' --fail-under=95

.PHONY: test-vm
test-vm: venv ## the tests in virtual machines
	@$(PYTEST) -v --durations=15 tests/vm $(PYTEST_ARGS)

.PHONY: test-frameworks
test-frameworks: venv ## PyTorch on two virtual hosts (a large image and long imports, so not in `make test`)
	@$(PYTEST) -v --durations=15 -m frameworks tests/vm $(PYTEST_ARGS)

.PHONY: kernel-debug
kernel-debug: ## build the sanitizer kernel (KASAN, UBSAN, lockdep, ...) into the cache (half an hour)
	@$(SYSTEM_PYTHON) tests/lab/lab build --kernel debug

.PHONY: kernel-kcsan
kernel-kcsan: ## build the kernel that looks for data races of the driver (KCSAN) into the cache
	@$(SYSTEM_PYTHON) tests/lab/lab build --kernel kcsan

.PHONY: test-kcsan
test-kcsan: venv ## the tests in virtual machines, on that kernel
	@USB4RDMA_KERNEL=kcsan USB4RDMA_PATIENCE=6 $(PYTEST) -v --durations=15 tests/vm $(PYTEST_ARGS)

.PHONY: test-debug
test-debug: venv ## the tests in virtual machines, on the sanitizer kernel
	@USB4RDMA_KERNEL=debug USB4RDMA_PATIENCE=6 $(PYTEST) -v --durations=15 tests/vm $(PYTEST_ARGS)

.PHONY: bench-counts
bench-counts: ## count what an operation costs, beside Soft-RoCE, into docs/bench/ (BENCH_ARGS='--case write:65536 --profile')
	@cd tests && $(SYSTEM_PYTHON) -m bench $(BENCH_ARGS)

.PHONY: bench-mr
bench-mr: ## time and memory of registering up to 8 GiB, beside Soft-RoCE, into docs/bench/ (BENCH_ARGS='--gib 1')
	@cd tests && $(SYSTEM_PYTHON) -m bench.registration $(BENCH_ARGS)

SECONDS ?= 600
.PHONY: fuzz
fuzz: ## fuzz with libFuzzer for SECONDS=600 each target, or one TARGET=frame (KEEP=1 keeps inputs, RECORD=1 notes the run)
	@$(SYSTEM_PYTHON) tests/fuzz/run.py --seconds $(SECONDS) $(addprefix --target ,$(TARGET)) $(if $(KEEP),--keep) $(if $(RECORD),--record)

.PHONY: fuzz-user
fuzz-user: venv ## fuzz the kernel from a process without privileges: MINUTES=30 KERNEL=debug SEED=1, into docs/fuzzing.md
	@USB4RDMA_FUZZ_MINUTES=$(if $(filter file,$(origin MINUTES)),30,$(MINUTES)) USB4RDMA_FUZZ_SEED=$(SEED) USB4RDMA_KERNEL=$(KERNEL) $(if $(filter debug,$(KERNEL)),USB4RDMA_PATIENCE=6) $(PYTEST) -v -s tests/vm/test_user_fuzz.py $(PYTEST_ARGS)

.PHONY: faults
faults: venv ## the long form of the fault matrix: rare faults and many single losses too (for docs-data)
	@USB4RDMA_LONG=1 $(PYTEST) -v tests/vm/test_faults.py tests/vm/test_recovery.py $(PYTEST_ARGS)

.PHONY: unplug
unplug: venv ## the long form of the unplug matrix, 200 plug and 50 load cycles; tables in build/results/
	@USB4RDMA_LONG=1 USB4RDMA_KERNEL=$(KERNEL) $(PYTEST) -v -m 'vm or long' tests/vm/test_unplug_matrix.py tests/vm/test_unplug_storage.py tests/vm/test_cycles.py $(PYTEST_ARGS)

.PHONY: thunderbolt-core
thunderbolt-core: venv ## show thunderbolt's own fault without usb4rdma: fails where the kernel has it (KERNEL=, THUNDERBOLT=a mended .ko)
	@USB4RDMA_THUNDERBOLT=$(abspath $(THUNDERBOLT)) USB4RDMA_KERNEL=$(KERNEL) $(PYTEST) -v -s -m long tests/vm/test_thunderbolt_core.py $(PYTEST_ARGS)

MINUTES ?= 60
.PHONY: soak
soak: venv ## mixed traffic, random faults and events for MINUTES=60 (SEED=, KERNEL=); build/results/soak.txt
	@USB4RDMA_SOAK_MINUTES=$(MINUTES) USB4RDMA_SEED=$(SEED) USB4RDMA_KERNEL=$(KERNEL) $(PYTEST) -v -s -m long tests/vm/test_soak.py $(PYTEST_ARGS)

.PHONY: docs-data
docs-data: venv ## make the tables, figures and references of docs/ (FRESH=1 runs tests and benchmarks first: hours)
ifdef FRESH
	@$(MAKE) --no-print-directory bench-counts bench-mr test test-frameworks compare captures faults unplug soak test-debug dkms-matrix test-lifecycle
endif
	@cd packaging && $(PYTHON) -m pages

# The web pages have an environment of their own: docs/requirements.txt.
SITE := $(CACHE)/site-venv

$(SITE)/.requirements: docs/requirements.txt
	@test -x $(SITE)/bin/python || $(SYSTEM_PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip install --quiet --disable-pip-version-check --retries 5 -r docs/requirements.txt
	@cp docs/requirements.txt $@

.PHONY: site
site: $(SITE)/.requirements ## build docs/ as web pages into build/site/, and refuse dead links
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/python -m mkdocs build --clean --strict
	@$(SYSTEM_PYTHON) packaging/pages/asks_nobody.py build/site

.PHONY: test-programs
test-programs: venv ## run the tables of programs on one kernel (KERNEL=6.12, 7.2 or 7.3)
	@USB4RDMA_KERNEL=$(KERNEL) $(PYTEST) -v tests/vm/test_perftest.py tests/vm/test_rdma_programs.py tests/vm/test_rdma_core.py tests/vm/test_storage.py tests/vm/test_mpi.py $(PYTEST_ARGS)

.PHONY: compare
compare: venv ## run the tables of programs on Soft-RoCE as well (for docs-data)
	@USB4RDMA_COMPARE=1 $(PYTEST) -v tests/vm/test_perftest.py tests/vm/test_rdma_programs.py tests/vm/test_storage.py tests/vm/test_mpi.py $(PYTEST_ARGS)

.PHONY: captures
captures: ## take the pictures of usb4rdmactl in two virtual hosts, into docs/captures/
	@$(SYSTEM_PYTHON) tests/demo/captures.py

.PHONY: packages
packages: ## build the Debian packages into dist/
	@$(SYSTEM_PYTHON) packaging/build_debs.py

.PHONY: rpms arch
rpms: ## build the RPM packages with Debian's rpmbuild and judge them with rpmlint, into build/rpm/
	@$(SYSTEM_PYTHON) packaging/build_foreign.py rpm --lint

arch: ## build the Arch packages with Debian's makepkg, into build/arch/
	@$(SYSTEM_PYTHON) packaging/build_foreign.py arch --lint

.PHONY: test-rpms
test-rpms: venv ## the RPM packages' life by dnf: install, upgrade, rebuild, remove (three builds of the module)
	@$(PYTEST) -v -s -m long tests/packages/test_rpm_life.py $(PYTEST_ARGS)

.PHONY: autopkgtest
autopkgtest: ## the source package's own tests and DKMS's, by Debian's autopkgtest in a Debian 13 root (minutes)
	@$(SYSTEM_PYTHON) packaging/run_autopkgtest.py

.PHONY: dkms-matrix
dkms-matrix: ## DKMS on every kernel header package that Debian offers, an hour (RELEASES='sid trixie'; goes on where it was)
	@nice -n 10 $(SYSTEM_PYTHON) packaging/dkms_matrix.py $(RELEASES)

.PHONY: repo
repo: ## make a signed apt repository of the packages in dist/repo/
	@$(SYSTEM_PYTHON) packaging/build_repo.py

.PHONY: test-lifecycle
test-lifecycle: venv ## packages at length: fresh hosts, upgrades, a kernel upgrade (an hour without KVM)
	@USB4RDMA_LONG=1 $(PYTEST) -v -s tests/vm/test_package_life.py tests/vm/test_lifecycle.py $(PYTEST_ARGS)

.PHONY: driver
driver: ## build the kernel module (KERNEL=6.12, 7.2 or 7.3) into build/KERNEL/
	@$(SYSTEM_PYTHON) packaging/build_module.py $(KERNEL)

.PHONY: lint
lint: venv ## style, types, shell, packages, and the module with W=1 and sparse on each kernel
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check usb4rdmad tests packaging
	@$(PYTHON) -m mypy
	@shellcheck .ci/bootstrap .ci/run
	@for kernel in $(KERNELS); do $(SYSTEM_PYTHON) packaging/build_module.py --strict $$kernel || exit 1; done
	@$(SYSTEM_PYTHON) packaging/judge.py
	@$(SYSTEM_PYTHON) packaging/build_foreign.py rpm --lint
	@$(SYSTEM_PYTHON) packaging/build_foreign.py arch --lint

.PHONY: static
static: ## look over driver/ with Coccinelle and the kernel's own semantic patches
	@$(SYSTEM_PYTHON) packaging/check_static.py

.PHONY: clean
clean: ## remove what was built in this tree; the cache stays
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find driver \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' -o -name '.*.cmd' \) -delete
