"""JAX: collectives inside ``jax.shard_map`` that run the schedules of `swing.ALGORITHMS`.

A training step adds the gradients of all devices like this::

    @jax.shard_map(mesh=mesh, in_specs=P("x"), out_specs=P())
    def step(gradient):
        return allreduce(gradient, "x", op="mean")

Every message is a ``lax.ppermute`` (a collective permute of XLA), so the schedules run on whatever
XLA runs on. Steps that repeat are loops; where a node has several ports, its parts are independent
of each other, so that XLA can send them at the same time.

Results have the same bits on every device and in every run, and the same bits as `swing.allreduce`
under MPI with the same schedule. Every function takes pytrees of arrays of any shape and type that
has the operation, and can be used under ``jit``, ``vmap`` and, for sums and means, ``grad``.

JAX is imported at the first call.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from swing.schedules.schedule import Schedule
from swing.torus import Torus

if TYPE_CHECKING:
    from swing.integrations.jax.explanation import Explanation

__all__ = [
    "all_gather", "all_to_all", "allreduce", "broadcast", "explain", "gather", "reduce",
    "reduce_scatter", "scatter", "torus_of",
]  # fmt: skip


def allreduce(
    x: Any,
    axis_name: Any,
    *,
    torus: Torus | None = None,
    algorithm: str | Schedule = "auto",
    op: str = "sum",
    **options: Any,
) -> Any:
    """Reduce arrays over the devices of mesh axes, and give every device the result.

    It replaces ``lax.psum``, ``lax.pmean``, ``lax.pmax`` and ``lax.pmin``.

    Args:
        x: this device's array, or a pytree of arrays, which are reduced one by one.
        axis_name: the name of a mesh axis, or a tuple of names. Ranks are numbered as by
            ``lax.axis_index(axis_name)``: row by row, the last axis varies fastest.
        torus: the ranks and their coordinates (`torus_of` makes one of a mesh). None for one
            dimension per mesh axis, in the order of ``axis_name``; a `Schedule` has its own.
        algorithm: a key of `swing.ALGORITHMS`, "auto", or an allreduce `Schedule`. "auto" picks an
            algorithm by torus and size when the call is traced. It picks for the machine that the
            environment variable ``SWING_MACHINE`` names; the default is "node" on CPU devices and
            "paper" on others (see `swing.choose`).
        op: "sum", "mean", "max" or "min".
        options: keyword arguments of the algorithm, such as ``variant=``, ``ports=`` or ``k=``.

    Returns:
        Arrays of the same shapes and types, with the same bits on every device. JAX knows that they
        are equal, as with ``lax.psum``, so that ``out_specs`` may be ``P()``.

    Raises:
        ValueError: no such mesh axis here, a torus of another size, or an algorithm, an option or a
            schedule that does not fit. Raised at trace time.
        TypeError: a type without addition, or without an order for "max" and "min".
        ImportError: JAX is missing.
    """
    calls = _load("calls")
    return calls.call(
        "allreduce", x, axis_name, calls.whole, calls.same_shape,
        torus=torus, algorithm=algorithm, op=op, **options,
    )  # fmt: skip


def reduce_scatter(
    x: Any,
    axis_name: Any,
    *,
    scatter_dimension: int = 0,
    tiled: bool = False,
    torus: Torus | None = None,
    algorithm: str | Schedule = "auto",
    op: str = "sum",
    **options: Any,
) -> Any:
    """Reduce arrays over the devices of mesh axes, and give every device a piece of the result.

    It replaces ``lax.psum_scatter``. Device i of n gets the i-th of n pieces along the axis
    ``scatter_dimension`` of each array. If ``tiled``, the size of the axis is a multiple of n, and
    the results have an n-th of it; otherwise its size is n, and the results lack the axis. The
    other arguments are those of `allreduce`.

    Raises:
        ValueError, TypeError, ImportError: as `allreduce`, or an axis that cannot be divided.
    """
    calls = _load("calls")
    return calls.call(
        "reduce_scatter", x, axis_name,
        calls.by_axis(scatter_dimension, tiled), calls.one_piece(scatter_dimension, tiled),
        torus=torus, algorithm=algorithm, op=op, **options,
    )  # fmt: skip


def all_gather(
    x: Any,
    axis_name: Any,
    *,
    axis: int = 0,
    tiled: bool = False,
    torus: Torus | None = None,
    algorithm: str | Schedule = "auto",
    **options: Any,
) -> Any:
    """Give every device the arrays of all devices of mesh axes.

    It replaces ``lax.all_gather``. In the results the arrays lie along the axis ``axis``, in the
    order of the ranks. If ``tiled``, they are concatenated along an axis that they have; otherwise
    they are stacked along a new one. The other arguments are those of `allreduce`.

    Raises:
        ValueError, TypeError, ImportError: as `allreduce`, or there is no such axis.
    """
    calls = _load("calls")
    return calls.call(
        "allgather", x, axis_name, calls.whole, calls.along_axis(axis, tiled),
        torus=torus, algorithm=algorithm, **options,
    )  # fmt: skip


def broadcast(
    x: Any, axis_name: Any, root: int, *, torus: Torus | None = None,
    algorithm: str | Schedule = "auto", **options: Any,
) -> Any:  # fmt: skip
    """Give every device of mesh axes the arrays of the device of rank ``root``.

    The arrays of all other devices give their shapes and types only. The other arguments are those
    of `allreduce`.

    Raises:
        ValueError, TypeError, ImportError: as `allreduce`.
    """
    calls = _load("calls")
    return calls.call(
        "broadcast", x, axis_name, calls.whole, calls.same_shape,
        torus=torus, algorithm=algorithm, root=root, **options,
    )  # fmt: skip


def reduce(
    x: Any, axis_name: Any, root: int, *, torus: Torus | None = None,
    algorithm: str | Schedule = "auto", op: str = "sum", **options: Any,
) -> Any:  # fmt: skip
    """Reduce arrays over the devices of mesh axes; the device of rank ``root`` gets the result.

    All other devices get zeros. The other arguments are those of `allreduce`.

    Raises:
        ValueError, TypeError, ImportError: as `allreduce`.
    """
    calls = _load("calls")
    return calls.call(
        "reduce", x, axis_name, calls.whole, calls.same_shape,
        torus=torus, algorithm=algorithm, op=op, root=root, **options,
    )  # fmt: skip


def gather(
    x: Any, axis_name: Any, root: int, *, axis: int = 0, tiled: bool = False,
    torus: Torus | None = None, algorithm: str | Schedule = "auto", **options: Any,
) -> Any:  # fmt: skip
    """Give the device of rank ``root`` the arrays of all devices of mesh axes.

    All other devices get zeros. The other arguments are those of `all_gather`.

    Raises:
        ValueError, TypeError, ImportError: as `all_gather`.
    """
    calls = _load("calls")
    return calls.call(
        "gather", x, axis_name, calls.whole, calls.along_axis(axis, tiled),
        torus=torus, algorithm=algorithm, root=root, **options,
    )  # fmt: skip


def scatter(
    x: Any, axis_name: Any, root: int, *, scatter_dimension: int = 0, tiled: bool = False,
    torus: Torus | None = None, algorithm: str | Schedule = "auto", **options: Any,
) -> Any:  # fmt: skip
    """Give every device of mesh axes a piece of the arrays of the device of rank ``root``.

    The arrays of all other devices give their shapes and types only. The other arguments are those
    of `reduce_scatter`.

    Raises:
        ValueError, TypeError, ImportError: as `reduce_scatter`.
    """
    calls = _load("calls")
    return calls.call(
        "scatter", x, axis_name,
        calls.by_axis(scatter_dimension, tiled), calls.one_piece(scatter_dimension, tiled),
        torus=torus, algorithm=algorithm, root=root, **options,
    )  # fmt: skip


def all_to_all(
    x: Any, axis_name: Any, split_axis: int, concat_axis: int, *, tiled: bool = False,
    torus: Torus | None = None, algorithm: str | Schedule = "auto", **options: Any,
) -> Any:  # fmt: skip
    """Give device j of mesh axes the j-th piece of the arrays of every device.

    It replaces ``lax.all_to_all``. The axis ``split_axis`` of each array is divided among the
    devices. In the results the pieces lie along the axis ``concat_axis``, in the order of ranks. If
    ``tiled``, the pieces keep the split axis and are concatenated along an axis that they have;
    otherwise they lack it and are stacked along a new one. The other arguments are those of
    `allreduce`.

    Raises:
        ValueError, TypeError, ImportError: as `allreduce`, or an axis that cannot be divided.
    """
    calls = _load("calls")
    return calls.call(
        "alltoall", x, axis_name,
        calls.by_axis(split_axis, tiled), calls.exchanged(split_axis, concat_axis, tiled),
        torus=torus, algorithm=algorithm, **options,
    )  # fmt: skip


def explain(
    x: Any,
    mesh: Any,
    axis_name: Any,
    *,
    collective: str = "allreduce",
    torus: Torus | None = None,
    algorithm: str | Schedule = "auto",
    op: str = "sum",
    **options: Any,
) -> Explanation:
    """Explain what a call would run on a mesh, and why.

    Args:
        x: one device's array, or its ``jax.ShapeDtypeStruct``.
        mesh: the ``jax.sharding.Mesh``.
        axis_name: one or several of the mesh's axes.
        collective: the name of the collective, such as "reduce_scatter".
        torus: see `allreduce`.
        algorithm: see `allreduce`.
        op: see `allreduce`.
        options: see `allreduce`.

    Returns:
        The explanation: ``str()`` formats it in a few lines, notebooks show it with a picture of
        the schedule, and its ``schedule`` is what `netsim.simulate` takes.

    Raises:
        ValueError, TypeError, ImportError: as `allreduce`.
    """
    explanation: Explanation = _load("explanation").explain(
        x, mesh, axis_name, collective, torus, algorithm, op, options
    )
    return explanation


def torus_of(mesh: Any, axis_name: Any, wrap: bool = False) -> Torus:
    """Make the torus of a mesh's axes from the coordinates of its devices.

    TPU devices have coordinates (``device.coords``), so the torus has the dimensions of the slice
    and says where each rank is, whatever the order of the mesh axes. Devices without coordinates
    get one dimension per mesh axis.

    Args:
        mesh: the ``jax.sharding.Mesh``.
        axis_name: the axes, see `allreduce`.
        wrap: whether the slice closes to a ring in each dimension. JAX does not say; slices of
            whole cubes (v4, v5p) or whole pods (v5e, v6e) do.

    Raises:
        ValueError: no such axes, or devices that do not fill a box.
        ImportError: JAX is missing.
    """
    torus: Torus = _load("explanation").torus_of(mesh, axis_name, wrap)
    return torus


@cache
def _load(name: str) -> ModuleType:
    """Import a module of this package that needs JAX.

    Raises:
        ImportError: JAX is missing.
    """
    try:
        return import_module(f"swing.integrations.jax.{name}")
    except ImportError as error:
        raise ImportError(f'{error}: pip install "torus-swing[jax]"') from error
