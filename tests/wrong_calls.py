"""Wrong calls of public functions, at random: ``python -m tests.wrong_calls SEED COUNT``.

Each call is a valid one in which one or two arguments are replaced by something else. It may work;
if it does not, it raises ValueError, TypeError, OSError or IndexError (of a sequence) with one line
of at most 300 characters.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import networkx as nx
import numpy as np

import netsim
import swing
from netsim.report.data import describe
from netsim.report.page import page
from swing import formats
from swing.build import combine, parallel, reversal, segments

MAX_MESSAGE = 300
MAX_SECONDS = 20
MAX_BYTES = 2**30

TORUS = swing.Torus((2, 3))
RING = swing.schedule("ring", TORUS)
SCATTER = swing.schedule("swing", TORUS, collective="reduce_scatter")
PLACE = netsim.topology("torus:2x3")
NETWORK = netsim.paper_network(PLACE)
RUN = netsim.simulate(RING, NETWORK, 64)
EDGES = nx.cycle_graph(6)
STEP = RING.step(0)

CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "swing.verify": (swing.verify, {"schedule": RING}),
    "swing.deadlock": (swing.deadlock, {"schedule": RING}),
    "swing.choose": (swing.choose, {"torus": TORUS, "nbytes": 64}),
    "swing.schedule": (
        swing.schedule,
        {"name": "swing", "torus": TORUS, "variant": "bandwidth", "ports": 1,
         "collective": "allreduce"},
    ),
    "swing.schedule auto": (
        swing.schedule, {"name": "auto", "torus": TORUS, "nbytes": 64, "machine": NETWORK},
    ),
    "swing.schedule bucket": (
        swing.schedule, {"name": "bucket", "torus": TORUS, "segments": 2, "ports": 2},
    ),
    "swing.schedule hybrid": (
        swing.schedule, {"name": "swing", "torus": TORUS, "variant": "hybrid", "k": 1},
    ),
    "swing.schedule radices": (
        swing.schedule, {"name": "recursive_multiplying", "torus": TORUS, "radices": (2, 3)},
    ),
    "swing.Torus": (swing.Torus, {"dims": (2, 3), "wrap": True, "coords": TORUS.coords}),
    "swing.Torus.parse": (swing.Torus.parse, {"text": "torus:2x3"}),
    "torus.rank_at": (TORUS.rank_at, {"coords": (1, 1)}),
    "swing.Step": (
        swing.Step, {"reduces": swing.Op.COPY, "src": [0], "dst": [1], "blocks": [[0]]},
    ),
    "swing.Schedule": (
        swing.Schedule,
        {"name": "one", "torus": TORUS, "nblocks": 6, "nsteps": 1, "step": lambda s: STEP,
         "origin": swing.ALL, "home": np.arange(6), "variant": "", "parts": (6,), "shares": None,
         "signature": lambda s: s, "sync_phase": lambda s: s},
    ),
    "swing.Schedule body": (
        swing.Schedule, {"name": "one", "torus": TORUS, "nblocks": 6, "body": RING.body},
    ),
    "schedule.rank": (RING.rank, {"rank": 1}),
    "schedule.for_rank": (RING.for_rank, {"rank": 1}),
    "schedule.step": (RING.step, {"s": 1}),
    "schedule[]": (RING.__getitem__, {"s": 1}),
    "schedule.ends": (RING.ends, {"count": 60}),
    "schedule.share": (RING.share, {"step": STEP}),
    "placement.from_coords": (
        swing.placement.from_coords, {"coords": TORUS.coords, "dims": (2, 3), "wrap": True},
    ),
    "reversal.reverse": (reversal.reverse, {"schedule": SCATTER}),
    "combine.with_allgather": (combine.with_allgather, {"reduce_scatter": SCATTER}),
    "parallel.parallel": (parallel.parallel, {"parts": [RING, RING], "weights": [1, 2]}),
    "segments.segmented": (
        segments.segmented, {"parts": [RING, RING], "segments": 2, "weights": [1, 2]},
    ),
    "netsim.topology": (netsim.topology, {"name": "torus:2x3"}),
    "netsim.graph": (
        netsim.graph, {"links": EDGES, "dims": (2, 3), "name": "six", "order": list(range(6))},
    ),
    "netsim.sweep": (
        netsim.sweep, {"networks": [NETWORK], "algorithms": ["ring"], "sizes": [64], "jobs": 1,
                       "model": "analytic", "sync": "rank", "collective": "allgather"},
    ),
    "netsim.tune": (
        netsim.tune, {"networks": [netsim.paper_network("torus:2")], "sizes": [64],
                      "collective": "allreduce", "search": netsim.Search(most=1)},
    ),
    "netsim.Search": (
        netsim.Search, {"keep": 2.0, "most": 1, "enough": 1.0, "packets": 64, "jobs": 1},
    ),
    "netsim.without": (netsim.without, {"topology": PLACE, "failed": [(0, 1)]}),
    "netsim.Network": (
        netsim.Network,
        {"topology": PLACE, "bandwidth": 1e9, "link_latency": 1e-6, "router_latency": 1e-6,
         "injection_bandwidth": 1e9, "message_overhead": 0.0, "flit_bytes": 8, "packet_bytes": 64,
         "buffer_bytes": 1024, "arrival": "tail", "gamma": 0.0, "ties": "split",
         "crossbar_bandwidth": 1e9, "arbitration": "oldest", "virtual_channels": 2,
         "post_gap": 0.0, "packet_gap": 0.0, "slow": {(0, 1): 0.5}},
    ),
    "netsim.paper_network": (
        netsim.paper_network, {"where": "torus:2x3", "bandwidth": 1e9, "ties": "split"},
    ),
    "netsim.simulate": (
        netsim.simulate,
        {"schedule": RING, "network": NETWORK, "nbytes": 64, "model": "flow", "seed": 1,
         "sync": "rank", "parts": "schedule", "skew": 1e-6, "delay": {1: 1e-6}, "fold": False},
    ),
    "netsim.lower_bound": (
        netsim.lower_bound,
        {"network": NETWORK, "nbytes": 64, "collective": "broadcast", "root": 1},
    ),
    "run.step_bytes": (RUN.step_bytes, {"s": 1}),
    "network.latency": (NETWORK.latency, {"hops": 1, "wire": 1.0, "routers": 1.0}),
    "report.describe": (describe, {"runs": [RUN], "sizes": [32, 64]}),
    "report.page": (page, {"data": describe([RUN], [32, 64])}),
    "formats.text": (formats.text, {"schedule": RING, "format": "goal", "nbytes": 64}),
    "formats.read": (
        formats.read, {"path": "no such file.json", "format": "json", "torus": TORUS},
    ),
    **{
        f"swing.ALGORITHMS[{name!r}]": (algorithm, {"torus": TORUS})
        for name, algorithm in swing.ALGORITHMS.items()
    },
}  # fmt: skip
"""Valid calls: a function and its arguments by name."""


class Odd:
    """A value whose text is long and that compares and iterates badly."""

    def __repr__(self) -> str:
        return "odd\n" * 100_000

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("compared")

    def __hash__(self) -> int:
        return 1


def values(rng: random.Random) -> Iterator[Any]:
    """Yield values to put in place of arguments, simple ones and those of other calls."""
    yield from (
        None,
        True,
        0,
        1,
        -1,
        3,
        7,
        2.5,
        -0.5,
        float("nan"),
        float("inf"),
        10**30,
        -(2**63),
        1j,
        "",
        "x",
        "swing",
        "torus:2x3",
        "torus:4",
        "x" * 10**5,
        "line\nline",
        b"abc",
    )
    yield from (
        [],
        (),
        {},
        set(),
        [1],
        (2, 3),
        [0, 0],
        (0, 1, 2, 3, 4, 5),
        [[1]],
        [[0], [1, 2]],
        {"a": 1},
        {(0, 1): 2},
        {(0, 9): 0.5},
        {0: "x"},
        {(0, 1)},
        [(0, 1)],
        [(0, 9)],
        ["x"],
        ["x" * 10**5] * 3,
        [None],
        range(6),
        iter([1]),
    )
    yield from (
        np.zeros(3),
        np.arange(6),
        np.zeros((2, 2)),
        np.array(["a"]),
        np.array([None]),
        np.float32(2),
        np.int8(1),
        np.array(5),
        np.zeros(0),
        np.array([2**62] * 6),
    )
    yield from (object(), object, len, lambda: 1, lambda s: s, lambda s: STEP, lambda *_: 1 / 0)
    yield from (
        TORUS,
        RING,
        SCATTER,
        PLACE,
        NETWORK,
        RUN,
        EDGES,
        STEP,
        RING.body,
        swing.Torus(4),
        swing.schedule("ring", swing.Torus(4)),
        netsim.topology("torus:4"),
        nx.DiGraph(),
        nx.path_graph(3).to_directed(),
        nx.empty_graph(6),
        swing.Op.REDUCE,
        swing,
        nx,
    )
    _, arguments = CALLS[rng.choice(list(CALLS))]
    yield from arguments.values()


class Fault(NamedTuple):
    """A call that did not end as it should."""

    call: str
    what: str
    arguments: str


def wrong_calls(seed: int, count: int) -> list[Fault]:
    """Make some random calls; return those that did not end as they should."""
    rng = random.Random(seed)
    faults = []
    for _ in range(count):
        name = rng.choice(list(CALLS))
        function, valid = CALLS[name]
        arguments = dict(valid)
        for key in rng.sample(list(arguments), min(len(arguments), rng.choice([1, 1, 2]))):
            if rng.random() < 0.05:
                del arguments[key]
            else:
                arguments[key] = rng.choice(list(values(rng)))
        start = time.process_time()
        what = _outcome(function, arguments)
        if not what and time.process_time() - start > MAX_SECONDS:
            what = f"took {time.process_time() - start:.0f} s"
        if what:
            changed = {k: v for k, v in arguments.items() if v is not valid[k]}
            faults.append(Fault(name, what, repr(changed)[:200]))
    return faults


def _outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """Call a function; return what is wrong with the way it ended, or nothing."""
    try:
        function(**arguments)
    except (TypeError, ValueError, OSError, IndexError) as error:
        text = str(error)
        if "\n" in text or not 5 < len(text) <= MAX_MESSAGE:
            at = traceback.extract_tb(error.__traceback__)[-1]
            return f"{type(error).__name__} of {at.name} with a bad message: {text[:40]!r}"
    except ZeroDivisionError as error:  # of a function that was passed
        return "" if "lambda" in traceback.format_exc() else f"ZeroDivisionError: {error}"
    except BaseException as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {at.name} ({at.filename}:{at.lineno})"
    return ""


def report(search: Callable[[int, int], list[Fault]], what: str) -> None:
    """Search with the seed and the number on the command line, and print the kinds of faults.

    Args:
        search: finds faults from a seed and a number of tries.
        what: the tries in the plural, such as "calls".
    """
    seed, count = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_DATA, (4 * MAX_BYTES, 4 * MAX_BYTES))
    faults = search(seed, count)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{count} {what}, {len(faults)} faults, at most {most} MiB")
    kinds = Counter((fault.call, fault.what) for fault in faults)
    for (call, what), times in kinds.most_common(40):
        example = next(f for f in faults if (f.call, f.what) == (call, what))
        print(f"{times:5} {call}: {what}\n      {example.arguments}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    report(wrong_calls, "calls")
