"""The emulated torus: its wiring against netsim's routes, its link bytes, and nothing left behind.

What needs namespaces is skipped where they cannot be made, with the reason.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import numpy as np
import pytest

import netsim
import swing
from mpi_bench.emulate.calibrate import HEADERS, Calibration, payload, payload_rate
from mpi_bench.emulate.compare import agreement, shares
from mpi_bench.emulate.namespaces import FOLDER, EmulationError, emulated, leftovers, mtu
from mpi_bench.emulate.predict import predict
from mpi_bench.emulate.study import cases
from mpi_bench.emulate.wiring import address, check, ports, routes
from mpi_bench.launcher import command

COMMAND = [sys.executable, "-m", "mpi_bench.emulate"]
PLACES = [
    "torus:4x4", "torus:8x8", "torus:2x8", "torus:4x4x2", "torus:2x2", "torus:5x3", "torus:7",
    "torus:2x2x2x2x2", "mesh:4x4", "mesh:3x2", "mesh:4x4x4", "torus:1x6",
]  # fmt: skip


@cache
def why_not():
    """Why there can be no emulation here; empty if there can."""
    try:
        command(1, [])
        with emulated(netsim.topology("mesh:2"), 1e8):
            return ""
    except (ValueError, OSError) as error:
        return str(error)


@pytest.fixture
def _namespaces():
    if why_not():
        pytest.skip(why_not())


def found():
    return {path.name for path in FOLDER.glob("swing-*")} if FOLDER.exists() else set()


def emulate(*words, **more):
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, **more)


@pytest.mark.parametrize("name", PLACES)
def test_static_routes_are_netsims_routes(name):
    place = netsim.topology(name)
    wires = ports(place)
    tables = [
        sorted(((IPv4Network(r.prefix), r.device) for r in routes(place.torus, node)),
               key=lambda route: -route[0].prefixlen)
        for node in range(place.size)
    ]  # fmt: skip
    src, dst = np.divmod(np.arange(place.size**2), place.size)
    expected = place.routes(src, dst, "positive")
    for i, (a, b) in enumerate(zip(src.tolist(), dst.tolist(), strict=True)):
        target, at, links = IPv4Address(address(place.torus, b)), a, []
        while at != b:
            device = next(device for prefix, device in tables[at] if target in prefix)
            port = next(port for port in wires[at] if port.device == device)
            links.append(port.link)
            at = port.peer
        assert links == expected.links[expected.ptr[i] : expected.ptr[i + 1]].tolist()


@pytest.mark.parametrize("name", PLACES)
def test_every_link_is_a_device_and_every_cable_has_two_ends(name):
    place = netsim.topology(name)
    wires = ports(place)
    ends = {(node, p.device): (p.peer, p.peer_device) for node in range(place.size)
            for p in wires[node]}  # fmt: skip
    assert sorted(p.link for some in wires for p in some) == list(range(place.nlinks))
    assert len(ends) == place.nlinks
    assert all(ends[other] == here for here, other in ends.items())
    addresses = {address(place.torus, node) for node in range(place.size)}
    assert len(addresses) == place.size


@pytest.mark.parametrize("dims", [(9, 9), (1,), (65,)])
def test_too_many_nodes_are_refused(dims):
    with pytest.raises(ValueError, match="emulate 2 to 64 nodes"):
        check(swing.Torus(dims))


def plain(name, rate=1e8):
    """The network of a calibration that found no cost but the links'."""
    return Calibration(0, 0, 0, 0, 0, 4, 2, 1.0).network(netsim.topology(name), rate)


