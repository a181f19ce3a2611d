"""Steps and rounds of schedules, and the points of a Pareto front as schedules that can be proven.

Time runs in k-synchronous steps, as in SCCL (Cai et al., "Synthesizing optimal collective
algorithms", PPoPP 2021). In a step, data cross one link. A step consists of rounds, and in a round
every link carries one block, which is 1/p of a vector. With smaller blocks a step may take a
fraction of a round: SCCL's R rounds with C chunks per rank are R/C rounds here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import netsim
import swing
from netsim.topologies.topology import Topology
from netsim.traffic.load import traffic
from swing.build.reversal import reverse
from swing.formats.files import store
from swing.schedules.blocks import one_block

CACHE = Path(__file__).parent / "data" / "optimal.json"
Loads = list[list[Fraction]]
"""For each step and each class of links, the rounds that one block's messages take."""


class Message(NamedTuple):
    """A message of one block between neighbours: its step, and whether its receiver reduces it."""

    step: int
    src: int
    dst: int
    reduces: bool


Block = tuple[Message, ...]
"""All messages of one block; in an allgather, of a block of rank 0."""
Mixture = tuple[tuple[int, Block], ...]
"""Schedules of one block, and how often each is repeated."""


def block_of(schedule: swing.Schedule, number: int) -> Block:
    """Return the messages of a block of a schedule, whether or not they are between neighbours."""
    messages = []
    for s, step in enumerate(schedule):
        row, block = step.blocks.flat()
        for i in row[block == number].tolist():
            messages.append(Message(s, int(step.src[i]), int(step.dst[i]), bool(step.reduces[i])))
    return tuple(messages)


def link_classes(torus: swing.Torus) -> list[list[int]]:
    """List the dimensions by equal sides; symmetries of the torus exchange those of one class.

    >>> link_classes(swing.Torus((3, 2, 3)))
    [[0, 2], [1]]
    """
    sides = dict.fromkeys(torus.dims[j] for j in torus.active)
    return [[j for j in torus.active if torus.dims[j] == d] for d in sides]


@cache
def neighbours(torus: swing.Torus) -> list[tuple[int, int]]:
    """List the pairs of ranks that have a link between them."""
    return sorted({(u, v) for u, v in netsim.topology(torus.name).ends.tolist()})


@cache
def class_of(torus: swing.Torus, src: int, dst: int) -> int:
    """Return the class of the links between two neighbours."""
    x, y = (np.unravel_index(rank, torus.dims) for rank in (src, dst))
    (j,) = (j for j in torus.active if x[j] != y[j])
    return next(c for c, dims in enumerate(link_classes(torus)) if j in dims)


def loads(torus: swing.Torus, block: Block, steps: int) -> Loads:
    """Return the rounds of each step on each class of links, if its links share the load evenly.

    The messages of p blocks, one shifted to each rank, are p times as many as those of one block,
    and a class of k dimensions has 2·k·p links.
    """
    classes = link_classes(torus)
    counts = [[0] * len(classes) for _ in range(steps)]
    for message in block:
        counts[message.step][class_of(torus, message.src, message.dst)] += 1
    return [[Fraction(n, 2 * len(c)) for n, c in zip(row, classes, strict=True)] for row in counts]


def rounds_of(torus: swing.Torus, mixture: Mixture, steps: int) -> Fraction:
    """Return the rounds of a mixture: in each step, those of its busiest class of links."""
    times, blocks = zip(*mixture, strict=True)
    each = np.array([loads(torus, block, steps) for block in blocks])  # (blocks, steps, classes)
    mean: np.ndarray = np.tensordot(np.array([*map(Fraction, times)]), each, 1) / sum(times)
    return Fraction(mean.max(axis=1).sum())


def simple_bound(torus: swing.Torus, collective: str, steps: int) -> Fraction:
    """Return the fewest rounds by counting messages: at least this many messages for each block.

    In an allgather, p - 1 ranks must receive the block. In an allreduce, let z be the first rank
    that knows of every other: by then each of the other p - 1 ranks has sent a message, and none of
    these p - 1 has heard of everything, so each will receive one. With fewer than 2d - 1 steps on a
    torus of diameter d there are 2p messages: every rank receives one in step d or later, from news
    of the farthest rank, and by the same argument backwards in time every rank sends one in step
    steps - d + 1 or earlier.
    """
    p, links = torus.size, 2 * len(torus.active)
    if collective == "allgather":
        return Fraction(p - 1, links)
    return Fraction(2 * p if steps < 2 * diameter(torus) - 1 else 2 * (p - 1), links)


def fewest_rounds(torus: swing.Torus, collective: str) -> Fraction:
    """Return the rounds that no number of steps goes below."""
    return simple_bound(torus, collective, 2 * diameter(torus))


def most_steps(torus: swing.Torus, collective: str) -> int:
    """Return the number of steps at which a search ends, if it has not found the fewest rounds.

    Twice the diameter is enough for an allreduce along trees, to their roots and back, if these
    load all links alike. On rectangles that takes longer.
    """
    if len(link_classes(torus)) == 1:
        return 2 * diameter(torus)
    return 2 * torus.size


