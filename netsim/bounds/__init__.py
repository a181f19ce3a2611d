"""Lower bounds on the time of a collective on a network, whatever the algorithm."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from netsim.bounds.cuts import Cuts
from netsim.bounds.demand import Demand, demand_of, named_demand
from netsim.bounds.grid_cuts import across_dimensions
from netsim.bounds.links import DirectedLinks
from netsim.bounds.rank_cuts import around_ranks, sole_starts
from netsim.checks import check_size
from netsim.network import Network
from swing.checks import expect
from swing.schedules.collectives import ALLREDUCE, BARRIER
from swing.schedules.schedule import Schedule

ARGUMENTS = {
    "latency": "latency",
    "rank": "latency and bytes of one rank",
    "cut": "bytes across a cut",
    "links": "bytes over all links",
}
"""What the arguments of `lower_bounds` count, for people."""


def lower_bounds(
    network: Network, nbytes: int, collective: str = "allreduce", root: int = 0
) -> dict[str, float]:
    """Seconds that every run of a collective takes at least, by four arguments.

    - ``"latency"``: some rank's result depends on the input of a rank far from it. So a chain of
      messages covers the distance between the two, and pays the latency of every link on its way
      and the fixed costs of at least one message.
    - ``"rank"``: what a rank needs must enter it, but does not arrive before its latency is over.
      In an allreduce, a broadcast or a reduce, all n bytes that a rank needs depend on the input
      of one rank u far from it, since sums of vectors are no shorter than a vector. So none of
      them arrives earlier than a message without bytes from u, and

          T ≥ latency(u → v) + n / (bytes per second of all links into v),

      more precisely, a link into v carries none of them before the latency of the quickest way
      from u to v over this link is over. In other collectives the blocks that v needs come from
      ranks at several latencies. For each latency L, the blocks from ranks that are at least as
      far away as L arrive after L.
    - ``"cut"``: if s ranks are cut off from the others, what those need of them must cross the
      links of the cut. In an allreduce these are n bytes, for a latency from one side to the other;
      in an allgather n·s/p bytes, in an all-to-all n·s·(p - s)/p. Cuts across each dimension
      are tried. If links differ from each other (slow or failed links, graphs), so are the
      smallest cuts, found by maximum flows, in networks of up to
      `netsim.bounds.min_cuts.MAX_VERTICES` ranks and switches.
    - ``"links"``: each contribution and each result that has to leave its rank does so at least
      once. In an allreduce these are p - 1 contributions and p - 1 results for every element,
      2n(p - 1) bytes over all links together.

    Each argument holds backwards in time too: a schedule that runs backwards, every message turned
    round, takes as long. So a bound for a broadcast is one for a reduce, and what must leave a rank
    early enough to reach all others bounds the time like what must enter it.

    The bytes of a cut can flow over its links only while the latencies before and behind them are
    not running, which makes each of these a *quickest flow* (Ford and Fulkerson, Flows in Networks,
    1962, §III.9). No algorithm can do better, even by coding, because it is information that must
    cross. Bounds without the joint latency are those of Chan et al., Collective communication:
    theory, practice, and experience, 2007, §3; the cut of an allgather is from ForestColl,
    arXiv 2402.06787.

    With ``arrival="head"`` a message counts as arrived when the last of its packets begins to
    arrive, so one packet per link of a cut may be under way at the end, and is subtracted. Every
    bound grows with ``nbytes`` and with every latency, and falls with every bandwidth.

    Args:
        network: topology and costs.
        nbytes: size of the vector, in bytes: what each rank of an allreduce, a reduce, a
            reduce-scatter or an all-to-all starts with; what each rank of an allgather or a
            broadcast ends with; what the root of a gather or a scatter holds.
        collective: the name of the collective, see `swing.schedules.collectives`. Its blocks are
            equal. A barrier has no bytes.
        root: the root of a broadcast, reduce, gather or scatter.

    Returns:
        Seconds by argument, a key of `netsim.bounds.ARGUMENTS`. The largest is `lower_bound`.

    Raises:
        ValueError: ``nbytes`` is not a whole number of bytes from 0 up, or is too large; an unknown
            collective, or a root that is not a rank.
        TypeError: ``network`` is no network.

    >>> import netsim
    >>> network = netsim.paper_network("torus:64x64")
    >>> for name, seconds in netsim.lower_bounds(network, 2**21).items():
    ...     print(f"{name:7} {seconds * 1e6:.1f} us")
    latency 26.1 us
    rank    36.4 us
    cut     26.3 us
    links   21.7 us
    """
    expect(network, Network, "a network, such as netsim.paper_network('torus:8x8')")
    moved, kind = (0, ALLREDUCE) if collective == BARRIER else (nbytes, collective)
    check_size(nbytes)
    return _bounds(network, moved, named_demand(kind, network.topology.size, root))


def lower_bound(
    network: Network, nbytes: int, collective: str = "allreduce", root: int = 0
) -> float:
    """Seconds that every run of a collective takes at least: the largest of `lower_bounds`.

    The arguments and the errors are those of `lower_bounds`.

    >>> import netsim
    >>> network = netsim.paper_network("torus:64x64")
    >>> f"{netsim.lower_bound(network, 32) * 1e6:.2f} us"
    '26.11 us'
    >>> for collective in ("allreduce", "reduce_scatter", "allgather"):
    ...     print(f"{netsim.lower_bound(network, 2**30, collective) * 1e3:.1f} ms")
    10.7 ms
    5.4 ms
    5.4 ms
    """
    return tightest(lower_bounds(network, nbytes, collective, root))[1]


def schedule_bounds(network: Network, nbytes: int, schedule: Schedule) -> dict[str, float] | None:
    """Return the `lower_bounds` of a schedule's own collective.

    None if it is unknown what the collective must move.
    """
    demand = demand_of(schedule)
    moved = 0 if schedule.collective == BARRIER else nbytes
    check_size(nbytes)
    return None if demand is None else _bounds(network, moved, demand)


def schedule_bound(network: Network, nbytes: int, schedule: Schedule) -> float | None:
    """Return the largest of `schedule_bounds`."""
    bounds = schedule_bounds(network, nbytes, schedule)
    return None if bounds is None else tightest(bounds)[1]


def tightest(bounds: dict[str, float]) -> tuple[str, float]:
    """Return the name and the seconds of the largest bound, the first one of equal ones."""
    return max(bounds.items(), key=lambda item: item[1])


def _bounds(network: Network, nbytes: int, demand: Demand) -> dict[str, float]:
    cuts = _cuts(network, *(None if column is None else column.tobytes() for column in demand))
    seconds = {
        name: max((cut.seconds(nbytes) for cut in some), default=0.0) for name, some in cuts.items()
    }
    # Even a message without bytes must get to a rank.
    return {"latency": max((cut.seconds(0) for cut in cuts["rank"]), default=0.0), **seconds}


@lru_cache(maxsize=4)  # a sweep asks for one network at many sizes
def _cuts(network: Network, origin: bytes | None, home: bytes | None) -> dict[str, list[Cuts]]:
    """List the cuts that the bytes of a demand must cross, by the names in `ARGUMENTS`."""
    demand = Demand(
        *(None if column is None else np.frombuffer(column) for column in (origin, home))
    )
    found: dict[str, list[Cuts]] = {"rank": [], "cut": [], "links": []}
    if not (sent := demand.sent(network.topology.size)):
        return found
    for links, wanted in (
        (DirectedLinks(network), demand),
        (DirectedLinks(network, backwards=True), demand.reversed),
    ):
        starts = sole_starts(links, wanted)
        start = starts[0] if starts else None
        found["rank"] += around_ranks(links, wanted, starts)
        found["cut"] += across_dimensions(links, wanted, start)
        if not links.alike:
            # Imported here because it takes half a second to load numba.
            from netsim.bounds.min_cuts import smallest_cuts

            found["cut"] += smallest_cuts(links, wanted, start)
    links, nlinks = DirectedLinks(network), network.topology.nlinks
    rate = nlinks * network.bandwidth if links.alike else network.bandwidths.sum()
    every = sent, links.least, rate, links.credit(nlinks)
    found["links"].append(Cuts.single(*np.array(every)[:, None]))
    return found