@pytest.mark.parametrize("name", ["torus:4x4", "mesh:2x3", "torus:4x4x2"])
@pytest.mark.parametrize("algorithm", ["swing", "recursive_doubling", "bucket"])
def test_a_prediction_is_between_the_busiest_link_and_netsims_time(name, algorithm):
    network = plain(name)
    schedule = swing.schedule(algorithm, network.topology.torus)
    n = 2**24
    lockstep = replace(schedule, phases=lambda s: s)
    most = netsim.simulate(lockstep, network, n, "packet").seconds
    least = netsim.simulate(schedule, network, n).link_bytes.max() / network.bandwidth
    assert 0.99 * least <= predict(schedule, network, n) <= 1.05 * most


@pytest.mark.parametrize("overhead", [1e-4, 8e-4])  # 2 * 8e-4 is more than the whole step takes
def test_a_prediction_counts_every_cost_of_a_step(overhead):
    torus = swing.Torus((4, 4))
    for given, steps in (({"ports": 1}, 12), ({}, 12)):
        schedule = swing.schedule("bucket", torus, **given)
        near = 1e-3
        found = Calibration(0, 0, near, near + 3 * overhead, 0, 4, 2, 1.0)
        network = found.network(netsim.topology("torus:4x4"), 1e9)
        step = near + (len(schedule.parts) - 1) * overhead
        assert predict(schedule, network, 64) == pytest.approx(steps * step, rel=0.01)


def test_headers_are_what_is_missing_from_the_rate():
    place = netsim.topology("torus:4x4")
    full = payload(place, 8e6)
    assert payload_rate(place, 8e6) == 1e6 * full / (full + 1.5 * HEADERS)
    assert 0.985 < payload_rate(place, 8.0) < 0.99  # packets of 9000 bytes


def test_packets_are_the_larger_the_more_there_would_be():
    place, large = netsim.topology("torus:4x4"), netsim.topology("torus:8x8")
    assert [mtu(place, rate * 1e6) for rate in (1, 25, 1000)] == [9000, 16000, 32000]
    assert mtu(large, 6.25e6) == mtu(place, 25e6)


