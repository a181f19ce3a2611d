"""Message graph: the messages of a schedule on a network, their routes and their dependencies.

It is the common input of the flow and packet models. Sizes are kept per byte of the vector, so that
one graph serves all sizes of a sweep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby

import numpy as np

from netsim.checks import check_choice, check_number
from netsim.network import Network
from netsim.topologies.routes import Routes
from netsim.traffic.load import check_dims
from netsim.traffic.messages import Links, Messages
from netsim.traffic.symmetry import Folded, Whole, fold
from swing.ring import distance
from swing.schedules.body import Body
from swing.schedules.schedule import Schedule
from swing.schedules.step import Step
from swing.torus import Array

SYNC = {
    "rank": "the messages that it sends and those that it receives in the step have arrived",
    "local": "the messages that it receives have arrived, and those that it sends have left: all "
    "their packets have passed the first link, or all bytes of a flow are under way",
    "receives": "the messages that it receives have arrived",
    "step": "all messages of the step have arrived, at all ranks",
}
"""Rules for when a rank begins its next step."""

PARTS = {
    "schedule": "at the end of every phase; in most schedules each step is a phase (lockstep)",
    "free": "at the beginning and end of phases of several steps only; there is no lockstep",
    "steps": "at the end of every step, whatever its phase",
}
"""Rules for when the parts of a schedule wait for each other."""

FOLLOWED_STEPS = 16
"""Steps of a run of equal ones that are simulated; the rest repeat the second half of these."""


MAX_MESSAGES = 10**8
"""Limit on simulated messages; ten million take about a gigabyte of memory."""

MAX_ORIENTED = 10**7
"""Nodes that messages may pass, all together, if nodes are to be told apart by their routers.

