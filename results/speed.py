"""``python results/speed.py [case …]``: time the simulator, and SimGrid in the same run.

Every case runs in a process of its own. It first simulates 1 KiB, so that compiled code is loaded,
and then times building and simulating the schedule together. Without names, all cases run. Rows go
to data/speed.csv, which keeps those of other cases; SPEED.md is written from all of them.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from netsim import Network, paper_network, simulate, topology  # noqa: E402  needs the path above
from netsim.rows import ResultRow, read_csv, write_csv  # noqa: E402
from swing import Torus, schedule  # noqa: E402

OUT = HERE / "data" / "speed.csv"
NBYTES = 2**21
ROUNDS = 3
CASES = {
    f"packet-{size}{'' if fold else '-all'}": ("packet", "64x64", 1, size, fold)
    for size in (2048, 8192)
    for fold in (True, False)
} | {
    f"flow-{d}{'' if fold else '-all'}": ("flow", f"{d}x{d}", 4, 8192, fold)
    for d in (32, 64)
    for fold in (True, False)
} | {
    "analytic-64": ("analytic", "64x64", 4, 8192, True),
    "analytic-million": ("analytic", "64x128x128", 6, 8192, True),
}  # fmt: skip
PEERS = {"simgrid-32": 32, "simgrid-64": 64}
PLATFORM = """<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="torus" prefix="n" suffix="" radical="0-{last}" speed="1Gf" bw="50GBps" lat="100ns"
           topology="TORUS" topo_parameters="{d},{d}" sharing_policy="SPLITDUPLEX"/>
</platform>
"""
OPTIONS = ["network/model:CM02", "network/crosstraffic:0", "network/TCP-gamma:1e30",
           "surf/precision:1e-15", "contexts/stack-size:64"]  # fmt: skip
RECORDED = {"packet-2048": (283.0, 2190), "packet-2048-all": (283.0, 2190)}
TEXT = """# Speed

Written by `python results/speed.py`; the rows are in `data/speed.csv`. All cases simulate Swing,
bandwidth-optimal, with 2 MiB. The wall time is that of building and simulating a schedule, the
median of {rounds}, in a process of its own that has loaded its compiled code. Memory is the peak of
that process, including Python and all libraries. By default, equivalent nodes are simulated once
(`netsim.traffic.symmetry`); "every node" turns this off.

{table}

- SST (merlin and ember, 2 KiB packets) took 283 s of processor time and 2,190 MiB for the case of
  the first two rows. This was recorded earlier on two cores and not measured again here. With the
  same packet size, ours is: {sst}.
- SimGrid simulates the same messages with the same dependencies, on links of 50 GB/s and 100 ns
  and without other costs, in compiled C++ (`speed.cpp`) and in the same run. Ours is: {simgrid}.

