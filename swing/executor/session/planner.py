"""Planner: resolve a call's algorithm, prove the schedule, and compile and cache its plan."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from mpi4py import MPI

from swing.algorithms import SHIPPED
from swing.byte_cache import ByteCache
from swing.executor.mpi_abi import EAGER
from swing.executor.plan.order import RankOrder, rank_order
from swing.executor.plan.plan import Plan, compile_plan
from swing.executor.session.call import AlgorithmSpec, Options
from swing.executor.session.infer_torus import check_size, shape_of
from swing.schedules.body import Function
from swing.schedules.schedule import Schedule
from swing.select.choose import choose, schedule
from swing.settings import MACHINE
from swing.torus import Torus
from swing.verification.proof import verify

PIECE = 2**18
"""Bytes of a piece of a message: small enough to be reduced while it is still in the cache."""

SHORT = 2**13
"""Bytes of the longest vector that is sent in pieces of `EAGER` bytes: a message longer than
`EAGER` would wait until the receiver is ready."""

_plans = ByteCache[Plan](2**23, lambda plan: plan.code.nbytes)
_orders = ByteCache[RankOrder](2**23, lambda order: order.nbytes)
"""Plans and orders belong to a shape and a rank, so all communicators share them."""


class ResolvedSpec(NamedTuple):
    """An `AlgorithmSpec` without "auto" and without None: the algorithm that is run."""

    algorithm: str | Schedule
    torus: Torus
    consistent: bool
    options: Options


class Planner:
    """Chooses, proves and compiles schedules for a communicator's shape and this rank.

    Args:
        comm: the communicator, of which only size, rank and topology are read.
        is_one_node: whether all its ranks are on one node.

    Attributes:
        torus: the torus of the communicator.
        origin: the origin of that torus, in words.
        rank: this rank.
        is_one_node: whether all ranks are on one node.
    """

    def __init__(self, comm: MPI.Intracomm, is_one_node: bool) -> None:
        self.rank, self._size, self.is_one_node = comm.rank, comm.size, is_one_node
        self.torus, self.origin = shape_of(comm)
        self._machine = ""

    def choose(self, spec: AlgorithmSpec | ResolvedSpec, nbytes: int) -> tuple[ResolvedSpec, str]:
        """Resolve a specification for a vector of ``nbytes``; return it and the reason.

        Raises:
            ValueError: a torus, a schedule or options that do not fit.
        """
        algorithm, torus, consistent, options = spec
        names = ", ".join(name for name, _ in options)
        if isinstance(algorithm, Schedule):
            if options:
                raise ValueError(f"a schedule takes no options: leave out {names}")
            if torus not in (None, algorithm.torus):
                raise ValueError(
                    f"the schedule is for torus {algorithm.torus}, not {torus}: leave out torus="
                )
            torus, why = algorithm.torus, "it was passed as a schedule"
        else:
            torus, why = torus or self.torus, "it was asked for by name"
        check_size(torus, self._size)
        if algorithm == "auto":
            if options:
                raise ValueError(f"'auto' chooses {names} itself: name an algorithm")
            try:
                choice = choose(torus, nbytes, machine=self.machine)
            except ValueError as error:
                if not MACHINE.get():
                    raise
                raise ValueError(f"{MACHINE.name}={MACHINE.get()}: {error}") from None
            except OSError as error:
                raise ValueError(
                    f"{MACHINE.name}={MACHINE.get()}: no table can be read there "
                    f"({error.strerror}): give the whole path of one that netsim tune has written"
                ) from None
            algorithm, options, why = choice.algorithm, tuple(choice.options.items()), choice.why
        return ResolvedSpec(algorithm, torus, consistent, options), why

    def check(self, spec: AlgorithmSpec) -> None:
        """Raise the errors that `plan` would raise."""
        self.plan(spec, 0, 1, True)

    def plan(
        self,
        spec: AlgorithmSpec | ResolvedSpec,
        count: int,
        itemsize: int,
        in_place: bool,
        whole: bool = False,
    ) -> Plan:
        """Return this rank's plan.

        Args:
            spec: the algorithm, torus and options that were asked for.
            count: number of elements of the vector.
            itemsize: bytes of an element.
            in_place: whether to reduce in place.
            whole: whether to send messages whole rather than in pieces.

        Raises:
            ValueError: a torus, a schedule or an option that does not fit.
        """
        machine = self.machine if spec[0] == "auto" else ""
        key = self.rank, self.torus, machine, spec, count, itemsize, in_place, whole

        def make() -> Plan:
            order = self.order(self.choose(spec, count * itemsize)[0])
            if whole:
                return compile_plan(order, count, in_place)
            piece = EAGER if count * itemsize <= SHORT else PIECE
            return compile_plan(order, count, in_place, max(1, piece // itemsize))

        return _plans.get(key, make)

    def order(self, resolved: ResolvedSpec) -> RankOrder:
        """Return this rank's messages and their order."""
        return _orders.get((self.rank, resolved), lambda: self._order(resolved))

    def _order(self, resolved: ResolvedSpec) -> RankOrder:
        algorithm, torus, consistent, options = resolved
        if isinstance(algorithm, str):
            named = schedule(algorithm, torus, **dict(options))
            if not named.is_allreduce:
                raise ValueError("allreduce runs allreduce schedules only: leave out collective=")
            # Tests prove that these are correct and give the same bits: no proof per call.
            if algorithm in SHIPPED:
                return rank_order(named, self.rank)
            algorithm = named
        if not algorithm.is_allreduce:
            raise ValueError(f"the schedule is a {algorithm.collective}: pass an allreduce")
        if not verify(algorithm).same_bits and consistent:
            raise ValueError(
                "under this schedule ranks add in different orders and can get different bits: "
                "pass another one, or consistent=False"
            )
        # Run exactly the steps that were proven: a body from outside may list other messages of a
        # rank than its steps have.
        proven = replace(algorithm, body=Function(algorithm.nsteps, algorithm.step))
        return rank_order(proven, self.rank)

    @property
    def machine(self) -> str:
        """The machine for `swing.select.choose.choose`: the user's, else "node" or "cluster"."""
        if not self._machine:
            self._machine = MACHINE.get() or ("node" if self.is_one_node else "cluster")
        return self._machine
