"""Other people's programs take the files that we write, where they are installed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

import netsim
import swing
from mpi_bench.launcher import command
from swing.formats import chakra, mpich, openmpi, smpi, write
from swing.formats.rules import Rule, chosen

DIMS = [(8,), (16,), (4, 4), (6, 10)]
WAYS = {
    "swing": ("swing", {}),
    "bucket": ("bucket", {}),
    "hybrid": ("swing", {"variant": "hybrid", "k": 2}),
}
PLAIN = (
    "network/model:CM02", "network/crosstraffic:0", "network/TCP-gamma:1e30",
    "surf/precision:1e-15", "smpi/async-small-thresh:0", "smpi/send-is-detached-thresh:0",
    "smpi/host-speed:1e9", "smpi/display-timing:yes",
)  # fmt: skip
ENVELOPE = 16  # bytes that SMPI adds to a message


def replayed(schedule, nbytes, folder):
    """Replay a schedule's trace in SMPI.

    Returns:
        Its simulated seconds, SimGrid's network as ours, and the trace with the bytes that it sent.
    """
    if not shutil.which("smpirun"):
        pytest.skip("SMPI is not installed: apt-get install libsimgrid-dev")
    for format in ("smpi", "simgrid-platform", "simgrid-hosts"):
        write(schedule, folder / format, format, nbytes)
    (folder / "list").write_text(f"{folder / 'smpi'}\n")
    done = subprocess.run(
        ["smpirun", "-replay", "list", "-np", str(schedule.torus.size),
         "-platform", "simgrid-platform", "-hostfile", "simgrid-hosts",
         *(f"--cfg={option}" for option in PLAIN)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    seconds = float(re.search(r"Simulated time: (\S+) seconds", done.stdout + done.stderr)[1])
    network = netsim.Network(netsim.topology(schedule.torus.name), 50e9, 1e-7, ties="simgrid")
    trace = smpi.read(in_envelopes((folder / "smpi").read_text()).encode())
    # SimGrid's ranks wait for all parts in every step.
    return seconds, network, replace(trace, phases=lambda s: s)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dims", DIMS, ids=lambda d: "x".join(map(str, d)))
def test_simgrid_replays_the_trace_in_the_time_of_our_flow_model(dims, way, tmp_path):
    name, options = WAYS[way]
    schedule = swing.schedule(name, swing.Torus(dims), **options)
    nbytes = schedule.nblocks * 2**12
    seconds, network, trace = replayed(schedule, nbytes, tmp_path)
    run = netsim.simulate(trace, network, nbytes, "flow", sync="rank")
    # SimGrid shares a link by latency, which shows where messages of several steps meet.
    tolerance = 0.02 if way == "hybrid" and dims == (6, 10) else 1e-5
    assert seconds == pytest.approx(run.seconds, rel=tolerance)


def test_simgrid_replays_segments_of_unequal_shares_in_the_time_of_our_flow_model(tmp_path):
    # What `auto` runs on 12x5 at 8 MiB: 960 blocks of eight sizes in 16 parts, no whole bytes.
    schedule = swing.schedule("bucket", swing.Torus((12, 5)), segments=4)
    seconds, network, trace = replayed(schedule, 2**23, tmp_path)
    run = netsim.simulate(trace, network, 2**23, "flow", sync="rank")
    assert seconds == pytest.approx(run.seconds, rel=1e-5)
    # Whole bytes and 16 bytes of envelope a message: together 4e-4 of the time.
    run = netsim.simulate(schedule, network, 2**23, "flow", sync="rank", parts="steps")
    assert seconds == pytest.approx(run.seconds, rel=5e-4)


def in_envelopes(trace):
    """The trace with the bytes that are really sent."""
    return re.sub(
        r"(i(?:send|recv) \d+ \d+) (\d+)", lambda m: f"{m[1]} {int(m[2]) + ENVELOPE}", trace
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dims", DIMS, ids=lambda d: "x".join(map(str, d)))
def test_chakras_own_schema_decodes_the_trace(dims, way):
    schema = pytest.importorskip("chakra.schema.protobuf.et_def_pb2", reason="no mlc-chakra")
    from chakra.src.third_party.utils.protolib import decodeMessage

    name, options = WAYS[way]
    schedule = swing.schedule(name, swing.Torus(dims), **options)
    files = list(chakra.write(schedule, schedule.nblocks * 64))
    sends = 0
    for rank, data in enumerate(files):
        from io import BytesIO

        file, head, node = BytesIO(data), schema.GlobalMetadata(), schema.Node()
        assert decodeMessage(file, head)
        assert head.version == "0.0.4"
        while decodeMessage(file, node):
            found = {a.name: getattr(a, a.WhichOneof("value")) for a in node.attr}
            send = node.type == schema.COMM_SEND_NODE
            assert found["comm_src" if send else "comm_dst"] == rank
            assert found["comm_size"] % 64 == 0
            sends += send
        assert file.read() == b""
    assert sends == sum(len(step) for step in schedule)


PROGRAM = """
import hashlib, numpy as np
from mpi4py import MPI
comm = MPI.COMM_WORLD
random = np.random.default_rng(comm.rank)
mine = (random.normal(size=4096) * 10.0 ** random.integers(-4, 4, 4096)).astype(np.float32)
total = np.empty_like(mine)
comm.Allreduce(mine, total)
comm.Barrier()
comm.Bcast(total)
if comm.rank == 0:
    print(hashlib.sha256(total).hexdigest())