def test_points_are_bound_by_links_if_their_time_follows_the_rate():
    row = {"topology": "torus:4x4", "algorithm": "swing", "variant": "", "predicted": 1}
    rows = [
        row | {"ports": 1, "nbytes": n, "rate_mbps": rate, "seconds": cost + 10 / rate, "ratio": 1}
        for n, cost in ((4, 5.0), (2**20, 0.1), (2**22, -0.1))
        for rate in (1, 2, 4)
    ]
    assert max(shares(rows).values()) <= 1
    groups = {(g["rate_mbps"], g["bound"]): g["points"] for g in agreement(rows)}
    assert groups == {
        (r, bound): k for r in (1.0, 2.0, 4.0) for bound, k in (("links", 2), ("cores", 1))
    }


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["--topology", "torus:9x9"], "emulate 2 to 64 nodes, not 81"),
        (["--rate", "0"], "--rate goes from 1 to 1000 Mbit/s"),
        (["--sizes", "3"], "--sizes are whole float32 numbers"),
        (["--sizes", "1GiB"], "up to 64 MiB"),
        (["--algorithm", "none"], "choose from"),
        (["--native", "smp"], "is not one of"),
        (["--csv", "/nowhere/rows.csv"], "cannot write"),
        (["compare", "/nowhere/rows.csv"], "No such file"),
    ],
)
def test_bad_input_is_one_line(words, remedy):
    done = emulate(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_missing_is_named(monkeypatch):
    done = emulate(env={"PATH": "/nowhere"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "apt-get install iproute2" in done.stderr
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(EmulationError, match="only root"), emulated(None, 1e8):
        pass


@pytest.mark.usefixtures("_namespaces")
@pytest.mark.parametrize(
    ("name", "names"), [("torus:2x2", ["swing"]), ("torus:3x3", ["swing", "ring", "auto"])]
)
def test_every_link_carries_what_netsim_says(name, names):
    before = found()
    words = ["--rate", "200", "--sizes", "1MiB", "--most", "1", "--native", "none", "--json"]
    done = emulate("--topology", name, *words, *(f"--algorithm={n}" for n in names), timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {r["algorithm"] for r in rows} == set(names)
    assert [r["wrong"] for r in rows] == [0] * len(rows)
    for r in rows:
        if r["algorithm"] != "auto":
            assert 1 <= r["links_least"] <= r["links_most"] <= 1.03
            assert r["idle_bytes"] <= 0.03 * r["nbytes"]
    assert found() == before


@pytest.mark.usefixtures("_namespaces")
def test_two_runs_do_not_meet():
    code = (
        "import netsim, sys; from mpi_bench.emulate.namespaces import emulated\n"
        "with emulated(netsim.topology('torus:3'), 1e8): print(1, flush=True); sys.stdin.read()"
    )
    start = [sys.executable, "-c", code]
    runs = [subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in "ab"]
    for run in runs:
        assert run.stdout.readline() == b"1\n"
    names = [{name for name in found() if name.startswith(f"swing-{run.pid}-")} for run in runs]
    assert [len(some) for some in names] == [3, 3]
    assert not {f"swing-{run.pid}" for run in runs} & set(leftovers())
    for run in runs:
        run.communicate()
        assert not [name for name in found() if name.startswith(f"swing-{run.pid}-")]


def interrupted(number, after):
    """Interrupt a run so many seconds after its start; what it has left, before and after."""
    words = ["--topology", "torus:2x2", "--sizes", "64KiB", "--native", "none"]
    memory = set(os.listdir("/dev/shm"))
    # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen([*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    time.sleep(after)
    spaces = {path.stat().st_ino for path in FOLDER.glob(f"swing-{run.pid}-*")}
    run.send_signal(number)
    run.communicate(timeout=60)
    assert run.returncode != 0
    left = {name for name in found() if name.startswith(f"swing-{run.pid}-")}
    if number == signal.SIGKILL:
        done = emulate("--cleanup")
        assert done.returncode == 0
        assert bool(left) == (f"of swing-{run.pid}\n" in done.stdout)
    else:
        assert not left
    assert not [name for name in found() if name.startswith(f"swing-{run.pid}-")]
    words = f"swing-{run.pid}"
    for _ in range(100):
        if not alive(words, spaces):
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"processes of {words} are alive")
    left = set(os.listdir("/dev/shm")) - memory
    assert not left - mapped()  # what is mapped is another job's: none of this one is alive


def mapped():
    """The files in shared memory that some process uses."""
    names = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            names |= set(re.findall(r" /dev/shm/(\S+)$", maps.read_text(), re.MULTILINE))
    return names


def alive(word, spaces):
    """Whether a process has a word on its command line, or is in one of some namespaces."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if word.encode() in line.read().split(b"\0"):
                    return True
            if os.stat(f"/proc/{pid}/ns/net").st_ino in spaces:
                return True
        except OSError:
            continue
    return False


@pytest.mark.usefixtures("_namespaces")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_behind(number):
    interrupted(number, 1.5)


@pytest.mark.nightly
@pytest.mark.usefixtures("_namespaces")
def test_fifty_runs_leave_nothing_behind():
    before, devices = found(), os.listdir("/sys/class/net")
    for _ in range(40):
        with emulated(netsim.topology("torus:4x4"), 1e8):
            assert len(found() - before) == 16
    kinds = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    rng = random.Random(0)
    for k in range(10):
        interrupted(kinds[k % 3], rng.uniform(0.5, 5))
    assert (found(), os.listdir("/sys/class/net")) == (before, devices)


def test_an_algorithm_with_options_is_one_case():
    torus = swing.Torus((2, 2))
    (case,) = cases(["bucket,segments=2"], torus)
    assert case.schedule(torus).nsteps == swing.schedule("bucket", torus, segments=2).nsteps
    assert (case.algorithm, case.variant, case.word) == (case.word, "", "bucket,segments=2")
    with pytest.raises(ValueError, match="no option 'speed'"):
        cases(["bucket,speed=2"], torus)
