"""An exact search for the fewest rounds of a collective, by OR-tools: CP-SAT and linear programs.

It is enough to look at the messages of one block. Shifted to every rank, and under the torus's
other symmetries (`front.symmetries`), they are a schedule of all blocks that loads the links of a
class alike; and the mean over the blocks of any schedule, shifted back, has no busier links. So the
fewest rounds are those of the best mixture of schedules of one block. If all links are of one
class, this is the schedule with the fewest messages. Otherwise a linear program mixes schedules,
and its dual gives a cost to the messages of each step and class: the cheapest block under these
costs either proves the mixture optimal or improves it (column generation).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import lcm
from typing import NamedTuple

import front
from front import Block, Loads, Message, Mixture, Point, loads
from one_block import Model
from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from swing import Torus

Costs = list[list[Fraction]]
"""For each step and class of links, the cost of a round; the costs of a step add up to 1."""


@dataclass(frozen=True)
class Found:
    """The best mixture found, a proven bound, and the costs under which all blocks cost as much.

    The bound is None if there is no schedule.
    """

    bound: Fraction | None
    costs: Costs
    mixture: Mixture = ()


class Offer(NamedTuple):
    """A proven bound on the cost of all blocks, the time it took, and the cheapest block found.

    The bound is None if there is no schedule.
    """

    bound: Fraction | None
    seconds: float
    cost: Fraction = Fraction(0)
    block: Block | None = None


def least_rounds(
    torus: Torus, collective: str, steps: int, seconds: float, known: Sequence[Block] = ()
) -> Point:
    """Find the fewest rounds of a collective in a number of steps.

    Args:
        torus: the ranks.
        collective: "allgather" or "allreduce".
        steps: the number of steps.
        seconds: the limit of a search, in CP-SAT's deterministic time: roughly seconds. There are
            two, for the bound and for the schedule.
        known: schedules of one block in place, in at most these steps, to improve on.
    """
    search = Search(torus, collective, steps, seconds, known)
    weights = [Fraction(len(c), len(torus.active)) for c in front.link_classes(torus)]
    start = Found(front.simple_bound(torus, collective, steps), [weights] * steps)
    # In an allgather a rank has the block or not, so every schedule is in place.
    bound = start if collective == "allgather" else search.best_mixture(start, in_place=False)
    found = search.best_mixture(bound, in_place=True)
    proven = found.bound if collective == "allgather" else bound.bound
    return Point(torus, collective, steps, proven or start.bound, found.bound, found.mixture)


@dataclass(frozen=True)
class Search:
    """The search for the fewest rounds of a collective; the fields are those of `least_rounds`."""

    torus: Torus
    collective: str
    steps: int
    seconds: float
    known: Sequence[Block] = ()

    def best_mixture(self, known: Found, *, in_place: bool) -> Found:
        """Generate columns: add the cheapest block to the mixture until none improves it.

        Args:
            known: a bound, and costs under which it is known that no block costs less.
            in_place: whether ranks have one value each, see `one_block`.
        """
        costs, at_least, left = known.costs, known.bound, self.seconds
        blocks = [*self.known, *self.two_phases()]
        best = Found(known.bound, costs)
        rounds: Fraction | None = None
        if blocks:
            best, rounds, _ = self._mixed(blocks, best)
        while left > 0 and rounds != best.bound:
            offer = self.cheapest_block(costs, at_least, in_place=in_place, seconds=left)
            left -= offer.seconds
            if offer.bound is None:
                return Found(None, costs)
            if offer.bound > best.bound:
                best = Found(offer.bound, costs, best.mixture)
            if offer.block is None or (rounds is not None and offer.cost >= rounds):
                break
            blocks.append(offer.block)
            best, rounds, balance = self._mixed(blocks, best)
            if balance == costs:
                break
            costs, at_least = balance, Fraction(0)
        return best

    def two_phases(self) -> Iterator[Block]:
        """Yield allreduces that are an allgather backwards in time, followed by another one."""
        far = front.diameter(self.torus)
        for half in range(far, self.steps - far + 1) if self.collective == "allreduce" else ():
            phases = [
                least_rounds(self.torus, "allgather", steps, self.seconds).mixture
                for steps in (half, self.steps - half)
            ]
            for (_, scatter), (_, gather) in product(*phases):
                back = (Message(half - 1 - m.step, m.dst, m.src, True) for m in scatter)
                yield (*back, *(m._replace(step=half + m.step) for m in gather))

    def _mixed(self, blocks: list[Block], best: Found) -> tuple[Found, Fraction, Costs]:
        """Return the best mixture of blocks, its rounds, and costs under which no block has less.

        Args:
            blocks: schedules of one block.
            best: what to keep the bound of.
        """
        loaded = [loads(self.torus, each, self.steps) for each in blocks]
        shares, balance = balanced(loaded)
        mixture = tuple((n, each) for n, each in zip(shares, blocks, strict=True) if n)
        rounds = front.rounds_of(self.torus, mixture, self.steps)
        return Found(best.bound, best.costs, mixture), rounds, balance

    def cheapest_block(
        self, costs: Costs, at_least: Fraction, *, in_place: bool, seconds: float
    ) -> Offer:
        """Search for the cheapest schedule of one block.

        Args:
            costs: the cost of a round.
            at_least: a cost below which no block is known to be; the search ends if it is reached.
            in_place: as in `best_mixture`.
            seconds: the limit of the search, as in `least_rounds`.
        """
        model = Model(self.torus, self.collective, self.steps, in_place)
        classes = front.link_classes(self.torus)
        each = [[w / (2 * len(c)) for w, c in zip(row, classes, strict=True)] for row in costs]
        unit = lcm(*(cost.denominator for row in each for cost in row))
        total = sum(
            int(each[t][front.class_of(self.torus, u, v)] * unit) * sent
            for (t, u, v), sent in model.sends.items()
        )
        model.problem.add(total >= int(at_least * unit))
        model.problem.minimize(total)
        solver = cp_model.CpSolver()
        # By the work done instead of a clock, the search ends at the same place on every machine.
        solver.parameters.max_deterministic_time = seconds
        solver.parameters.num_workers = 1  # reproducible, and here faster than several
        status = solver.solve(model.problem)
        if status == cp_model.INFEASIBLE:
            return Offer(None, seconds)
        bound = Fraction(round(solver.best_objective_bound), unit)
        spent = solver.response_proto.deterministic_time
        if status == cp_model.UNKNOWN:
            return Offer(bound, spent)
        cost = Fraction(round(solver.objective_value), unit)
        return Offer(bound, spent, cost, model.block(solver))


def balanced(blocks: list[Loads]) -> tuple[list[int], Costs]:
    """Mix schedules of one block so that the busiest links of each step are the least busy.

    Args:
        blocks: the loads of each schedule.

    Returns:
        How often to repeat each schedule, and the cost of a round on each class of links in each
        step, under which none of them costs less than the mixture. Both are exact fractions near
        the floating-point solution: any of them is a mixture, and a cost.
    """
    if len(blocks[0][0]) == 1:
        best = min(range(len(blocks)), key=lambda k: sum(row[0] for row in blocks[k]))
        return [int(k == best) for k in range(len(blocks))], [[Fraction(1)]] * len(blocks[0])
    solver = pywraplp.Solver.CreateSolver("GLOP")
    shares = [solver.NumVar(0, 1, "") for _ in blocks]
    solver.Add(sum(shares) == 1)
    rounds = [solver.NumVar(0, solver.infinity(), "") for _ in blocks[0]]
    limits = [
        [
            solver.Add(sum(float(b[t][c]) * x for b, x in zip(blocks, shares, strict=True)) <= most)
            for c in range(len(blocks[0][t]))
        ]
        for t, most in enumerate(rounds)
    ]
    solver.Minimize(sum(rounds))
    solver.Solve()
    parts = [Fraction(x.solution_value()).limit_denominator(60) for x in shares]
    unit = lcm(*(part.denominator for part in parts))
    value = Fraction(solver.Objective().Value()).limit_denominator(360)
    times = repetitions(blocks, value) or [int(part * unit) for part in parts]
    duals = [[max(0.0, -limit.dual_value()) for limit in row] for row in limits]
    costs = [[Fraction(x).limit_denominator(360) for x in row] for row in duals]
    even = [[Fraction(1, len(row))] * len(row) for row in costs]
    return times, [
        [x / sum(row) for x in row] if any(row) else spare
        for row, spare in zip(costs, even, strict=True)
    ]


def repetitions(blocks: list[Loads], rounds: Fraction) -> list[int]:
    """Return how often to repeat each schedule so that together they take no more than the rounds.

    They are as few as possible. The list is empty if there are none, or too many.
    """
    problem = cp_model.CpModel()
    unit = lcm(*(load.denominator for block in blocks for step in block for load in step))
    times = [problem.new_int_var(0, 360, "") for _ in blocks]
    busiest = [problem.new_int_var(0, 2**40, "") for _ in blocks[0]]
    for t, most in enumerate(busiest):
        for c in range(len(blocks[0][t])):
            loaded = [int(b[t][c] * unit) * n for b, n in zip(blocks, times, strict=True)]
            problem.add(sum(loaded) <= most)
    problem.add(sum(times) >= 1)
    problem.add(rounds.denominator * sum(busiest) <= rounds.numerator * unit * sum(times))
    problem.minimize(sum(times))
    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = 1
    solver.parameters.num_workers = 1
    found = solver.solve(problem) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return [solver.value(n) for n in times] if found else []