{machine}
"""


def main(names: list[str]) -> None:
    """Run the named cases, keep the rows of the others and write SPEED.md."""
    for name in names:
        if name not in {**CASES, **PEERS}:
            sys.exit(f"no case {name!r}: choose from {', '.join({**CASES, **PEERS})}")
    by_case = {r["case"]: r for r in read_csv(OUT, ())} if OUT.exists() else {}
    for name in names or [*CASES, *PEERS]:
        figures = peer(PEERS[name]) if name in PEERS else measured(name)
        if figures:
            by_case[name] = {"case": name, **figures}
            print(by_case[name], flush=True)
    rows = [by_case[name] for name in [*CASES, *PEERS] if name in by_case]
    write_csv(OUT, rows)
    (HERE / "SPEED.md").write_text(page(rows))


def measured(name: str) -> ResultRow:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: ResultRow = json.loads(done.stdout)
    return figures


def one(name: str) -> ResultRow:
    """Build and simulate one case in this process; seconds are wall seconds."""
    model, dims, ports, size, fold = CASES[name]
    network = replace(paper_network(f"torus:{dims}"), packet_bytes=size)
    if model == "flow":  # the network of the SimGrid case; Swing has no ties on it
        network = Network(topology(f"torus:{dims}"), 50e9, 1e-7)
    seconds = []
    for nbytes in [2**10] + [NBYTES] * ROUNDS:
        begin = time.perf_counter()
        plan = schedule("swing", Torus.parse(dims), ports=ports, variant="bandwidth")
        run = simulate(plan, network, nbytes, model, fold=fold)
        seconds.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return row(statistics.median(seconds[1:]), peak, run.seconds)


def row(seconds: float, mib: float, simulated: float) -> ResultRow:
    """The columns of a case."""
    return {
        "seconds": f"{seconds:.3g}",
        "mib": f"{mib:.0f}",
        "simulated_us": f"{simulated * 1e6:.4f}",
    }


def peer(d: int) -> ResultRow | None:
    """Time SimGrid on d x d nodes; None if it is not installed."""
    if not shutil.which("g++") or not Path("/usr/include/simgrid/s4u.hpp").exists():
        print("no g++ or no libsimgrid-dev: SimGrid is left out", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        program, platform_file = f"{folder}/speed", Path(folder) / "torus.xml"
        build = ["g++", "-O2", "-std=c++17", str(HERE / "speed.cpp"), "-lsimgrid", "-o", program]
        subprocess.run(build, check=True)
        platform_file.write_text(PLATFORM.format(last=d * d - 1, d=d))
        sent, out = Path(folder) / "messages", Path(folder) / "out"
        sent.write_text("\n".join(messages(d)))
        command = [program, str(platform_file), *(f"--cfg={option}" for option in OPTIONS)]
        with open(sent) as stdin, open(out, "w") as stdout:
            begin = time.perf_counter()
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout)
            _, status, used = os.wait4(process.pid, 0)  # the peak memory of this child alone
            seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return row(seconds, used.ru_maxrss / 1024, float(out.read_text()))


def messages(d: int) -> Iterator[str]:
    """Swing's messages as speed.cpp reads them; in SimGrid the first dimension varies fastest."""
    plan = schedule("swing", Torus((d, d)), ports=4, variant="bandwidth")
    for s, step in enumerate(plan):
        size = (plan.share(step) * NBYTES).round().astype(int)
        src, dst = (x % d * d + x // d for x in (step.src, step.dst))
        for line in zip(src.tolist(), dst.tolist(), size.tolist(), strict=True):
            yield f"{s} {line[0]} {line[1]} {line[2]}"


def page(rows: list[ResultRow]) -> str:
    """The text of SPEED.md."""
    table = "| case | wall s | MiB | simulated us |\n|---|---|---|---|\n"
    for r in rows:
        table += f"| {title(r['case'])} | {r['seconds']} | {r['mib']} | {r['simulated_us']} |\n"
    wall = {r["case"]: float(r["seconds"]) for r in rows}
    mib = {r["case"]: float(r["mib"]) for r in rows}
    sst = [
        f"{label} {seconds / wall[name]:.0f} times as fast, 1/{peak / mib[name]:.0f} of the memory"
        for (name, (seconds, peak)), label in zip(
            RECORDED.items(), ("with symmetry", "every node"), strict=True
        )
        if name in wall
    ]  # fmt: skip
    simgrid = [
        f"{d}x{d} {label} {wall[f'simgrid-{d}'] / wall[name]:.1f} times as fast"
        for d in PEERS.values()
        for name, label in ((f"flow-{d}", "with symmetry"), (f"flow-{d}-all", "every node"))
        if {name, f"simgrid-{d}"} <= wall.keys()
    ]
    return TEXT.format(
        rounds=ROUNDS, table=table.strip(), sst="; ".join(sst) or "not measured",
        simgrid="; ".join(simgrid) or "not installed", machine=machine(),
    )  # fmt: skip


def title(case: str) -> str:
    """The name of a case in SPEED.md."""
    if case in PEERS:
        return f"SimGrid, {PEERS[case]}x{PEERS[case]}, 4 ports, dependencies"
    model, dims, ports, size, fold = CASES[case]
    words = f"{model}, {dims}, {ports} port{'s' * (ports > 1)}"
    if model == "packet":
        words += f", packets of {size} B"
    return words + ("" if fold else ", every node")


def machine() -> str:
    """The machine and the versions that the cases ran with."""
    name = next(
        (x.partition(":")[2].strip() for x in Path("/proc/cpuinfo").read_text().splitlines()
         if x.startswith("model name")), platform.machine(),
    )  # fmt: skip
    libraries = ", ".join(f"{lib} {version(lib)}" for lib in ("numpy", "numba"))
    return (
        f"{os.cpu_count()} cores, {name}; {platform.system()}; "
        f"Python {platform.python_version()}, {libraries}; SimGrid 3.32 of Debian."
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(sys.argv[2])))
    else:
        main(sys.argv[1:])
