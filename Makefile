# make PYTHON=python3.12 … builds the environments with another interpreter.
PYTHON ?= python3
SHELL := bash

# Ranks of gforker share one session. Hydra (plain mpiexec) starts a session per rank, between which
# sched_yield() cannot hand over a core where the kernel groups by session: up to 100x slower with
# more ranks than cores. MPIR_CVAR_ENABLE_HEAVY_YIELD=1 helps Hydra only: gforker gets 8 to 16x slower.
export MPIEXEC = $(CURDIR)/.venv/bin/mpiexec.gforker
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo emulate test test-jax test-openmpi test-oldest test-mpi4py lint bench results best optimal collectives docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: SOME = --sizes 32B:1MiB:x32 --algorithm swing --algorithm bucket --algorithm auto
demo: .venv/.stamp  ## a tour in two minutes: schedule, report, sweep, plots, real runs
	@mkdir -p demo
	.venv/bin/python -m swing show --topology torus:4x4 --ports 1
	.venv/bin/python -m netsim report --topology torus:8x8 --out demo/report.html
	@echo "Open demo/report.html in a browser; the rest of the tour goes on meanwhile."
	.venv/bin/python -m netsim sweep --topology torus:8x8 --sizes 32B:128MiB:x4 --csv demo/sweep.csv
	.venv/bin/python -m netsim plot demo/sweep.csv --out demo
	.venv/bin/python -m netsim plot demo/sweep.csv --kind ratio --out demo
	for name in swing recursive_doubling; do \
	    .venv/bin/python -m netsim simulate --topology torus:8x8 --algorithm $$name --ports 1 \
	        --step 2 --links demo/links-$$name.csv && \
	    .venv/bin/python -m netsim plot demo/links-$$name.csv --out demo || exit; \
	done
	$(MPIEXEC) -n 4 .venv/bin/python -m mpi_bench --topology torus:2x2 $(SOME)
	$(MPIEXEC) -n 8 .venv/bin/python -m mpi_bench --topology torus:2x4 $(SOME)
	@echo "See demo/: report.html, and the plots of the sweep and of the links."

test: .venv/.stamp  ## every test, MPI ranks under MPICH
	.venv/bin/python -m pytest

test-mpi4py: .venv/.stamp .venv-openmpi/.stamp  ## mpi4py's own tests on swing.Comm, both MPIs (fetches them)
	for place in .venv .venv-openmpi; do \
	    $$place/bin/python tests/mpi4py_suite.py || [ $$? = 3 ] || exit 1; \
	done

test-jax: .venv-jax/.stamp  ## collectives in JAX, on virtual devices of the CPU
	.venv-jax/bin/python -m pytest tests/with_jax swing/integrations mpi_bench/jax.py

# As root, or with more ranks than cores, Open MPI refuses to start without these variables.
test-openmpi: export MPIEXEC = $(CURDIR)/.venv-openmpi/bin/mpiexec
test-openmpi: export OMPI_ALLOW_RUN_AS_ROOT = 1
test-openmpi: export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
test-openmpi: export PRTE_MCA_rmaps_default_mapping_policy = :oversubscribe
test-openmpi: .venv-openmpi/.stamp  ## the MPI tests under Open MPI
	.venv-openmpi/bin/python -m pytest tests/test_under_mpi.py tests/test_format_peers.py -k 'ranks or open_mpi'

# Wheels of the oldest versions exist up to Python 3.13. Newer packages that these need may find
# them deprecated, which no change here could mend.
test-oldest: export MPIEXEC = $(CURDIR)/.venv-oldest/bin/mpiexec.gforker
test-oldest:  ## the command lines, each model and two ranks on the oldest versions allowed
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 14))'; then \
	    echo "$(PYTHON) is newer than the oldest versions of the dependencies: nothing is tested"; \
	else \
	    $(MAKE) .venv-oldest/.stamp && \
	    .venv-oldest/bin/python -m pytest -W ignore::DeprecationWarning \
	        tests/test_command_lines.py tests/test_golden.py tests/test_plot.py \
	        tests/test_mpi_bench.py::test_rows_are_json_and_csv_and_right; \
	fi

lint: .venv/.stamp  ## ruff and mypy
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

bench: .venv/.stamp  ## time build, verify, simulate, execute
	.venv/bin/python -m pytest --benchmark-only

results: .venv/.stamp  ## every figure and table of results/
	.venv/bin/python results/make.py

best: .venv/.stamp  ## the shipped tables of allreduces, and results/BEST.md
	.venv/bin/python results/best.py

optimal: .venv-optimal/.stamp  ## results/OPTIMAL.md: the fewest steps and rounds on small tori
	.venv-optimal/bin/python results/optimal.py

collectives: .venv/.stamp  ## results/COLLECTIVES.md, its figures and the pictures in docs/
	.venv/bin/python results/collectives.py

docs: .venv-docs/.stamp  ## the site, into docs/_build
	.venv-docs/bin/sphinx-build -W --keep-going -q docs docs/_build

emulate: .venv/.stamp  ## measure an emulated torus for results/emulated/ (Linux, root, iproute2)
	.venv/bin/python results/emulated/make.py

clean:  ## remove the environments, demo/ and caches
	rm -rf .venv .venv-jax .venv-openmpi .venv-oldest .venv-docs .venv-optimal docs/_build demo .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find swing netsim mpi_bench tests results -name __pycache__ -prune -exec rm -rf {} +

.venv/.stamp: wanted = -e '.[mpi,plot]' --group dev
.venv-jax/.stamp: wanted = -e '.[jax,mpi]' --group test
.venv-openmpi/.stamp: wanted = -e '.[openmpi,plot]' --group test
.venv-oldest/.stamp: wanted = -e '.[mpi,plot]' --group test
.venv-docs/.stamp: wanted = -e '.[mpi,plot]' --group docs
.venv-optimal/.stamp: wanted = -e '.[optimal]' --group test
.venv/.stamp .venv-jax/.stamp .venv-openmpi/.stamp .venv-docs/.stamp .venv-optimal/.stamp: \
    constraints = constraints.txt
.venv-oldest/.stamp: constraints = $*/oldest.txt

# Environments are made from nothing, so that no version outlives its pin, and removed on failure.
# Debian keeps ensurepip in a package of its own, so that venv can be there and still make no pip.
.venv/.stamp .venv-jax/.stamp .venv-openmpi/.stamp .venv-oldest/.stamp .venv-docs/.stamp \
    .venv-optimal/.stamp: %/.stamp: \
    pyproject.toml constraints.txt
	@set -e; \
	fail() { echo "make: $$1" >&2; exit 1; }; \
	has() { $(PYTHON) -c "import $$1" 2>/dev/null; }; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    fail "$(PYTHON) is not a Python >= 3.11; name one: make PYTHON=python3.12"; \
	rm -rf $*; trap 'rm -rf $*' EXIT; \
	if has ensurepip; then $(PYTHON) -m venv $*; \
	elif has virtualenv; then $(PYTHON) -m virtualenv -q $*; \
	elif has pip; then $(PYTHON) -m venv --without-pip $*; \
	    $(PYTHON) -m pip --python $*/bin/python install -q -c constraints.txt pip; \
	else fail "$(PYTHON) can make no environment: apt-get install python3-venv, then again"; fi; \
	echo "Installing the pinned packages into $* (about half a minute) ..."; \
	$*/bin/python -m pip install -q -c constraints.txt pip; \
	$*/bin/python tests/oldest.py >$*/oldest.txt; \
	$*/bin/python -m pip install -q -c $(constraints) --build-constraint $(constraints) $(wanted); \
	touch $@; trap - EXIT
