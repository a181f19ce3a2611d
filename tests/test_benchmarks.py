"""``make bench``: how long it takes to build, verify, simulate and execute schedules."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

import netsim
import swing
from mpi_bench.launcher import command

PLACES = ["8x8", "64x64", "128x128"]


@pytest.mark.parametrize("dims", PLACES)
@pytest.mark.parametrize("name", ["swing", "recursive_doubling", "bucket"])
@pytest.mark.benchmark(group="build")
def test_build_every_message(benchmark, name, dims):
    torus = swing.Torus.parse(dims)
    nsteps = 20  # of bucket's hundreds; all of the others'

    def build():
        schedule = swing.schedule(name, torus, collective="reduce_scatter")
        return sum(len(schedule[s]) for s in range(min(nsteps, schedule.nsteps)))

    assert benchmark(build) > 0


@pytest.mark.parametrize("dims", ["8x8", "6x10", "32x32"])
@pytest.mark.parametrize("variant", ["bandwidth", "latency"])
@pytest.mark.benchmark(group="verify")
def test_verify(benchmark, variant, dims):
    schedule = swing.schedule("swing", swing.Torus.parse(dims), variant=variant)
    assert benchmark(swing.verify, schedule).same_bits


@pytest.mark.parametrize("nbytes", [32, 2**21, 2**26])
@pytest.mark.parametrize("dims", ["64x64", "16x16x16"])
@pytest.mark.parametrize("name", ["swing", "ring", "hamiltonian", "bucket", "auto"])
@pytest.mark.benchmark(group="plan")
def test_plan_of_one_rank(benchmark, name, dims, nbytes):
    pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
    from swing.executor.plan.order import rank_order
    from swing.executor.plan.plan import compile_plan

    torus, given = swing.Torus.parse(dims), {"nbytes": nbytes} if name == "auto" else {}

    def first_call():
        made = swing.schedule(name, torus, **given)
        return compile_plan(rank_order(made, 0), nbytes // 4, in_place=False, piece=2**16)

    assert len(benchmark(first_call).code)


@pytest.mark.parametrize("dims", [*PLACES, "64x128x128"])
@pytest.mark.parametrize("name", ["swing", "bucket"])
@pytest.mark.benchmark(group="simulate")
def test_simulate_analytic(benchmark, name, dims):
    network = netsim.paper_network(f"torus:{dims}")

    def point():
        schedule = swing.schedule(name, network.topology.torus)
        return netsim.simulate(schedule, network, 2**21)

    assert benchmark(point).seconds > 0


@pytest.mark.parametrize(("model", "dims", "ports"), [
    ("flow", "32x32", 4), ("flow", "64x64", 4), ("packet", "32x32", 1), ("packet", "64x64", 1),
])  # fmt: skip
@pytest.mark.benchmark(group="simulate")
def test_simulate_every_message(benchmark, model, dims, ports):
    network = netsim.paper_network(f"torus:{dims}")
    schedule = swing.schedule("swing", network.topology.torus, ports=ports)
    netsim.simulate(schedule, network, 2**10, model)  # compiles, once a machine
    run = benchmark.pedantic(netsim.simulate, (schedule, network, 2**21, model), rounds=3)
    hops = run.link_bytes.sum() / network.packet_bytes
    benchmark.extra_info |= {
        "packet_hops_per_second": hops / benchmark.stats["mean"],
        "peak_bytes_per_rank": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * 1024 / schedule.torus.size,
    }  # fmt: skip


@pytest.mark.parametrize("size", ["32B", "64KiB", "4MiB"])
@pytest.mark.benchmark(group="execute")
def test_execute_on_2_ranks(benchmark, size):
    words = ["--topology", "torus:2", "--algorithm", "auto", "--sizes", size, "--json"]
    argv, env = command(2, [sys.executable, "-m", "mpi_bench", *words])

    def run():
        done = subprocess.run(argv, env=os.environ | env, capture_output=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    rows = benchmark.pedantic(run, rounds=1)
    assert all(row["wrong"] == 0 for row in rows)
    benchmark.extra_info |= {row["algorithm"]: row["time_us_median"] for row in rows}
