"""The torus of a schedule for SimGrid: a platform file, and a host file that places the ranks.

    smpirun -replay LIST -np P -platform torus.xml -hostfile hosts

replays a trace of `swing.formats.smpi`. Each pair of neighbours has one link per direction. In
SimGrid the first dimension varies fastest, so the dimensions are reversed. The host file is
needed: without it SimGrid assigns ranks to hosts in alphabetical order (n0, n1, n10, …).

SimGrid's default network model applies correction factors for TCP and MPI. For plain bandwidth
sharing as in `netsim`, set

    --cfg=network/model:CM02 --cfg=network/crosstraffic:0 --cfg=network/TCP-gamma:1e30
    --cfg=smpi/async-small-thresh:0 --cfg=smpi/send-is-detached-thresh:0

Loses: everything except the dimensions and the placement of ranks. SimGrid has no torus without
wraparound, so such dimensions are refused. The link speed and latency are fixed defaults.
"""

from __future__ import annotations

from collections.abc import Iterator

from swing.torus import Torus


def platform(torus: Torus) -> Iterator[str]:
    """Yield the platform file.

    Args:
        torus: a torus with wraparound in every dimension.

    Raises:
        ValueError: a dimension does not wrap around.
    """
    if not all(torus.wrap):
        raise ValueError(f"SimGrid has no torus without wraparound: {torus.name}")
    dims = ",".join(str(d) for d in reversed(torus.dims))
    # SPLITDUPLEX gives each direction of a cable its own bandwidth.
    yield f"""<?xml version='1.0'?>
<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">
<platform version="4.1">
  <cluster id="torus" prefix="n" suffix="" radical="0-{torus.size - 1}" speed="1Gf"
           bw="50000000000Bps" lat="1e-07s"
           topology="TORUS" topo_parameters="{dims}" sharing_policy="SPLITDUPLEX"/>
</platform>
"""


def hosts(torus: Torus) -> Iterator[str]:
    """Yield the host file: the host of each rank, one per line."""
    yield "".join(f"n{node}\n" for node in torus.node_of.tolist())