Each takes about 110 bytes of memory and most of a microsecond a packet. Where there would be more,
the packet model leaves channels and the order of ports out, so that nodes are equivalent that
differ only in these. On 64x64 that makes a run up to a hundred times as fast, and changes the times
of Swing, recursive doubling of both kinds and bucket by 1 % at most (32 KiB to 8 MiB).
"""


@dataclass(frozen=True)
class RunOptions:
    """How a collective is run, apart from schedule, network and size.

    Args:
        seed: for random ties and skew.
        sync: a rule of `SYNC`.
        parts: a rule of `PARTS`.
        skew: seconds within which the ranks start, at random.
        delay: slow ranks: seconds that a rank needs after each step in which it receives, by rank.
        fold: whether equivalent nodes are simulated once, see `netsim.traffic.symmetry`.

    Raises:
        ValueError: an unknown rule, or a skew or delay that is negative or not finite.
    """

    seed: int = 0
    sync: str = "rank"
    parts: str = "schedule"
    skew: float = 0.0
    delay: Mapping[int, float] = field(default_factory=dict, hash=False)
    fold: bool = True

    def __post_init__(self) -> None:
        check_choice("sync", self.sync, SYNC)
        check_choice("parts", self.parts, PARTS)
        check_number("skew", self.skew)
        for rank, seconds in self.delay.items():
            check_number(f"delay of rank {rank}", seconds)

    def starts(self, p: int) -> np.ndarray:
        """(p,) seconds at which the ranks start, drawn with the seed."""
        return np.random.default_rng((self.seed, p)).uniform(0, self.skew, p)

    def delays(self, p: int) -> np.ndarray:
        """(p,) seconds that each rank needs after a step in which it receives.

        Raises:
            ValueError: a delay for a rank that does not exist.
        """
        seconds = np.zeros(p)
        for rank, delay in self.delay.items():
            if not 0 <= rank < p:
                raise ValueError(f"there is no rank {rank} to delay: ranks go from 0 to {p - 1}")
            seconds[rank] = delay
        return seconds


def kept_steps(schedule: Schedule) -> Array:
    """(nsteps,) for every step the simulated step that stands for it.

    Of a run of equal steps the first `FOLLOWED_STEPS` are simulated, and the last of these stands
    for all later ones. Steps in lockstep are equal if their signatures are. A phase of several
    steps, in which the parts run on their own, is a run if all its steps have one signature and no
    two parts have the same sender and receiver: parts that share links, as segments do, drift apart
    to the end of the phase.
    """
    phases: dict[Hashable, list[int]] = {}
    for s in range(schedule.nsteps):
        phases.setdefault(schedule.sync_phase(s), []).append(s)
    runs = {
        phase: len(steps) > FOLLOWED_STEPS
        and len(set(map(schedule.signature, steps))) == 1
        and _parts_differ(schedule.step(steps[0]))
        for phase, steps in phases.items()
    }

    def run_key(s: int) -> Hashable:
        phase = schedule.sync_phase(s)
        if len(phases[phase]) == 1:
            return "lockstep", schedule.signature(s)
        return ("phase", phase) if runs[phase] else s

    stand_in = np.arange(schedule.nsteps)
    for _, run in groupby(range(schedule.nsteps), key=run_key):
        steps = list(run)
        stand_in[steps[FOLLOWED_STEPS:]] = steps[FOLLOWED_STEPS - 1 : FOLLOWED_STEPS]
    return stand_in


def _parts_differ(step: Step) -> bool:
    """Return whether no two parts have a message from the same sender to the same receiver."""
    pairs = np.unique(np.stack([step.src, step.dst, step.part]), axis=1)[:2]
    return np.unique(pairs, axis=1).shape == pairs.shape


def step_seconds(schedule: Schedule, messages: Messages, arrival: np.ndarray) -> np.ndarray:
    """(nsteps,) seconds that every step adds to the end of all steps before it.

    Of a long run of equal steps only the first are simulated (`kept_steps`). The others repeat the
    second half of these, by which time the start-up is over: where steps lead over short and long
    links in turn, they still do.
    """
    end = np.zeros(schedule.nsteps)
    np.maximum.at(end, messages.step, arrival + messages.cost)
    added = np.diff(np.maximum.accumulate(end), prepend=0.0)
    stand_in = kept_steps(schedule)
    skipped = np.flatnonzero(stand_in != np.arange(schedule.nsteps))
    last, repeated = stand_in[skipped], FOLLOWED_STEPS // 2
    added[skipped] = added[last - repeated + 1 + (skipped - last - 1) % repeated]
    return added


def messages_of(
    schedule: Schedule, network: Network, nbytes: int, options: RunOptions = RunOptions(),
    oriented: bool = False,
) -> tuple[Messages, Links]:  # fmt: skip
    """The messages of the steps that `kept_steps` simulates, and their links.

    One node and one link stand for each class of equivalent ones, see `netsim.traffic.symmetry`.

    Args:
        schedule: the steps.
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.
        options: how the schedule is run.
        oriented: whether nodes are equivalent only if their routers are, see `symmetry.fold`. This
            is given up where messages would pass more than `MAX_ORIENTED` nodes.

    Raises:
        ValueError: the schedule and the topology have different dimensions, or there are more than
            `MAX_MESSAGES` messages.
    """
    check_dims(schedule, network.topology)
    messages, links, fixed_cost = _messages(schedule, network, options, oriented)
    cost = messages.cost * nbytes + fixed_cost
    return replace(messages, nbytes=messages.nbytes * nbytes, cost=cost), links


@lru_cache(maxsize=1)  # a sweep asks for one schedule at many sizes
def _messages(
    schedule: Schedule, network: Network, options: RunOptions, oriented: bool
) -> tuple[Messages, Links, np.ndarray]:
    """The result of `messages_of` for one byte, and (m,) the cost for zero bytes."""
    # A torus too large even for one step is refused before any step is made.
    _check_count(schedule, schedule.torus.size if schedule.torus.size > MAX_MESSAGES else 1, 1)
    kept = np.unique(kept_steps(schedule)).tolist()
    equivalent = options.fold and not options.skew and not options.delay
    nodes = fold(schedule, network, kept, oriented) if equivalent else Whole(schedule, network)
    if oriented and equivalent and nodes.links.nodes * _passed(schedule, kept) > MAX_ORIENTED:
        nodes = fold(schedule, network, kept)
    _check_count(schedule, nodes.links.nodes, len(kept))
    table = _Table(nodes, options)
    length = Counter(map(schedule.sync_phase, range(schedule.nsteps)))

    def phase(s: int) -> Hashable:
        # With parts="free" successive phases of one step become one phase, in which parts run on
        # their own.
        number = schedule.sync_phase(s)
        if options.parts == "steps":
            return s
        return None if options.parts == "free" and length[number] == 1 else (number,)

    for _, steps in groupby(kept, key=phase):
        table.add_phase(list(steps))
    return table.messages()


def _count(schedule: Schedule, nodes: int, nsteps: int) -> int:
    return nsteps * nodes * len(schedule.parts)


def _passed(schedule: Schedule, kept: Sequence[int]) -> int:
    """Nodes that rank 0's messages of some steps pass, on a torus or mesh of the schedule."""
    torus, sends = schedule.torus, schedule.rank(0).sends
    peers = sends.peer[np.isin(sends.step, kept)]
    home, ends = (np.unravel_index(torus.node_of[r], torus.dims) for r in ([0], peers))
    rings = zip(torus.dims, torus.wrap, home, ends, strict=True)
    return len(peers) + sum(int(distance(*ring).sum()) for ring in rings)


