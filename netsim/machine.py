"""Machines in words: how a network differs from the Swing paper's, in commands and in rows.

A machine is written in the words of the options: ``latency=500ns slow=0-1=0.25 fail=2-3``. Every
command of netsim takes these options, every row of results has the words in its columns
``bandwidth_gbps`` and ``machine``, and `Machine.parse` reads them back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from netsim.machine_words import (
    GBPS,
    PER_SECOND,
    Link,
    one_if_equal,
    parse_bandwidth,
    parse_latency,
    parse_links,
    parse_slow,
    parse_value,
    spell_links,
    spell_numbers,
)
from netsim.network import LINK_LATENCY, Network, one_value, paper_network
from netsim.topologies.failures import failed_links, without
from netsim.topologies.names import topology as topology_of
from netsim.topologies.topology import Topology
from swing.checks import counted, shown
from swing.torus import Torus

_STATED = ("topology", "bandwidth", "link_latency", "ties", "slow")
"""The fields of a network that have words of their own, or a column."""


@dataclass(frozen=True)
class Machine:
    """How a network differs from `netsim.paper_network`, whatever its topology.

    Args:
        bandwidth: bytes per second of a link: of all, or of the links of each dimension.
        latency: seconds of a link: of all, or of the links of each dimension.
        slow: (tail, head) of slow links → the fraction of the bandwidth that each has left.
        failed: (tail, head) of each failed link, ascending.
        ties: the rule for messages to a peer half a ring away.
        others: further fields of the network with their values, in alphabetical order.
    """

    bandwidth: tuple[float, ...] = (50e9,)
    latency: tuple[float, ...] = (LINK_LATENCY,)
    slow: tuple[tuple[Link, float], ...] = ()
    failed: tuple[Link, ...] = ()
    ties: str = "adaptive"
    others: tuple[tuple[str, Any], ...] = ()

    def network(self, topology: Topology) -> Network:
        """Make the machine's network.

        Where dimensions differ, `Network.bandwidth` and ``link_latency``, which estimates use, are
        those of the slowest one that has links.

        Raises:
            ValueError: as `netsim.Network` and `netsim.without` raise it, or values per dimension
                that are not as many as the dimensions.
        """
        bandwidth = _of_links(topology, "bandwidth", self.bandwidth)
        latency = _of_links(topology, "latency", self.latency)
        if len(bandwidth) > 1:
            own = np.array(self.bandwidth)[topology.dim]
            topology = replace(topology, own_bandwidth=own)
        if len(latency) > 1:
            own = np.array(self.latency)[topology.dim] * topology.wire
            topology = replace(topology, own_latency=own)
        left = without(topology, self.failed)
        standard = paper_network(left, min(bandwidth), self.ties, max(latency))
        return replace(standard, slow=dict(self.slow), **dict(self.others))

    @classmethod
    def of(cls, network: Network) -> Machine:
        """Return the machine whose network this is.

        A network has no values for a dimension without links: it counts as one of the slowest.
        Where the links of a dimension differ, as they may in a graph, the machine has the network's
        own bandwidth or latency for all.
        """
        topology = network.topology
        standard = paper_network(topology, network.bandwidth, network.ties, network.link_latency)
        own = {
            f.name: getattr(network, f.name)
            for f in fields(network)
            if f.name not in _STATED and getattr(network, f.name) != getattr(standard, f.name)
        }
        return cls(
            _by_dimension(topology, topology.own_bandwidth, network.bandwidth),
            _by_dimension(topology, topology.own_latency, network.link_latency, topology.wire),
            tuple(sorted(network.slow.items())),
            failed_links(topology),
            network.ties,
            tuple(sorted(own.items())),
        )

    @classmethod
    def parse(cls, text: str, gbps: float = 400.0, ties: str = "adaptive") -> Machine:
        """Read the words of a machine.

        Args:
            text: the words, with spaces between them.
            gbps: bandwidth of all links in Gb/s, if the words do not state one per dimension.
            ties: the rule for ties.

        Raises:
            ValueError: a word has an unknown key or a wrong value, see `with_word`.

        >>> Machine.parse("latency=1us fail=0-1", 100).failed
        ((0, 1), (1, 0))
        """
        machine = cls(bandwidth=(gbps * GBPS,), ties=ties)
        for word in text.split():
            key, _, value = word.partition("=")
            machine = machine.with_word(key, value)
        return machine

    def with_word(self, key: str, text: str) -> Machine:
        """Return the machine with one more word.

        Args:
            key: "bandwidth", "latency", "slow", "fail" or a field of `netsim.Network`.
            text: the value.

        Raises:
            ValueError: an unknown key, or a value that the key does not take.
        """
        match key:
            case "bandwidth":
                return replace(self, bandwidth=parse_bandwidth(text))
            case "latency":
                return replace(self, latency=parse_latency(text))
            case "slow":
                return self.slowed(parse_slow(text))
            case "fail":
                return self.failing(parse_links(text))
        if key in _STATED or key not in {f.name for f in fields(Network)}:
            raise ValueError(f"a machine has no {shown(key)}: write bandwidth=, latency=, slow=, "
                             "fail= or a field of netsim.Network")  # fmt: skip
        others = dict(self.others) | {key: parse_value(text)}
        return replace(self, others=tuple(sorted(others.items())))

    def with_links(self, bandwidth: tuple[float, ...], latency: tuple[float, ...]) -> Machine:
        """Return the machine with links of these bandwidths and latencies, see `Machine`."""
        return replace(self, bandwidth=bandwidth, latency=latency)

    def slowed(self, links: Mapping[Link, float]) -> Machine:
        """Return the machine with more slow links.

        Raises:
            ValueError: a link is slow already.
        """
        for _, link in spell_links({pair: 0 for pair in links if pair in dict(self.slow)}):
            raise ValueError(f"link {link} is slow twice: state one fraction for it")
        return replace(self, slow=tuple(sorted({**dict(self.slow), **links}.items())))

    def failing(self, links: Iterable[Link]) -> Machine:
        """Return the machine with more failed links."""
        return replace(self, failed=tuple(sorted({*self.failed, *links})))

    def __str__(self) -> str:
        """The words, less a bandwidth that all links have, which has a column of its own.

        >>> str(Machine.parse("slow=0-1=0.25 latency=0.5us bandwidth=400,100"))
        'bandwidth=400,100 latency=500ns slow=0-1=0.25'
        """
        words = []
        if len(self.bandwidth) > 1:
            words.append(f"bandwidth={spell_numbers(self.bandwidth, 1 / GBPS)}")
        if self.latency != (LINK_LATENCY,):
            words.append(f"latency={spell_numbers(self.latency, PER_SECOND['ns'], 'ns')}")
        slow = dict(self.slow)
        words += [f"slow={link}={slow[pair]:.12g}" for pair, link in spell_links(slow)]
        words += [f"fail={link}" for _, link in spell_links(dict.fromkeys(self.failed))]
        words += [f"{key}={value}" for key, value in self.others]
        return " ".join(words)

    @property
    def title(self) -> str:
        """The bandwidths and the other words, for titles.

        >>> Machine.parse("bandwidth=400,100").title
        '400,100 Gb/s'
        >>> Machine.parse("latency=1us", 200).title
        '200 Gb/s, latency=1000ns'
        """
        rates = f"{spell_numbers(self.bandwidth, 1 / GBPS)} Gb/s"
        alike = replace(self, bandwidth=self.bandwidth[:1])
        return ", ".join(filter(None, [rates, str(alike)]))


_COLUMNS: WeakKeyDictionary[Network, dict[str, str | float]] = WeakKeyDictionary()
"""The columns of the networks that are in use."""


def columns(network: Network) -> dict[str, str | float]:
    """Return the columns of a row that tell its network from others: see `netsim.rows.KEY`."""
    if network not in _COLUMNS:
        machine = Machine.of(network)
        _COLUMNS[network] = {
            "topology": network.topology.whole.name,
            "bandwidth_gbps": min(machine.bandwidth) * 8 / 1e9,
            "ties": machine.ties,
            "machine": str(machine),
        }
    return dict(_COLUMNS[network])


def network_of_row(row: Mapping[str, str]) -> Network:
    """Make the network of a simulated row again.

    Raises:
        ValueError: the topology has no name that `netsim.topology` takes, such as that of a graph.
    """
    gbps, ties = float(row["bandwidth_gbps"]), row.get("ties") or "adaptive"
    machine = Machine.parse(row.get("machine") or "", gbps, ties)
    return machine.network(topology_of(row["topology"]))


def wrapped(topology: Topology, wrap: tuple[bool, ...]) -> Topology:
    """Return a torus of which only some dimensions close to rings.

    Args:
        topology: a torus.
        wrap: whether each dimension closes to a ring.

    Raises:
        ValueError: the topology is no torus, or ``wrap`` has not one value per dimension.
    """
    shape = topology.torus
    if topology.name != f"torus:{shape}":
        raise ValueError(f"only a torus takes --wrap, not {topology.name}: name torus:{shape}")
    if len(wrap) != len(shape.dims):
        example = ",".join("1" * len(shape.dims))
        raise ValueError(
            f"--wrap has {counted(len(wrap), 'value')}, but {topology.name} has "
            f"{counted(len(shape.dims), 'dimension')}: write one for each, as in {example}"
        )
    return topology_of(Torus(shape.dims, wrap).name)


def _of_links(topology: Topology, what: str, values: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values of the dimensions that have links, or one if they are equal."""
    if len(values) == 1:
        return values
    if len(values) != len(topology.dims):
        raise ValueError(
            f"there are {len(values)} values of {what}, but {topology.name} has "
            f"{counted(len(topology.dims), 'dimension')}: write one, or one for each"
        )
    return one_if_equal(tuple(values[j] for j in _linked(topology)) or values[:1])


def _linked(topology: Topology) -> list[int]:
    """Return the dimensions that have links, ascending."""
    return [int(j) for j in np.unique(topology.dim)]


def _by_dimension(
    topology: Topology, own: np.ndarray | None, usual: float, unit: np.ndarray | float = 1.0
) -> tuple[float, ...]:
    """Return the value of each dimension if its links agree; otherwise the usual one of all.

    Args:
        topology: the links.
        own: (nlinks,) the links' own values, or NaN; None if they have none.
        usual: the value of links without their own.
        unit: (nlinks,) what the links' own values are multiples of.
    """
    if own is None:
        return (usual,)
    values = np.where(np.isnan(own), usual, own / unit)
    found: dict[int, float] = {}
    for j in _linked(topology):
        along = values[topology.dim == j]
        value = one_value(along)
        if value is None:
            return (usual,)
        found[j] = value
    if len(set(found.values())) <= 1:
        return (next(iter(found.values()), usual),)
    return tuple(found.get(j, usual) for j in range(len(topology.dims)))