def diameter(torus: swing.Torus) -> int:
    """Return the number of links between the ranks that are the farthest apart."""
    return sum(d // 2 for d in torus.dims)


@dataclass(frozen=True)
class Point:
    """What is known about the fewest rounds of a collective in a number of steps.

    Args:
        torus: the ranks.
        collective: "allgather" or "allreduce".
        steps: the number of steps.
        bound: rounds that every schedule takes, whatever its ranks keep and send.
        in_place_bound: rounds that every schedule in place takes; None if there is none.
        mixture: the best schedule in place: how often each block is repeated, and its messages;
            empty if none is known.
    """

    torus: swing.Torus
    collective: str
    steps: int
    bound: Fraction
    in_place_bound: Fraction | None
    mixture: Mixture

    @cached_property
    def rounds(self) -> Fraction | None:
        """The rounds of the best schedule in place that is known; None if none is."""
        if not self.mixture:
            return None
        return rounds_of(self.torus, self.mixture, self.steps)

    @property
    def chunks(self) -> int:
        """The number of blocks of each rank: SCCL's C; its R is `rounds` times as many."""
        return sum(n for n, _ in self.mixture) * len(symmetries(self.torus)) // self.torus.size

    def state(self, rounds: Fraction | None) -> str:
        """What is proven of a schedule in place with so many rounds; None if none is known."""
        if self.in_place_bound is None:
            return "impossible in place"
        if rounds == self.bound:
            return "optimal"
        return "optimal in place" if rounds == self.in_place_bound else "best known"

    @cached_property
    def schedule(self) -> swing.Schedule:
        """The best schedule known: the blocks of the mixture under all symmetries of the torus."""
        images = symmetries(self.torus)
        blocks = [block for n, block in self.mixture for _ in range(n)]
        rows = np.array([(*m, b) for b, block in enumerate(blocks) for m in block])
        nblocks = len(images) * len(blocks)

        def step(s: int) -> swing.Step:
            _, src, dst, reduces, block = rows[rows[:, 0] == s].T
            number = np.arange(len(images))[:, None] * len(blocks) + block
            return swing.Step(
                np.tile(reduces.astype(bool), len(images)),
                src=images[:, src].ravel(),
                dst=images[:, dst].ravel(),
                blocks=one_block(number.ravel()),
            )

        origin: Any = swing.ALL
        if self.collective == "allgather":
            origin = np.repeat(images[:, 0], len(blocks))
        return swing.Schedule(
            "optimal", self.torus, nblocks, self.steps, step, origin=origin, home=swing.ALL
        )

    @cached_property
    def same_bits(self) -> bool:
        """Whether all ranks add up in the same order, so that their results have the same bits."""
        return swing.verify(self.schedule).same_bits

    @property
    def reversed(self) -> swing.Schedule:
        """The schedule backwards in time: a reduce-scatter, from an allgather."""
        return reverse(self.schedule)

    def to_json(self) -> dict[str, Any]:
        """Return a value that `json.dumps` can write."""
        known = None if self.in_place_bound is None else str(self.in_place_bound)
        blocks = [{"times": n, "messages": [[*map(int, m)] for m in b]} for n, b in self.mixture]
        return {
            "torus": str(self.torus), "collective": self.collective, "steps": self.steps,
            "bound": str(self.bound), "in_place_bound": known, "blocks": blocks,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Point:
        """Return the point that `to_json` wrote."""
        known = value["in_place_bound"]
        mixture = tuple(
            (each["times"], tuple(Message(s, a, b, bool(r)) for s, a, b, r in each["messages"]))
            for each in value["blocks"]
        )
        return cls(
            swing.Torus.parse(value["torus"]), value["collective"], value["steps"],
            Fraction(value["bound"]), None if known is None else Fraction(known), mixture,
        )  # fmt: skip


def symmetries(torus: swing.Torus) -> np.ndarray:
    """Return (n, p) permutations of the ranks that together load all links of a class alike.

    These are the shifts of all ranks, together with reflections, which exchange the two directions,
    and rotations of the dimensions of a class.
    """
    at = np.stack(np.unravel_index(np.arange(torus.size), torus.dims))
    orders = []
    for turns in product(*(range(len(c)) for c in link_classes(torus))):
        order = np.arange(len(torus.dims))
        for dims, turn in zip(link_classes(torus), turns, strict=True):
            order[dims] = np.roll(dims, turn)
        orders.append(order)
    images = [
        np.ravel_multi_index(sign * at[order] + shift[:, None], torus.dims, mode="wrap")
        for order, sign, shift in product(orders, (1, -1), at.T)
    ]
    return np.unique(images, axis=0)


def read(path: Path = CACHE) -> list[Point]:
    """Read the points that are known."""
    values = json.loads(path.read_text()) if path.exists() else []
    return [Point.from_json(value) for value in values]


def write(points: Iterable[Point], path: Path = CACHE) -> None:
    """Write the points, one on each line."""
    ordered = sorted(points, key=lambda p: (p.torus.size, p.torus.dims, p.collective, p.steps))
    lines = ",\n".join(json.dumps(point.to_json()) for point in ordered)
    store([(path, [f"[\n{lines}\n]\n"])])


def steps_and_rounds(schedule: swing.Schedule, topology: Topology) -> tuple[int, float]:
    """Return the steps and rounds of any schedule on the links of a topology.

    A message over several links takes as many steps, one link in each, and the next step of the
    schedule begins after the last of them. A message with two shortest ways takes both by halves.
    """
    steps, rounds = 0, 0.0
    for step in schedule:
        sent = traffic(schedule, step)
        routes = topology.routes(sent.src, sent.dst, "split")
        route = routes.per_link()
        hop = np.arange(len(route)) - routes.ptr[route]
        share = (routes.share * sent.weight[routes.message])[route]
        load = np.zeros((int(hop.max(initial=-1)) + 1, topology.nlinks))
        np.add.at(load, (hop, routes.links), share)
        steps += len(load)
        rounds += float(load.max(axis=1).sum()) * topology.size
    return steps, rounds
