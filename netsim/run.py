"""Simulate a schedule on a network: total time, time per step, link loads and the bottleneck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from netsim.checks import check_size
from netsim.machine import columns
from netsim.models import MODELS, own_sync
from netsim.network import Network
from netsim.topologies.row import Traffic
from netsim.traffic.load import check_dims, congestion, link_load, traffic
from netsim.traffic.message_graph import RunOptions
from swing.checks import unknown
from swing.schedules.collectives import BARRIER
from swing.schedules.schedule import Schedule
from swing.schedules.step import Message, Step

KINDS = ("link", "buffer", "door", "rank")
"""What holds up a step: the largest of the times that it takes if all else were free.

- link: the bytes on its busiest link.
- door: the bytes that a node sends or receives, at the bandwidth of its injection or ejection.
- rank: a rank's work on messages and on their bytes, its delay or its late start.
- buffer: bounded buffers, if the packet model takes over 1 % longer with them than without.
"""


class Bottleneck(NamedTuple):
    """The link that holds up the step that takes longest.

    It is the link with the largest sum of two times: the time that its bytes take, and the longest
    wait of a message that crosses it (its receiver is slow, or its sender starts late).

    Args:
        link: the nodes or switches that the link leaves and reaches.
        step: the step.
        messages: the messages of the step that cross the link.
        seconds: the time that the step adds.
        kind: one of `KINDS`.
    """

    link: tuple[int, int]
    step: int
    messages: tuple[Message, ...]
    seconds: float
    kind: str


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """The result of one simulation.

    Args:
        schedule: the schedule that was run.
        network: the network that it ran on.
        nbytes: size of the vector on each rank, in bytes.
        model: the key of the model in `netsim.models.MODELS`.
        options: seed, synchronization, skew and slow ranks.
        seconds: time from the start to the end.
        step_seconds: (nsteps,) seconds that each step adds to the end of those before it.
    """

    schedule: Schedule
    network: Network
    nbytes: int
    model: str
    options: RunOptions
    seconds: float
    step_seconds: np.ndarray

    @property
    def goodput(self) -> float:
        """Bytes of the vector per second; infinite if the run takes no time, 0 in a barrier."""
        if self.schedule.collective == BARRIER:
            return 0.0
        return self.nbytes / self.seconds if self.seconds else float("inf")

    @cached_property
    def latency(self) -> float:
        """Seconds that the same run takes with an empty vector.

        That is what delays of links and routers and the work per message cost. The other seconds
        are those that the bytes of the vector add.
        """
        return float(np.sum(MODELS[self.model](self.schedule, self.network, 0, self.options)))

    @property
    def congestion(self) -> float:
        """Σ over steps of the busiest directed link's bytes, ÷ (n/D): n bytes, D dimensions."""
        return congestion(self.schedule, self.network, self.options.seed)

    @cached_property
    def link_bytes(self) -> np.ndarray:
        """(nlinks,) bytes over each directed link in all steps; links as in ``topology.ends``."""
        total = np.zeros(self.network.topology.nlinks)
        for s in range(self.schedule.nsteps):
            total += self.step_bytes(s)
        return total

    def step_bytes(self, s: int) -> np.ndarray:
        """(nlinks,) bytes over every directed link in step s."""
        return self.nbytes * link_load(self.schedule, s, self.network, self.options.seed)

    @cached_property
    def bottleneck(self) -> Bottleneck | None:
        """The link that holds up the longest step; None if no message crosses a link in it."""
        if not self.schedule.nsteps:
            return None
        topology, net = self.network.topology, self.network
        s = int(self.step_seconds.argmax())
        step = self.schedule.step(s)
        flow = traffic(self.schedule, step)
        busy = self.step_bytes(s) / net.bandwidths
        wait = self.options.delays(topology.size)[step.dst]
        if not s:  # skew delays the first step only; later ones wait for messages anyway
            wait += self.options.starts(topology.size)[step.src]
        some = np.arange(len(flow.src))
        if busy.any() and not wait.any() and net.ties != "random":
            # Then it is the busiest link, and of a million ranks few send messages along its row.
            some = np.flatnonzero(topology.may_cross(flow, int(busy.argmax())))
        routes = topology.routes(flow.src[some], flow.dst[some], net.ties, (self.options.seed, s))
        if not len(routes.links):
            return None
        message = some[routes.message[routes.per_link()]]
        waited = np.zeros(topology.nlinks)
        np.maximum.at(waited, routes.links, wait[message])
        # Messages without bytes load no link, but one that none of them crosses holds up nobody.
        crossed = np.unique(routes.links)
        link = int(crossed[(busy + waited)[crossed].argmax()])
        kind = self._kind(step, flow, float(busy.max(initial=0.0)), float(waited[link]))
        users = np.unique(message[routes.links == link])
        tail, head = topology.ends[link].tolist()
        messages = tuple(step.message(i) for i in users.tolist())
        return Bottleneck((tail, head), s, messages, float(self.step_seconds[s]), kind)

    def _kind(self, step: Step, flow: Traffic, link: float, waited: float) -> str:
        """The kind of a bottleneck, see `KINDS`.

        Args:
            step: the step.
            flow: its messages.
            link: seconds that its busiest link is busy.
            waited: seconds that the bottleneck's messages wait for late and slow ranks.
        """
        if self._slowed_by_buffers:
            return "buffer"
        net, p = self.network, self.network.topology.size
        sends, receives = (np.bincount(ends, minlength=p) for ends in (flow.src, flow.dst))
        sent = np.bincount(flow.src, flow.weight, p)
        received, reduced = (
            np.bincount(flow.dst, weight, p) for weight in (flow.weight, flow.weight * step.reduces)
        )
        per_message = net.message_overhead + net.post_gap * (self.model == "packet")
        work = per_message * sends + net.receive_overhead * receives
        work = work + self.nbytes * net.gamma * reduced
        rates = net.injection_bandwidth or np.inf, net.ejection_bandwidth or np.inf
        door = self.nbytes * max(sent.max() / rates[0], received.max() / rates[1])
        seconds = {"link": link, "door": float(door), "rank": max(float(work.max()), waited)}
        return max(seconds, key=seconds.__getitem__)

    @cached_property
    def _slowed_by_buffers(self) -> bool:
        if self.model != "packet" or self.network.buffer_bytes is None:
            return False
        free = replace(self.network, buffer_bytes=None)
        times = MODELS["packet"](self.schedule, free, self.nbytes, self.options)
        return self.seconds > 1.01 * float(np.sum(times))

    def __repr__(self) -> str:
        return (
            f"<{self.schedule.name} on {self.network.topology.name}, {self.nbytes} bytes: "
            f"{self.seconds * 1e6:.4g} us, {self.model} model>"
        )


