"""The schedules of one block on a torus, as a problem for OR-tools' solver CP-SAT.

Two questions have the same variables. In a schedule *in place*, which is what this library runs,
every rank has one value of the block, a sum of some ranks' contributions. A message sends this
value, and its receiver adds it to its own or replaces its own by it. The *bound* only asks that
every rank hears of every contribution. It holds for all schedules: those in which ranks keep or
send several values, those that forward messages, and those of operations like the maximum, which
may count a contribution twice.
"""

from __future__ import annotations

import numpy as np
from front import Block, Message, diameter, neighbours
from ortools.sat.python import cp_model

from swing import Torus
from swing.ring import distance


class Model:
    """The schedules of one block on a torus, as a problem for CP-SAT.

    Args:
        torus: the ranks.
        collective: "allgather", of a block of rank 0, or "allreduce".
        steps: the number of steps.
        in_place: whether a rank has one value, and must not add a contribution twice.
    """

    def __init__(self, torus: Torus, collective: str, steps: int, in_place: bool) -> None:
        self.torus, self.steps, self.in_place = torus, steps, in_place
        self.problem = cp_model.CpModel()
        self.sources = range(torus.size if collective == "allreduce" else 1)
        new = self.problem.new_bool_var
        self.sends = {
            (t, u, v): new(f"{u} sends to {v} in step {t}")
            for t in range(steps)
            for u, v in neighbours(torus)
        }
        self.replaces = {
            (t, v): new(f"{v} replaces its value in step {t}")
            for t in range(steps if in_place else 0)
            for v in range(torus.size)
        }
        self.holds = {
            (t, v, w): self._held(t, v, w)
            for t in range(steps + 1)
            for v in range(torus.size)
            for w in self.sources
        }
        for t in range(steps):
            for v in range(torus.size):
                self._receive(t, v)
        if collective == "allreduce":
            self._help()

    def _held(self, t: int, v: int, w: int) -> cp_model.IntVar | bool:
        """Whether the value of rank v before step t has the contribution of rank w."""
        x, y = (np.unravel_index(rank, self.torus.dims) for rank in (v, w))
        hops = sum(
            int(distance(d, True, np.array(a), np.array(b)))
            for d, a, b in zip(self.torus.dims, x, y, strict=True)
        )
        if t == self.steps or hops > t or t == 0:
            return t == self.steps or v == w
        return self.problem.new_bool_var(f"{v} has the value of {w} before step {t}")

    def _receive(self, t: int, v: int) -> None:
        """What rank v has after step t: what it keeps and what its neighbours send."""
        into = {u: self.sends[t, u, v] for u, end in neighbours(self.torus) if end == v}
        keeps = ~self.replaces[t, v] if self.in_place else True
        if self.in_place:
            self.problem.add(sum(into.values()) == 1).only_enforce_if(self.replaces[t, v])
        for w in self.sources:
            values = [self._both(self.holds[t, v, w], keeps)]
            values += [self._both(self.holds[t, u, w], sent) for u, sent in into.items()]
            if self.in_place:
                self.problem.add(sum(values) == self.holds[t + 1, v, w])
            else:
                self.problem.add(sum(values) >= self.holds[t + 1, v, w])
        if len(self.sources) == 1:  # otherwise every rank has something to send
            for u, sent in into.items():
                self.problem.add_implication(sent, self.holds[t, u, 0])

    def _both(self, a: cp_model.IntVar | bool, b: cp_model.IntVar | bool) -> cp_model.IntVar | bool:
        """Whether a and b are true."""
        if isinstance(a, bool) or isinstance(b, bool):
            return (a and b) if isinstance(a, bool) else (b and a)
        both = self.problem.new_bool_var("")
        self.problem.add_multiplication_equality(both, [a, b])
        return both

    def _help(self) -> None:
        """State what follows from the rest or loses no generality, and speeds the search up.

        Every rank receives news of the farthest rank in step d - 1, counted from 0, or later, and
        sends its own contribution to it early enough. Rank 0 receives the most messages: any
        schedule may be shifted so.
        """
        far, ranks = diameter(self.torus), range(self.torus.size)
        for v in ranks:
            late = [x for (t, _, end), x in self.sends.items() if end == v and t >= far - 1]
            early = [x for (t, u, _), x in self.sends.items() if u == v and t <= self.steps - far]
            self.problem.add_bool_or(late)
            self.problem.add_bool_or(early)
        received = [sum(x for (_, _, end), x in self.sends.items() if end == v) for v in ranks]
        for messages in received[1:]:
            self.problem.add(received[0] >= messages)

    def block(self, solver: cp_model.CpSolver) -> Block:
        """Return the messages of the solution."""
        adds = len(self.sources) > 1
        return tuple(
            Message(t, u, v, adds and not (self.in_place and solver.value(self.replaces[t, v])))
            for (t, u, v), sent in self.sends.items()
            if solver.value(sent)
        )
