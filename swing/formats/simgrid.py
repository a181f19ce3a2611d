"""The torus of a schedule for SimGrid: a platform file, and a host file that places the ranks.

    smpirun -replay LIST -np P -platform torus.xml -hostfile hosts

replays a trace of `swing.formats.smpi`. Every pair of neighbours has a link each way. SimGrid
counts the first dimension fastest, so the dimensions are in reverse. Without a host file its
hosts come in alphabetical order, and ranks sit where nobody expects them.

Its default network model adds factors of TCP and MPI. For plain sharing, as `netsim` has it, set

    --cfg=network/model:CM02 --cfg=network/crosstraffic:0 --cfg=network/TCP-gamma:1e30
    --cfg=smpi/async-small-thresh:0 --cfg=smpi/send-is-detached-thresh:0

Loses: everything but the dimensions and the ranks' places. SimGrid's tori all wrap around.
"""

from __future__ import annotations

from collections.abc import Iterator

from swing.torus import Torus


def platform(torus: Torus) -> Iterator[str]:
    """The platform.

    Args:
        torus: all dimensions wrap around.

    Raises:
        ValueError: a dimension without wraparound.
    """
    if not all(torus.wrap):
        raise ValueError(f"SimGrid has no torus without wraparound: {torus.name}")
    dims = ",".join(str(d) for d in reversed(torus.dims))
    yield f"""<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="torus" prefix="n" suffix="" radical="0-{torus.size - 1}" speed="1Gf"
           bw="50000000000Bps" lat="1e-07s"
           topology="TORUS" topo_parameters="{dims}" sharing_policy="SPLITDUPLEX"/>
</platform>
"""


def hosts(torus: Torus) -> Iterator[str]:
    """The host of every rank, a line each."""
    yield "".join(f"n{node}\n" for node in torus.node_of.tolist())
