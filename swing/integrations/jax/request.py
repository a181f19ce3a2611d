"""Requests: what a caller asks for, checked at trace time, and the schedule that serves it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
from jax import lax
from jax import numpy as jnp

from swing.algorithms import SHIPPED
from swing.algorithms.spelling import spell
from swing.checks import expect, shown, unknown
from swing.schedules.collectives import COLLECTIVES, KINDS
from swing.schedules.schedule import Schedule
from swing.select.choose import choose, schedule
from swing.settings import MACHINE
from swing.torus import Torus
from swing.verification.proof import verify

OPS = ("sum", "mean", "max", "min")
SERVED = tuple(name for name in COLLECTIVES if name in KINDS)
"""The collectives that move data."""


class Resolved(NamedTuple):
    """The schedule that serves a request.

    Args:
        schedule: the schedule.
        spelled: the algorithm with its options, as commands take it.
        why: the reason for it.
    """

    schedule: Schedule
    spelled: str
    why: str


@dataclass(frozen=True)
class Request:
    """What a caller asks for, apart from the data.

    Args:
        collective: one of `SERVED`.
        algorithm: a key of `swing.ALGORITHMS`, "auto", or a schedule.
        torus: the ranks.
        op: one of `OPS`.
        options: the options of the algorithm, and ``root`` where the collective has one.
    """

    collective: str
    algorithm: str | Schedule
    torus: Torus
    op: str
    options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(
        cls,
        collective: str,
        algorithm: str | Schedule,
        torus: Torus | None,
        sizes: Mapping[Any, int],
        op: str,
        options: Mapping[str, Any],
    ) -> Request:
        """Check the arguments of a call.

        Args:
            collective: the name of the collective.
            algorithm: a name, "auto", or a schedule.
            torus: the ranks; None for one dimension per mesh axis, or the torus of a schedule.
            sizes: the mesh axes over which the ranks lie, and their sizes.
            op: the name of the reduction.
            options: the options of the algorithm, and ``root`` where the collective has one.

        Raises:
            ValueError, TypeError: arguments that do not fit.
        """
        if collective not in SERVED:
            raise unknown("JAX collective", collective, SERVED)
        expect(algorithm, (str, Schedule), "algorithm='auto', another name or a swing.Schedule")
        if op not in OPS:
            raise ValueError(f"op must be one of {', '.join(OPS)}, not {shown(op)}")
        if isinstance(algorithm, Schedule):
            if options.keys() - {"root"}:
                names = ", ".join(options)
                raise ValueError(f"a schedule takes no options: leave out {names}")
            if torus not in (None, algorithm.torus):
                raise ValueError(
                    f"the schedule is for torus {algorithm.torus}, not {shown(torus)}: "
                    "leave out torus="
                )
            torus = algorithm.torus
        if torus is None:
            torus = Torus(tuple(sizes.values()))
        expect(torus, Torus, "torus=swing.Torus((4, 4))")
        ndevices = math.prod(sizes.values())
        if torus.size != ndevices:
            axes = ", ".join(map(str, sizes))
            raise ValueError(
                f"torus {torus} has {torus.size} ranks, but the mesh axes ({axes}) have "
                f"{ndevices} devices: pass a torus of {ndevices} ranks, or other axes"
            )
        frozen = tuple((name, _hashable(name, value)) for name, value in options.items())
        return cls(collective, algorithm, torus, op, frozen)

    def nbytes(self, x: Any) -> int:
        """Return the bytes of the whole vector, of which ``x`` is what a rank passes in."""
        nbytes: int = math.prod(x.shape) * x.dtype.itemsize
        return nbytes * self.torus.size if KINDS[self.collective][0] == "each" else nbytes

    def resolve(self, nbytes: int, platform: str) -> Resolved:
        """Choose the schedule for a vector of ``nbytes`` on devices of a platform, such as "cpu".

        Raises:
            ValueError: no algorithm fits, or a schedule that is wrong or of another collective.
        """
        machine = MACHINE.get() or ("node" if platform == "cpu" else "paper")
        return _resolve(self, nbytes if self.algorithm == "auto" else 0, machine)


@lru_cache(maxsize=512)
def _resolve(request: Request, nbytes: int, machine: str) -> Resolved:
    options = dict(request.options)
    if isinstance(request.algorithm, Schedule):
        return _proven(request, request.algorithm, "it was passed as a schedule")
    if request.algorithm == "auto":
        root = options.pop("root", None)
        if options:
            names = ", ".join(options)
            raise ValueError(f"algorithm 'auto' chooses {names} itself: name an algorithm")
        choice = choose(
            request.torus, nbytes, machine, collective=request.collective, root=root
        )  # fmt: skip
        spelled = spell(choice.algorithm, choice.options)
        return Resolved(choice.schedule(request.torus), spelled, choice.why)
    if request.collective != "allreduce":
        options["collective"] = request.collective
    named = schedule(request.algorithm, request.torus, **options)
    if request.algorithm not in SHIPPED:
        return _proven(request, named, "it was asked for by name")
    _check_collective(request, named)
    spelled = spell(request.algorithm, dict(request.options))
    return Resolved(named, spelled, "it was asked for by name")


def _proven(request: Request, given: Schedule, why: str) -> Resolved:
    """Prove a schedule that this library did not make."""
    _check_collective(request, given)
    proof = verify(given)
    if given.is_allreduce and not proof.same_bits:
        raise ValueError(
            "under this schedule devices add in different orders and can get different bits: "
            "pass another one"
        )
    return Resolved(given, given.name, why)


def _check_collective(request: Request, given: Schedule) -> None:
    if given.collective != request.collective:
        raise ValueError(
            f"the schedule is of collective {given.collective}: pass one of {request.collective}"
        )
    root = dict(request.options).get("root")
    actual = [end.constant for end in (given.origin, given.home)]
    if root is not None and root not in actual:
        raise ValueError(f"the schedule has another root than {root}: pass its root")


def _hashable(name: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(name, each) for each in value)
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"option {name} must be a number, a name or a sequence of them that is known when the "
            f"call is traced, not {shown(value)}"
        ) from None
    return value


def axis_sizes(axis_name: Any) -> dict[Any, int]:
    """Return the mesh axes that an argument names, and their sizes, in order.

    Raises:
        ValueError: there is no such axis where the caller is, or one is named twice.
    """
    axes = tuple(axis_name) if isinstance(axis_name, (tuple, list)) else (axis_name,)
    if not axes or len(set(axes)) < len(axes):
        raise ValueError(f"name one or more different mesh axes, not {shown(axis_name)}")
    try:
        sizes = {axis: lax.axis_size(axis) for axis in axes}
    except NameError:
        sizes = {}
    # An axis that jax.vmap names has a size, too, but is in no mesh.
    if not sizes.keys() & set(jax.sharding.get_abstract_mesh().axis_names) == set(axes):
        raise ValueError(
            f"there is no mesh axis {shown(axis_name)} here: call this inside jax.shard_map over "
            "a mesh that has it"
        )
    return sizes


def platform_here() -> str:
    """Return the platform of the mesh where the caller is."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return str(device.platform) if device else jax.default_backend()


def check_type(x: Any, collective: str, op: str) -> Any:
    """Return an argument as an array, if its type has the operation.

    Raises:
        TypeError: it has not.
    """
    x = jnp.asarray(x)
    if KINDS[collective][0] != "ALL":  # nothing is reduced
        return x
    if op in ("sum", "mean") and not jnp.issubdtype(x.dtype, jnp.number):
        raise TypeError(f"{x.dtype} has no addition: convert it, such as by x.astype(jnp.int32)")
    if op == "mean" and not jnp.issubdtype(x.dtype, jnp.inexact):
        raise TypeError(f"the mean of {x.dtype} is no {x.dtype}: pass x.astype(jnp.float32)")
    if op in ("max", "min") and jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise TypeError(f"{x.dtype} has no order: op must be sum or mean")
    return x