def _check_count(schedule: Schedule, nodes: int, nsteps: int) -> None:
    count = _count(schedule, nodes, nsteps)
    if count > MAX_MESSAGES:
        raise ValueError(
            f"{schedule.name} on {schedule.torus} has about {count} messages to simulate, "
            f"more than {MAX_MESSAGES}: use model='analytic'"
        )


def with_ends(messages: Messages, links: Links, network: Network) -> tuple[Messages, Links]:
    """Add the links between nodes and their routers, if they can be a bottleneck.

    An injection link can if it carries less than all links out of some node together; then every
    route begins with its sender's. The same goes for ejection links at the ends of routes.
    """
    limits = network.injection_bandwidth, network.ejection_bandwidth
    limited = [
        limit is not None and limit < rate
        for limit, rate in zip(limits, network.node_rates, strict=True)
    ]
    injects, ejects = map(int, limited)
    if not (injects or ejects):
        return messages, links
    hops = np.diff(messages.link_ptr)
    message = np.repeat(np.arange(len(messages)), np.diff(messages.route_ptr))
    ptr = messages.link_ptr + (injects + ejects) * np.arange(len(messages.link_ptr))
    crossed = np.empty(ptr[-1], dtype=np.int64)
    before = (injects + ejects) * np.repeat(np.arange(len(hops)), hops) + injects
    crossed[np.arange(len(messages.links)) + before] = messages.links
    if injects:
        crossed[ptr[:-1]] = len(links.bandwidth) + messages.src[message]
    if ejects:
        first = len(links.bandwidth) + injects * links.nodes
        crossed[ptr[1:] - 1] = first + messages.dst[message]
    ends = np.repeat(np.array(limits, dtype=float)[limited], links.nodes)
    return replace(messages, link_ptr=ptr, links=crossed), links._replace(
        bandwidth=np.concatenate([links.bandwidth, ends]),
        latency=np.concatenate([links.latency, np.zeros_like(ends)]),
    )


