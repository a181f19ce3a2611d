"""From a schedule on a network to flat arrays of messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import groupby

import numpy as np

from netsim.checks import check_number
from netsim.network import Network
from netsim.topologies.routes import Ways
from netsim.traffic.load import check_dims
from netsim.traffic.messages import Links, Messages
from netsim.traffic.symmetry import Folded, Whole, fold
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Array

SYNC = ("rank", "local", "receives", "step")
"""When a rank begins its next step.

- rank: its own messages of the step, those sent and those received, have arrived.
- local: those received have arrived, and those sent have left: packets have passed their first
  link, and of a flow only the way is left.
- receives: those received have arrived.
- step: all messages of the step have arrived, anywhere.
"""

PARTS = ("schedule", "free")
"""When the parts of a schedule meet.

- schedule: where its phases change, for most after every step (lockstep).
- free: only between phases of several steps; lockstep is not kept.
"""

FOLLOWED_STEPS = 16
"""Steps that are followed of a run of equal ones; the others take the mean of their second half."""


MAX_MESSAGES = 10**8
"""Messages that are followed one by one; ten million take about a gigabyte."""


@dataclass(frozen=True)
class RunOptions:
    """How a collective is run, apart from schedule, network and size.

    Args:
        seed: for random ties and skew.
        sync: a rule of `SYNC`.
        parts: a rule of `PARTS`.
        skew: ranks start at random within so many seconds.
        delay: seconds that a rank needs for each message it receives, by rank: slow ranks.
        fold: whether nodes that are alike are followed once, see `netsim.traffic.symmetry`.
    """

    seed: int = 0
    sync: str = "rank"
    parts: str = "schedule"
    skew: float = 0.0
    delay: Mapping[int, float] = field(default_factory=dict, hash=False)
    fold: bool = True

    def __post_init__(self) -> None:
        if self.sync not in SYNC:
            raise ValueError(f"sync must be one of {', '.join(SYNC)}, not {self.sync!r}")
        if self.parts not in PARTS:
            raise ValueError(f"parts must be one of {', '.join(PARTS)}, not {self.parts!r}")
        check_number("skew", self.skew)
        for rank, seconds in self.delay.items():
            check_number(f"delay of rank {rank}", seconds)

    def starts(self, p: int) -> np.ndarray:
        """(p,) seconds at which the ranks start."""
        return np.random.default_rng((self.seed, p)).uniform(0, self.skew, p)

    def delays(self, p: int) -> np.ndarray:
        """(p,) seconds that the ranks need for each message they receive."""
        seconds = np.zeros(p)
        for rank, more in self.delay.items():
            if not 0 <= rank < p:
                raise ValueError(f"there is no rank {rank} to delay: ranks go from 0 to {p - 1}")
            seconds[rank] = more
        return seconds


def kept_steps(schedule: Schedule) -> Array:
    """(nsteps,) for every step the one that is followed in its stead.

    Of a run of equal steps the first `FOLLOWED_STEPS` are followed. Steps in lockstep are equal if
    they have the same pattern; a phase in which parts run on their own is a run if all its steps
    have.
    """
    phases: dict[Hashable, set[Hashable]] = {}
    length = Counter(map(schedule.sync_phase, range(schedule.nsteps)))
    for s in range(schedule.nsteps):
        phases.setdefault(schedule.sync_phase(s), set()).add(schedule.signature(s))

    def alike(s: int) -> Hashable:
        phase = schedule.sync_phase(s)
        if length[phase] == 1:
            return "lockstep", schedule.signature(s)
        return ("phase", phase) if len(phases[phase]) == 1 else s

    follow = np.arange(schedule.nsteps)
    for _, run in groupby(range(schedule.nsteps), key=alike):
        steps = list(run)
        follow[steps[FOLLOWED_STEPS:]] = steps[FOLLOWED_STEPS - 1 : FOLLOWED_STEPS]
    return follow


def messages_of(
    schedule: Schedule, network: Network, nbytes: int, options: RunOptions = RunOptions()
) -> tuple[Messages, Links]:
    """The messages of the steps of a schedule that `kept_steps` follows, and their links.

    Of nodes and links that are alike, see `netsim.traffic.symmetry`, one stands for all.

    Raises:
        ValueError: a schedule for other dimensions than the topology's, or with too many messages.
    """
    check_dims(schedule, network.topology)
    messages, links, late = _messages(schedule, network, options)
    cost = messages.cost * nbytes + late
    return replace(messages, nbytes=messages.nbytes * nbytes, cost=cost), links


@lru_cache(maxsize=1)  # a sweep asks for one schedule at many sizes
def _messages(
    schedule: Schedule, network: Network, options: RunOptions
) -> tuple[Messages, Links, np.ndarray]:
    """As `messages_of` for one byte; and the part of the cost that no byte adds to."""
    _check_count(schedule, schedule.torus.size if schedule.torus.size > MAX_MESSAGES else 1, 1)
    kept = np.unique(kept_steps(schedule)).tolist()
    alike = options.fold and not options.skew and not options.delay
    where = fold(schedule, network, kept) if alike else Whole(schedule, network)
    _check_count(schedule, where.links.nodes, len(kept))
    table = _Table(where, options)
    length = Counter(map(schedule.sync_phase, range(schedule.nsteps)))

    def phase(s: int) -> Hashable:
        found = schedule.sync_phase(s)
        return None if options.parts == "free" and length[found] == 1 else (found,)

    for _, steps in groupby(kept, key=phase):
        table.add_phase(list(steps))
    return table.messages()


def _check_count(schedule: Schedule, nodes: int, nsteps: int) -> None:
    count = nsteps * nodes * len(schedule.parts)
    if count > MAX_MESSAGES:
        raise ValueError(
            f"{schedule.name} on {schedule.torus} has about {count} messages to follow, "
            f"more than {MAX_MESSAGES}: use model='analytic'"
        )


def with_ends(messages: Messages, links: Links, network: Network) -> tuple[Messages, Links]:
    """Messages and links, with nodes' own links where they count.

    They do where a node's links to others could carry more: then each way begins with the link
    that injects, and ends with the one that ejects.
    """
    most = network.topology.least_ports * network.bandwidth
    given = network.injection_bandwidth, network.ejection_bandwidth
    rates = [most if rate is None else rate for rate in given]
    if min(rates) >= most:
        return messages, links
    hops = np.diff(messages.link_ptr)
    message = np.repeat(np.arange(len(messages)), np.diff(messages.way_ptr))
    ptr = messages.link_ptr + 2 * np.arange(len(messages.link_ptr))
    passed, nlinks = np.empty(ptr[-1], dtype=np.int64), len(links.bandwidth)
    passed[ptr[:-1]] = nlinks + messages.src[message]
    passed[ptr[1:] - 1] = nlinks + links.nodes + messages.dst[message]
    passed[np.arange(len(messages.links)) + 2 * np.repeat(np.arange(len(hops)), hops) + 1] = (
        messages.links
    )
    ends = np.repeat(rates, links.nodes)
    return replace(messages, link_ptr=ptr, links=passed), Links(
        links.nodes,
        np.concatenate([links.bandwidth, ends]),
        np.concatenate([links.latency, np.zeros_like(ends)]),
        np.concatenate([links.credit, np.zeros_like(ends)]),
    )


class _Table:
    """Messages in the making, phase by phase; ``waits_for`` is what each rank waits for next."""

    def __init__(self, where: Whole | Folded, options: RunOptions) -> None:
        self.where, self.options = where, options
        self.schedule, self.network = where.schedule, where.network
        ranks, p = self.schedule.torus.rank_of, self.schedule.torus.size
        self.start, self.delay = options.starts(p)[ranks], options.delays(p)[ranks]
        self.columns: list[list[np.ndarray]] = []
        self.ways: list[Ways] = []
        nodes = where.links.nodes
        most = nodes * (self.schedule.nsteps + 1) * (len(self.schedule.parts) + 1)
        self.pending_count = np.zeros(most, dtype=np.int64)
        self.successor = np.full(most, -1)
        self.ngroups = 0
        self.waits_for = np.full(nodes, -1)

    def add_phase(self, steps: list[int]) -> None:
        """Its steps, one after the other; where there are several, each part for itself."""
        if len(steps) == 1:
            self.waits_for = self.add_step(steps[0], self.schedule.step(steps[0]), self.waits_for)
            return
        ends = []
        made = {s: self.schedule.step(s) for s in steps}
        for part in range(len(self.schedule.parts)):
            waits_for = self.waits_for
            for s in steps:
                waits_for = self.add_step(s, made[s].only(part), waits_for)
            ends.append(waits_for)
        # Where the ranks' parts meet again: a group that only waits for the last ones of them.
        moved = [waits_for != self.waits_for for waits_for in ends]
        meet = self._open(np.sum(moved, axis=0), np.full_like(self.waits_for, -1))
        for waits_for, some in zip(ends, moved, strict=True):
            self.successor[waits_for[some]] = meet[some]
        self.waits_for = np.where(meet >= 0, meet, self.waits_for)

    def add_step(self, s: int, step: Step, waits_for: Array) -> Array:
        """Its messages and their groups; what each node waits for afterwards."""
        (src, dst, share), ways = self.where.rows(step, (self.options.seed, s))
        if not len(src):
            return waits_for
        # With a barrier all nodes wait for what node 0 waits for.
        sync, p = self.options.sync, len(waits_for)
        sender, receiver = (
            np.zeros_like(nodes) if sync == "step" else nodes for nodes in (src, dst)
        )
        waits = np.bincount(receiver, minlength=p)
        both = sync in ("rank", "local")
        if both:
            waits += np.bincount(sender, minlength=p)
        group = self._open(waits, waits_for)
        own = group[sender] if both else np.full_like(sender, -1)
        cost = np.zeros_like(share)
        if self.network.gamma:
            ops = np.broadcast_to(np.asarray(step.op, dtype=object), len(src))
            # A rank reduces one message after the other, and they come together.
            todo = np.bincount(dst, np.where(ops == Op.REDUCE, share, 0.0), p)[dst]
            cost = np.where(ops == Op.REDUCE, self.network.gamma * todo, 0.0)
        ready, steps = self.start[src], np.full_like(src, s)
        late = self.delay[dst] + self.network.receive_overhead * np.bincount(dst, minlength=p)[dst]
        self.columns.append(
            [src, dst, share, steps, waits_for[sender], ready, group[receiver], own, cost, late]
        )
        self.ways.append(ways)
        return np.where(group >= 0, group, waits_for)

    def _open(self, waits: Array, waits_for: Array) -> Array:
        """(p,) a new group for each rank that waits for something, -1 for the others.

        It also waits for the rank's group before it, unless another one follows that already:
        then the parts of a phase begin, and their messages wait for it themselves.
        """
        group = np.full_like(waits_for, -1)
        ranks = np.flatnonzero(waits)
        new = self.ngroups + np.arange(len(ranks))
        self.ngroups += len(ranks)
        group[ranks] = new
        before = waits_for[ranks]
        linked = (before >= 0) & (self.successor[before] < 0)
        self.pending_count[new] = waits[ranks] + linked
        self.successor[before[linked]] = new[linked]
        return group

    def messages(self) -> tuple[Messages, Links, np.ndarray]:
        """All that was added; seconds that do not depend on bytes until each counts."""
        src, dst, share, step, waits_for, ready, signals, own, cost, late = (
            np.concatenate([np.zeros(0), *c]) for c in zip(*self.columns, strict=True)
        ) if self.columns else [np.zeros(0)] * 10  # fmt: skip
        whole = [a.astype(np.int64) for a in (src, dst, step, waits_for, signals, own)]
        count = [np.bincount(w.message) for w in self.ways]
        hops = np.concatenate([np.zeros(0, dtype=np.int64), *(np.diff(w.ptr) for w in self.ways)])
        passed = np.concatenate([np.zeros(0, dtype=np.int64), *(w.links for w in self.ways)])
        per_way = np.repeat(np.arange(len(hops)), hops)
        links = self.where.links
        latency = np.bincount(per_way, links.latency[passed], len(hops))
        messages = Messages(
            whole[0], whole[1], share, whole[2], whole[3], ready,
            np.stack([whole[4], whole[5]], axis=1),
            self.pending_count[: self.ngroups], self.successor[: self.ngroups],
            np.append(0, np.cumsum(np.concatenate([np.zeros(0, dtype=np.int64), *count]))),
            np.concatenate([np.zeros(0), *(w.share for w in self.ways)]),
            np.append(0, np.cumsum(hops)), passed, latency + self.network.end_latency, cost,
        )  # fmt: skip
        return messages, links, late
