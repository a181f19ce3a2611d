"""A case of a search: a schedule by its name and options, and the network that it runs on.

A case is cheap to send to another process, which builds the schedule; the network is sent along,
and kept there for all cases on it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from netsim.machine import columns
from netsim.network import Network, paper_network
from netsim.rows import ResultRow
from netsim.run import row, simulate
from netsim.topologies.topology import Topology
from netsim.traffic.message_graph import RunOptions
from swing.algorithms import ALGORITHMS, SHIPPED, make
from swing.algorithms.spelling import parse, spell
from swing.build.derive import IN_CHUNKS
from swing.checks import expect, unknown
from swing.schedules.collectives import ALLREDUCE, checked_root
from swing.schedules.schedule import Schedule
from swing.select import estimate
from swing.select.candidates import spelled
from swing.select.choose import schedule
from swing.select.estimate import Phase, figures
from swing.select.table import Options
from swing.torus import Torus

AUTO = "auto"
"""Stands for the algorithm that `swing.choose` chooses for the network at each size."""


@dataclass(frozen=True)
class Case:
    """A schedule and the network that it runs on.

    Args:
        network: topology and costs.
        algorithm: a key of `swing.ALGORITHMS`, or "auto".
        options: the algorithm's options.
        model: a key of `netsim.models.MODELS`.
        run_options: further keyword arguments of `netsim.simulate`.
    """

    network: Network
    algorithm: str
    options: Options
    model: str = "analytic"
    run_options: Options = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the network as bytes, by which the other process knows it again."""
        others = self.algorithm, self.options, self.model, self.run_options
        return _received, (_sent(self.network), *others)

    def key(self, nbytes: int) -> tuple[str, ...]:
        """Return the values of the columns `netsim.rows.KEY` in the row of one size."""
        run, where = RunOptions(**dict(self.run_options)), columns(self.network)
        cells = (where["topology"], self.label, self.variant, nbytes, self.model)
        rules = (where["ties"], run.sync, run.parts, run.seed, where["machine"])
        return tuple(map(str, (*cells, where["bandwidth_gbps"], *rules)))

    @property
    def topology(self) -> str:
        """The name of the topology, without failures."""
        return self.network.topology.whole.name

    @property
    def name(self) -> str:
        """The algorithm with all its options, as command lines take it."""
        return spell(self.algorithm, dict(self.options))

    @property
    def label(self) -> str:
        """The algorithm and its options, without the variant, which has its own column."""
        return spell(self.algorithm, {k: v for k, v in self.options if k != "variant"})

    @property
    def variant(self) -> str:
        """The variant, if the options name one."""
        return str(dict(self.options).get("variant", ""))

    def estimate(self, nbytes: int) -> float:
        """Return the seconds that the case takes, estimated without a simulation of messages.

        Args:
            nbytes: size of the vector on each rank, in bytes.
        """
        sized = self.algorithm == AUTO  # an algorithm that depends on the size
        if "collective" in dict(self.options) or (is_plain(self.network) and not sized):
            return estimate.seconds(_figures(self), self.network, nbytes)
        return float(self.run(nbytes, "analytic")["seconds"])

    def run(self, nbytes: int, model: str | None = None) -> ResultRow:
        """Simulate one size and return its row.

        Args:
            nbytes: size of the vector on each rank, in bytes.
            model: replaces the case's own model.
        """
        chosen = _build(self, nbytes if self.algorithm == AUTO else None)
        run = simulate(chosen, self.network, nbytes, model or self.model, **dict(self.run_options))
        result = row(run)
        # The schedule of another package may have any name, and that of auto has the chosen one.
        if result["algorithm"] != self.label:
            result |= {"algorithm": self.label, "variant": self.variant}
        return result


def is_plain(network: Network) -> bool:
    """Whether a network is a torus whose links are all alike, for which estimates take no time."""
    return network.topology.name == network.topology.torus.name and network.uniform


def _received(network: bytes, *others: Any) -> Case:
    return Case(_loaded(network), *others)


@lru_cache(maxsize=4)
def _sent(network: Network) -> bytes:
    return pickle.dumps(network)


@lru_cache(maxsize=4)  # all cases on a network share its tables of routes
def _loaded(network: bytes) -> Network:
    loaded: Network = pickle.loads(network)
    return loaded


@lru_cache(maxsize=8)
def _figures(case: Case) -> tuple[Phase, ...]:
    return figures(_build(case, None))


@lru_cache(maxsize=8)
def _build(case: Case, nbytes: int | None) -> Schedule:
    network = case.network
    return schedule(
        case.algorithm, network.topology.torus, nbytes=nbytes, machine=network, **dict(case.options)
    )


Where = Network | Topology | str
"""A network, or a topology or its name for the Swing paper's network."""


def networks_of(where: Where | Sequence[Where]) -> list[Network]:
    """Return networks; of a topology or its name, that of the Swing paper.

    Raises:
        TypeError: one is neither a network nor a topology nor a name.
        ValueError: a name is unknown, or there is none.
    """
    listed = [where] if isinstance(where, (Network, Topology, str)) else where
    expect(listed, Iterable, "networks, such as netsim.paper_network('torus:8x8')")
    networks = [each if isinstance(each, Network) else paper_network(each) for each in listed]
    if not networks:
        raise ValueError("name a network, such as 'torus:8x8'")
    return networks


def asked_collective(torus: Torus, collective: str, root: int | None) -> dict[str, Any]:
    """Return the options of schedules of a collective; none for an allreduce.

    Raises:
        ValueError: a root that is not a rank, or one for a collective that has none.
    """
    return spelled(collective, checked_root(collective, root, torus.size))


def algorithm_cases(
    names: Sequence[str], torus: Torus, collective: str = ALLREDUCE, root: int | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return algorithms with their options.

    A name with options is one case; a name alone gives one case per variant; "all" stands for every
    algorithm that the torus and the collective allow.

    Args:
        names: the algorithms, as `swing.algorithms.spelling` writes them, "auto" and "all".
        torus: the ranks.
        collective: the collective.
        root: its root.

    Raises:
        ValueError: an algorithm does not exist or does not run on the torus.
    """
    asked = asked_collective(torus, collective, root)
    cases = []
    wanted = [n for text in names for n in (ALGORITHMS if text == "all" else [text])]
    for text in dict.fromkeys(wanted):
        name, options = parse(text)
        if name not in (*ALGORITHMS, AUTO):
            raise unknown("algorithm", name, [*ALGORITHMS, AUTO, "all"])
        for key in options.keys() & asked.keys():
            raise ValueError(f"{key} is given twice: in --algorithm and by --{key}")
        if name == AUTO:
            schedule(AUTO, torus, nbytes=1, **options, **asked)  # refuses options
            cases.append((name, dict(asked)))
            continue
        if options:
            make(name, torus, **options, **asked)
            cases.append((name, options | asked))
            continue
        for options in _plain_options(name, asked):
            try:
                make(name, torus, **options)
            except ValueError:
                if name in names and (not asked or options == asked):
                    raise
                continue
            except Exception:  # of another package: whoever runs the case says what is wrong
                if name in SHIPPED:
                    raise
            cases.append((name, options))
    return cases


def _plain_options(name: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """List the options of the cases of an algorithm that is named without options."""
    if not asked:
        return [{"variant": variant} if variant else {} for variant in ALGORITHMS[name].variants]
    return [dict(asked), *([{"chunks": 1, **asked}] if asked["collective"] in IN_CHUNKS else [])]
