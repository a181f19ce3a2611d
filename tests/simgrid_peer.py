"""Run messages on a torus in SimGrid: ``python simgrid_peer.py 8x8 < messages.csv``.

Input: lines ``step,src,dst,bytes``. A rank starts its next step when its own messages have
arrived. Prints the simulated seconds. Needs Debian's python3-simgrid, and nothing of ours.
"""

import sys
import tempfile
from collections import defaultdict

PLATFORM = """<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="torus" prefix="n" suffix="" radical="0-{last}" speed="1Gf" bw="50GBps" lat="100ns"
           topology="TORUS" topo_parameters="{dims}" sharing_policy="SPLITDUPLEX"/>
</platform>
"""
OPTIONS = ["network/model:CM02", "network/crosstraffic:0", "network/TCP-gamma:1e30",
           "surf/precision:1e-15", "contexts/factory:thread"]  # fmt: skip


def rank(number, steps):
    """One rank's messages, step after step."""
    import simgrid  # not there for pytest, which imports this file

    for step, messages in sorted(steps.items()):
        waiting, kept = [], []
        for i, src, _, nbytes in messages:
            box = simgrid.Mailbox.by_name(f"{step}-{i}")
            if src == number:
                waiting.append(box.put_async("message", nbytes))
            else:
                comm, data = box.get_async()
                waiting.append(comm)
                kept.append(data)
        for comm in waiting:
            comm.wait()


def main():
    """Read, simulate, print."""
    import simgrid

    dims = [int(d) for d in sys.argv[1].split("x")]
    programs = defaultdict(lambda: defaultdict(list))
    for i, line in enumerate(sys.stdin):
        step, src, dst, nbytes = map(int, line.split(","))
        for end in (src, dst):
            programs[end][step].append((i, src, dst, nbytes))
    size = 1
    for d in dims:
        size *= d
    engine = simgrid.Engine(["peer", *(f"--cfg={option}" for option in OPTIONS)])
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(PLATFORM.format(last=size - 1, dims=",".join(map(str, dims))))
        file.flush()
        engine.load_platform(file.name)
    for number, steps in programs.items():
        host = simgrid.Host.by_name(f"n{number}")
        simgrid.Actor.create(f"rank{number}", host, rank, number, steps)
    engine.run()
    print(simgrid.Engine.clock if not callable(simgrid.Engine.clock) else engine.clock())


if __name__ == "__main__":
    main()
