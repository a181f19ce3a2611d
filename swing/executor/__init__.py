"""Public functions of the executor: allreduce over MPI with the schedules of `swing.ALGORITHMS`.

The three functions here are `swing.allreduce`, `swing.alloc` and `swing.explain`; `swing.Comm`
(`swing.executor.comm`) is an mpi4py communicator whose methods run the same schedules. Importing
this package needs neither mpi4py nor an MPI library: both are loaded at the first call.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from swing.compilation import collector_paused
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
    """Reduce a vector over all ranks and give every rank the result, with the same bits on each.

    The call is collective: every rank of the communicator makes it, with the same arguments except
    for the buffers' contents. The first call on a communicator sets it up: the messages
    of this library travel on a private communicator, which communicators of the same ranks share.
    Scratch memory (as much as the largest call so far needed) is freed with the communicator, or
    passes to the next one of the same ranks if it is small.

    If one rank alone refuses its arguments, the other ranks wait for it until ``timeout`` passes;
    the environment variable ``SWING_CHECK=1`` makes every rank raise an error instead.

    Example:
        Sum a gradient in place, then write a vector's element-wise maxima to a second array::

            swing.allreduce(MPI.COMM_WORLD, gradient)
            swing.allreduce(MPI.COMM_WORLD, vector, maxima, MPI.MAX)

    Args:
        comm: an mpi4py communicator.
        sendbuf: this rank's vector: a contiguous numpy array of any shape, another object with the
            buffer protocol or DLPack, a CuPy array, or a specification ``[buf, datatype]`` or
            ``[buf, count, datatype]``. ``MPI.IN_PLACE`` if the vector is in ``recvbuf``.
        recvbuf: the buffer for the result, of the same count and type. None reduces ``sendbuf`` in
            place.
        op: an MPI operation; None is ``MPI.SUM``. An operation that does not commute is left to the
            MPI library, which reduces in rank order.
        algorithm: a key of `swing.ALGORITHMS`, "auto", or an allreduce `Schedule`. "auto" picks an
            algorithm by torus, size and machine (see `swing.select.choose`). The machine is "node"
            if all ranks share one node and "cluster" otherwise; the environment variable
            ``SWING_MACHINE`` names another one, or the path of a selection table (``….json``).
        torus: the torus and the ranks' coordinates; a `Schedule` has its own. None takes the
            communicator's Cartesian topology if it has one, else two dimensions that are as equal
            as possible.
        consistent: refuse a schedule under which ranks could get different bits.
        timeout: seconds that the call waits for other ranks; None waits without a limit. A timeout
            while a schedule's messages are under way leaves the buffers' contents undefined, and
            later calls on this communicator raise RuntimeError.
        options: keyword arguments of the algorithm, such as ``variant=``, ``ports=`` or ``k=``.

    Returns:
        The receive buffer, which is ``sendbuf`` if ``recvbuf`` is None.

    Raises:
        TypeError: an argument of the wrong type, an object without a buffer, or an operation that
            MPI does not define for the buffers' type. Nothing has been sent.
        ValueError: buffers, a torus or an option that do not fit. Nothing has been sent.
        TimeoutError: other ranks did not take part within ``timeout``. If a schedule was under way,
            the error names its step and the ranks and bytes that are missing.
        RuntimeError: MPI could not deliver a message, or an earlier call on this communicator
            failed after it had sent messages.
        ImportError: mpi4py, an MPI library or, for GPU memory, CuPy is missing.
    """
    spec = algorithm, torus, consistent, tuple(options.items()) if options else ()
    dispatch = load("dispatch")
    # A cached program has no deadline, so calls with a timeout are always prepared again.
    if timeout is None and dispatch.run_cached(comm, sendbuf, recvbuf, op, spec):
        return sendbuf if recvbuf is None else recvbuf
    asked = dispatch.AlgorithmSpec(*spec)
    return dispatch.allreduce(comm, sendbuf, recvbuf, op, asked, timeout)


def alloc(
    comm: MPI.Intracomm, shape: int | tuple[int, ...], dtype: Any = float, *, gpu: bool = False
) -> Any:
    """Allocate an uninitialized array in memory that the ranks of one node share.

    An `allreduce` with ``algorithm="auto"`` whose buffers are all such arrays sends no data: each
    rank reads one block of all ranks' vectors, reduces it, and writes the result to every rank.
    This requires

    - the same arrays, or the same parts of them, on every rank: different parts give wrong
      results, which the environment variable ``SWING_CHECK=1`` detects;
    - SUM, PROD, MAX, MIN, BAND, BOR or BXOR, on a type for which numpy has that operation;
    - no ``timeout=``;
    - in host memory, vectors of at least 128 KiB: below that, messages are faster.

    In all other calls they behave like ordinary arrays. If the communicator spans several nodes or
    has one rank, the array is an ordinary one.

    The call is collective: every rank of the communicator makes it, with the same arguments. The
    memory is freed when all ranks have freed the communicator and no array in it is left. Freeing
    the communicator waits for no rank.

    Args:
        comm: an mpi4py communicator.
        shape: the array's shape, or its number of elements.
        dtype: the elements' type.
        gpu: allocate a CuPy array on the current GPU and share it with the other ranks by CUDA's
            interprocess handles. This works if the ranks share one GPU or if their GPUs can access
            each other's memory; otherwise the array is an ordinary CuPy array.

    Returns:
        A C-contiguous numpy array, or a CuPy array if ``gpu``.

    Raises:
        ImportError: mpi4py, an MPI library or, for a GPU, CuPy is missing.
        RuntimeError: this rank finds no GPU, or an earlier call on this communicator failed.
        TypeError: a shape without integers, or a type that numpy lacks or that holds objects.
        ValueError: a negative length, or more bytes than there are addresses.
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
    """Explain which algorithm `allreduce` would run with these arguments, and why.

    The call is collective, like `allreduce`. It reads the buffers' types and sizes but not their
    data. It sends messages only to set up a communicator at its first call, and for
    ``SWING_CHECK=1``.

    Example:
        ``why = swing.explain(comm, gradient)`` on all ranks, then ``if comm.rank == 0: print(why)``
        prints the algorithm, the reason for it, the torus, the engine and the scratch memory, one
        per line.

    The arguments are those of `allreduce`, without ``timeout=``.

    Returns:
        The explanation; ``str()`` formats it in a few lines.

    Raises:
        TypeError, ValueError, RuntimeError, ImportError: as `allreduce`.
    """
    dispatch = load("dispatch")
    spec = dispatch.AlgorithmSpec(algorithm, torus, consistent, tuple(options.items()))
    explanation: Explanation = dispatch.explain(comm, sendbuf, recvbuf, op, spec)
    return explanation


@cache
def load(name: str) -> ModuleType:
    """Import a module of this package that needs MPI.

    Raises:
        ImportError: mpi4py or an MPI library is missing.
    """
    try:
        with collector_paused():
            return import_module(f"swing.executor.{name}")
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py without an MPI library
        raise ImportError(f'{error}: pip install "torus-swing[mpi]"') from error