def simulate(
    schedule: Schedule,
    network: Network,
    nbytes: int,
    model: str = "analytic",
    *,
    seed: int = 0,
    sync: str | None = None,
    parts: str = "schedule",
    skew: float = 0.0,
    delay: Mapping[int, float] | None = None,
    fold: bool = True,
) -> Run:
    """Run a schedule on a simulated network.

    Args:
        schedule: made for the dimensions of the network's topology.
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.
        model: a key of `netsim.models.MODELS`.
        seed: for random ties and skew.
        sync: when a rank begins its next step, see `netsim.traffic.message_graph.SYNC`; None for
            the model's own rule (`netsim.models.own_sync`). The analytic model ignores it: there
            all ranks wait for each other.
        parts: when the parts of a schedule wait for each other, see
            `netsim.traffic.message_graph.PARTS`. The analytic model ignores it: it keeps to the
            phases of the schedule.
        skew: seconds within which the ranks start, at random.
        delay: slow ranks: seconds that a rank needs after each step in which it receives, by rank.
        fold: whether the flow and packet models simulate equivalent nodes once. The result is the
            same except for adaptive ties, see `netsim.traffic.symmetry`.

    Raises:
        ValueError: dimensions that differ, an invalid size, rule, skew or delay, too many messages
            for the model, or an unknown model.
        TypeError: ``schedule`` is not a schedule, or ``network`` is not a network.

    >>> import netsim, swing
    >>> network = netsim.paper_network("torus:8x8")
    >>> run = netsim.simulate(swing.schedule("swing", swing.Torus((8, 8))), network, 2**21)
    >>> f"{run.seconds * 1e6:.1f} us, {run.goodput * 8 / 1e9:.0f} Gb/s, {run.congestion:.4f}"
    '36.8 us, 456 Gb/s, 1.0781'
    """
    check_size(nbytes)
    if not isinstance(schedule, Schedule) or not isinstance(network, Network):
        raise TypeError("pass a schedule of swing.schedule and a network of netsim.paper_network")
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    check_dims(schedule, network.topology)
    options = RunOptions(seed, sync or own_sync(model), parts, skew, dict(delay or {}), fold)
    seconds = MODELS[model](schedule, network, int(nbytes), options)
    total = float(np.sum(seconds))
    return Run(schedule, network, int(nbytes), model, options, total, seconds)


def row(run: Run) -> dict[str, object]:
    """A run as a row of results, with the columns that measured runs have too.

    A barrier has no goodput.
    """
    is_barrier = run.schedule.collective == BARRIER
    where = columns(run.network)
    return {
        "topology": where["topology"],
        "algorithm": run.schedule.name,
        "variant": run.schedule.variant,
        "collective": run.schedule.collective,
        "ports": len(run.schedule.parts),
        "nbytes": run.nbytes,
        "seconds": run.seconds,
        "goodput_gbps": run.goodput * 8 / 1e9 if run.seconds and not is_barrier else None,
        "congestion": run.congestion,
        "model": run.model,
        "bandwidth_gbps": where["bandwidth_gbps"],
        "ties": where["ties"],
        "sync": run.options.sync,
        "parts": run.options.parts,
        "seed": run.options.seed,
        "machine": where["machine"],
    }