"""


def libmpi(name="MPICH", version=12):
    pytest.importorskip("mpi4py")
    found = Path(sysconfig.get_path("data"), "lib", f"libmpi.so.{version}")
    if not found.exists():
        pytest.skip(f"{name} is not installed in this environment")
    return found


def under_mpi(tmp_path, ranks=4, program=PROGRAM, **variables):
    (tmp_path / "program.py").write_text(program)
    argv, env = command(ranks, [sys.executable, str(tmp_path / "program.py")])
    return subprocess.run(
        argv, env=os.environ | env | variables, capture_output=True, text=True, timeout=100
    )


def test_mpich_obeys_the_table(tmp_path):
    base = libmpi().read_bytes()
    bits = {}
    for algorithm in ("ring", "recursive_doubling"):
        table = tmp_path / f"{algorithm}.json"
        table.write_text("".join(mpich.write([Rule(0, algorithm)], 4, base)))
        by_table = under_mpi(tmp_path, MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE=str(table))
        assert by_table.returncode == 0, by_table.stderr
        bits[algorithm] = by_table.stdout
    forced = under_mpi(tmp_path, MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM="ring")
    assert len(forced.stdout.strip()) == len(hashlib.sha256().hexdigest())
    assert bits["ring"] == forced.stdout
    assert bits["ring"] != bits["recursive_doubling"]  # they add in different orders


def test_mpich_reads_the_table_and_refuses_a_key_it_does_not_know(tmp_path):
    table = json.loads("".join(mpich.write([Rule(0, "ring")], 4, libmpi().read_bytes())))
    table["collective=allreduce"]["comm_type=intra"] = {"weather=fine": {}}
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    done = under_mpi(tmp_path, MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE=str(path))
    assert done.returncode != 0
    assert "unknown key weather=fine" in done.stderr + done.stdout


@pytest.mark.parametrize("dims", DIMS, ids=lambda d: "x".join(map(str, d)))
def test_mpich_starts_with_the_table_of_a_torus(dims, tmp_path):
    torus, table = swing.Torus(dims), tmp_path / "table.json"
    table.write_text("".join(mpich.write(chosen(torus), torus.size, libmpi().read_bytes())))
    done = under_mpi(
        tmp_path, 1, "from mpi4py import MPI\nprint(MPI.COMM_WORLD.allreduce(1))",
        MPIR_CVAR_COLL_SELECTION_TUNING_JSON_FILE=str(table),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_open_mpi_obeys_the_rules(tmp_path):
    libmpi("Open MPI", 40)
    bits = {}
    for algorithm in ("ring", "recursive_doubling"):
        rules = tmp_path / algorithm
        rules.write_text("".join(openmpi.write([Rule(0, algorithm)], 4)))
        number = str(openmpi.ALGORITHMS.index(algorithm))
        ways = [
            {"OMPI_MCA_coll_tuned_dynamic_rules_filename": str(rules)},
            {"OMPI_MCA_coll_tuned_allreduce_algorithm": number},
        ]
        by_rules, forced = (
            under_mpi(tmp_path, OMPI_MCA_coll_tuned_use_dynamic_rules="1", **way) for way in ways
        )
        assert by_rules.returncode == forced.returncode == 0, by_rules.stderr + forced.stderr
        assert len(by_rules.stdout.strip()) == len(hashlib.sha256().hexdigest())
        assert by_rules.stdout == forced.stdout
        bits[algorithm] = by_rules.stdout
    assert bits["ring"] != bits["recursive_doubling"]