class _Table:
    """Builds the messages phase by phase. ``waits_for`` is the group that each node waits for."""

    def __init__(self, nodes: Whole | Folded, options: RunOptions) -> None:
        self.nodes, self.options = nodes, options
        self.schedule, self.network = nodes.schedule, nodes.network
        ranks, p = self.schedule.torus.rank_of, self.schedule.torus.size
        self.start, self.delay = options.starts(p)[ranks], options.delays(p)[ranks]
        # Each column begins empty, so that there is something to join where nothing is sent.
        none, nothing = np.zeros(0, dtype=np.int64), np.zeros(0)
        self.columns: list[list[np.ndarray]] = [
            [none, none, nothing, none, none, nothing, none, none, none, nothing, nothing]
        ]
        self.routes = [Routes.single(none, none)]
        nnodes = nodes.links.nodes
        max_groups = nnodes * (self.schedule.nsteps + 1) * (len(self.schedule.parts) + 1)
        self.pending_count = np.zeros(max_groups, dtype=np.int64)
        self.successor = np.full(max_groups, -1)
        self.ngroups = 0
        self.waits_for = np.full(nnodes, -1)

    def add_phase(self, steps: list[int]) -> None:
        """Add the steps of a phase; if there are several, each part runs them on its own."""
        if len(steps) == 1:
            self.waits_for = self.add_step(steps[0], self.schedule.body, self.waits_for)
            return
        ends = []
        for part in range(len(self.schedule.parts)):
            body, waits_for = self.schedule.part(part), self.waits_for
            for s in steps:
                waits_for = self.add_step(s, body, waits_for)
            ends.append(waits_for)
        # The parts of a rank meet in a group without messages: it waits for the last group of each
        # part in which the rank took part.
        active = [waits_for != self.waits_for for waits_for in ends]
        join = self._open(np.sum(active, axis=0), np.full_like(self.waits_for, -1))
        for waits_for, ranks in zip(ends, active, strict=True):
            self.successor[waits_for[ranks]] = join[ranks]
        self.waits_for = np.where(join >= 0, join, self.waits_for)

    def add_step(self, s: int, body: Body, waits_for: Array) -> Array:
        """Add the messages that a body has in step s, and their groups.

        Returns:
            (nodes,) the group that each node waits for afterwards.
        """
        rows = self.nodes.rows(body, s, (self.options.seed, s))
        (src, dst, share), reduces, routes = rows[:3]
        if not len(src):
            return waits_for
        # A barrier is one group for all: node 0 stands for every node.
        sync, p = self.options.sync, len(waits_for)
        sender, receiver = (
            np.zeros_like(nodes) if sync == "step" else nodes for nodes in (src, dst)
        )
        count = np.bincount(receiver, minlength=p)
        waits_for_sends = sync in ("rank", "local")
        if waits_for_sends:
            count += np.bincount(sender, minlength=p)
        group = self._open(count, waits_for)
        sender_group = group[sender] if waits_for_sends else np.full_like(sender, -1)
        cost = np.zeros_like(share)
        if self.network.gamma:
            # The messages of a step come together and a rank reduces them one after the other, so
            # each costs the time of all.
            reduced = np.bincount(dst, np.where(reduces, share, 0.0), p)[dst]
            cost = np.where(reduces, self.network.gamma * reduced, 0.0)
        ready, steps = self.start[src], np.full_like(src, s)
        fixed_cost = (
            self.delay[dst] + self.network.receive_overhead * np.bincount(dst, minlength=p)[dst]
        )
        self.columns.append(
            [src, dst, share, steps, waits_for[sender], ready, group[receiver], sender_group,
             rows.peer, cost, fixed_cost]
        )  # fmt: skip
        self.routes.append(routes)
        return np.where(group >= 0, group, waits_for)

    def _open(self, count: Array, waits_for: Array) -> Array:
        """(p,) a new group for each rank with events to wait for, -1 for the other ranks.

        The new group becomes the successor of the rank's group before it, unless that one already
        has a successor. It has one where the second and later parts of a phase begin: their
        messages wait for the group before themselves.

        Args:
            count: (p,) number of messages that each rank's group waits for.
            waits_for: (p,) the group before, -1 for none.
        """
        group = np.full_like(waits_for, -1)
        ranks = np.flatnonzero(count)
        new = self.ngroups + np.arange(len(ranks))
        self.ngroups += len(ranks)
        group[ranks] = new
        before = waits_for[ranks]
        linked = (before >= 0) & (self.successor[before] < 0)
        self.pending_count[new] = count[ranks] + linked
        self.successor[before[linked]] = new[linked]
        return group

    def messages(self) -> tuple[Messages, Links, np.ndarray]:
        """The messages for one byte, their links, and (m,) the cost for zero bytes."""
        (
            src, dst, share, step, waits_for, ready, receiver_group, sender_group, peer, cost,
            fixed_cost,
        ) = (np.concatenate(column) for column in zip(*self.columns, strict=True))  # fmt: skip
        routes, links = Routes.join(self.routes), self.nodes.links
        latency = np.bincount(routes.per_link(), links.latency[routes.links], len(routes.share))
        messages = Messages(
            src=src,
            dst=dst,
            nbytes=share,
            step=step,
            waits_for=waits_for,
            ready=ready,
            signals=np.stack([receiver_group, sender_group], axis=1),
            pending_count=self.pending_count[: self.ngroups],
            successor=self.successor[: self.ngroups],
            route_ptr=np.append(0, np.cumsum(np.bincount(routes.message, minlength=len(src)))),
            share=routes.share,
            link_ptr=routes.ptr,
            links=routes.links,
            latency=latency + self.network.end_latency,
            peer=peer,
            cost=cost,
        )
        return messages, links, fixed_cost
