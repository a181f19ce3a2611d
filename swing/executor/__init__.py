"""An allreduce that runs schedules over MPI. Nothing here needs MPI until it is called."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from swing.schedules.schedule import Schedule
from swing.torus import Torus

if TYPE_CHECKING:
    from mpi4py import MPI

    from swing.executor.explanation import Explanation

__all__ = ["alloc", "allreduce", "explain"]


def allreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any = None,
    op: MPI.Op | None = None,
    *,
    algorithm: str | Schedule = "auto",
    torus: Torus | None = None,
    consistent: bool = True,
    timeout: float | None = None,
    **options: Any,
) -> Any:
    """Reduce a vector over all ranks and give every rank the result: the same bits on each.

    Every rank of the communicator calls it with the same arguments, buffers aside. The first
    call on a communicator makes a private duplicate of it, which is freed with it, and so is the
    scratch memory: as much as the largest call so far has needed.

    A call that is refused on one rank only leaves the others waiting unless ``timeout=`` is given.

    Args:
        comm: an mpi4py communicator.
        sendbuf: this rank's vector: a contiguous numpy array of any shape, another buffer,
            ``[buf, datatype]`` or ``[buf, count, datatype]``, or a CuPy array. ``MPI.IN_PLACE``
            if it lies in ``recvbuf``.
        recvbuf: where the result goes, of equal count and type. None: into ``sendbuf``.
        op: an MPI operation; ``MPI.SUM`` if None. One that does not commute is left to MPI,
            which reduces in rank order.
        algorithm: a key of `swing.ALGORITHMS`, "auto" (see `swing.select.choose`), or an allreduce
            `Schedule`. "auto" asks whether the ranks share a node, unless the environment variable
            ``SWING_MACHINE`` names the machine or a selection table, ``….json``.
        torus: who sits where; a `Schedule` brings its own. None: the communicator's Cartesian
            topology if it has one, else two dimensions as square as can be.
        consistent: refuse a schedule that would not give every rank the same bits.
        timeout: seconds after which a call that waits for other ranks gives up; its buffers
            and the communicator's later calls are lost then. None: wait for ever.
        options: what the algorithm takes by keyword: ``variant=``, ``ports=``, ``k=``.

    Returns:
        The receive buffer.

    Raises:
        TypeError: an argument of a wrong type, an object without a buffer, or an operation that
            MPI does not define for it; nothing has been sent.
        ValueError: buffers, a torus or an option that do not fit; nothing has been sent.
        TimeoutError: names the step, the ranks and the bytes that did not come.
        RuntimeError: this call or an earlier one on this communicator failed half-way.
        ImportError: mpi4py or an MPI library is missing.
    """
    spec = algorithm, torus, consistent, tuple(options.items()) if options else ()
    if timeout is None and load("dispatch").again(comm, sendbuf, recvbuf, op, spec):
        return sendbuf if recvbuf is None else recvbuf
    return load("dispatch").allreduce(comm, sendbuf, recvbuf, op, spec, timeout)


def alloc(
    comm: MPI.Intracomm, shape: int | tuple[int, ...], dtype: Any = float, *, gpu: bool = False
) -> Any:
    """An array, not set to anything, in which ranks of one node reduce fastest.

    If every rank's buffers come from here, and are the same parts of the same arrays, `allreduce`
    with ``algorithm="auto"`` lets each rank add up a block of all vectors where they lie and write
    the sum to all: nothing is sent. That is for numpy's own operations (SUM, PROD, MAX, MIN, BAND,
    BOR, BXOR) without ``timeout=``; for all else they are arrays as any. Pass such arrays on every
    rank or on none, and the same parts of them: other parts give wrong sums, which SWING_CHECK=1
    finds. On several nodes it is an ordinary array.

    Every rank of the communicator calls it, with the same arguments. The memory is given back when
    the communicator is freed, or with the process if it is still in use then.

    Args:
        comm: an mpi4py communicator.
        shape: of the array, or the number of its elements.
        dtype: of the elements.
        gpu: a CuPy array, in memory of the current GPU that CUDA opens to the other ranks. For that
            they share the GPU, or theirs can reach it; else, too, it is an array as any.

    Raises:
        ImportError: mpi4py, an MPI library or, for a GPU, CuPy is missing.
        RuntimeError: this rank finds no GPU.
    """
    return load("dispatch").alloc(comm, shape, dtype, gpu)


def explain(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any = None,
    op: MPI.Op | None = None,
    *,
    algorithm: str | Schedule = "auto",
    torus: Torus | None = None,
    consistent: bool = True,
    **options: Any,
) -> Explanation:
    """What `allreduce` would do with these arguments, and why; ``print()`` it.

    Like `allreduce`, it is called by every rank. Nothing is sent but what the first call on a
    communicator needs.
    """
    spec = algorithm, torus, consistent, tuple(options.items())
    explanation: Explanation = load("dispatch").explain(comm, sendbuf, recvbuf, op, spec)
    return explanation


@cache
def load(name: str) -> ModuleType:
    """A module of this package that needs MPI.

    Raises:
        ImportError: mpi4py or an MPI library is missing.
    """
    try:
        return import_module(f"swing.executor.{name}")
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py without an MPI library
        raise ImportError(f'{error}: pip install "torus-swing[mpi]"') from error
