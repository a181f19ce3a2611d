"""PyTorch: average gradients with `swing.allreduce`, under DDP or without torch.distributed.

With DDP, whose process group (gloo is enough) still does everything else:

    model = DistributedDataParallel(net)
    model.register_comm_hook(None, ddp_hook(MPI.COMM_WORLD))

Without it, between ``backward()`` and ``step()``:

    average_gradients(net.parameters(), MPI.COMM_WORLD)

Every rank gets the same bits, so replicas do not drift apart. CPU tensors are reduced in place;
CUDA tensors are handled like CuPy arrays (see docs/gpus.md) and need CuPy. bfloat16 needs
ml_dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from swing.executor import allreduce
from swing.executor.gpu.device import array_on, stream

if TYPE_CHECKING:
    import torch
    from torch.distributed import GradBucket

BUCKET_BYTES = 25 * 2**20
"""Bytes of a bucket, DDP's default: large enough for bandwidth, small enough to start early."""


def ddp_hook(comm: Any, **options: Any) -> Callable[[Any, GradBucket], torch.futures.Future[Any]]:
    """Make a communication hook for DDP's ``register_comm_hook``.

    The hook ignores its state argument. It runs the allreduce before it returns, so the future that
    it returns is already complete.

    Args:
        comm: an mpi4py communicator with the ranks of the process group, in the same order.
        options: keyword arguments of `swing.allreduce`, such as ``algorithm=`` or ``torus=``.

    Returns:
        ``hook(state, bucket)``, which returns a future of the averaged bucket.
    """

    def hook(state: Any, bucket: GradBucket) -> torch.futures.Future[Any]:
        import torch

        average(bucket.buffer(), comm, **options)
        done: torch.futures.Future[Any] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    # DDP compares annotations with classes, and rejects the strings that they are in this module.
    hook.__annotations__.clear()
    return hook


def average_gradients(
    parameters: Iterable[torch.nn.Parameter],
    comm: Any,
    *,
    bucket_bytes: int = BUCKET_BYTES,
    **options: Any,
) -> None:
    """Average the gradients of parameters over all ranks, in place; no process group is needed.

    All ranks must reduce vectors of equal length. So a parameter that requires a gradient but has
    none on this rank gets a gradient of zeros, which then receives the average like the others.

    Args:
        parameters: the parameters, such as ``model.parameters()``: the same ones on every rank, in
            the same order.
        comm: an mpi4py communicator.
        bucket_bytes: the most bytes that several gradients, joined into one vector, may have; a
            larger gradient is a vector of its own.
        options: keyword arguments of `swing.allreduce`.

    Raises:
        ValueError: a sparse gradient, or ``bucket_bytes`` below 1 (nothing has been sent); or
            bfloat16 without ml_dtypes.
        TypeError, TimeoutError, RuntimeError, ImportError: as `swing.allreduce`.
    """
    import torch

    if bucket_bytes < 1:
        raise ValueError(f"bucket_bytes must be 1 or more, not {bucket_bytes}")
    trainable = [p for p in parameters if p.requires_grad]
    for p in trainable:
        if p.grad is not None and p.grad.layout is not torch.strided:
            raise ValueError("a gradient is sparse: make it dense, as Embedding(sparse=False) does")
    for bucket in buckets(trainable, bucket_bytes):
        for p in bucket:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in bucket if p.grad is not None]
        if len(grads) == 1 and grads[0].is_contiguous():  # no copy is needed
            average(grads[0], comm, **options)
            continue
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        average(flat, comm, **options)
        for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))


def buckets(
    parameters: Iterable[torch.nn.Parameter], nbytes: int
) -> Iterator[list[torch.nn.Parameter]]:
    """Group neighbouring parameters of one type and device into buckets.

    Args:
        parameters: the parameters, in order.
        nbytes: the most bytes of a bucket of several parameters; a larger parameter has a bucket of
            its own.

    Yields:
        The parameters of each bucket.
    """
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for p in parameters:
        added = p.numel() * p.element_size()
        alike = not bucket or (p.dtype, p.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or size + added > nbytes):
            yield bucket
            bucket, size = [], 0
        bucket.append(p)
        size += added
    if bucket:
        yield bucket


def average(tensor: torch.Tensor, comm: Any, **options: Any) -> None:
    """Replace a contiguous tensor by its average over all ranks.

    Args:
        tensor: the tensor, of the same size and type on every rank.
        comm: an mpi4py communicator.
        options: keyword arguments of `swing.allreduce`.

    Raises:
        ValueError: bfloat16 without ml_dtypes; or as `swing.allreduce`.
        TypeError, TimeoutError, RuntimeError, ImportError: as `swing.allreduce`.
    """
    # Divide before the sum, as PyTorch's own hook does: the largest float16 is 65504, and a sum of
    # gradients may exceed it although their average does not.
    tensor = tensor.detach().div_(comm.size)
    # torch conjugates and negates without touching memory. On the other ranks the same gradient may
    # be an ordinary tensor.
    dense = tensor.resolve_conj().resolve_neg()
    with nullcontext() if tensor.device.type == "cpu" else _stream(tensor):
        allreduce(comm, _buffer(dense), **options)
    if dense is not tensor:
        tensor.copy_(dense)


def _stream(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """Return a context in which torch's current stream is CuPy's current stream."""
    import torch

    return stream(torch.cuda.current_stream(tensor.device).cuda_stream)


def _buffer(tensor: torch.Tensor) -> Any:
    """Return a buffer for `swing.allreduce` over the tensor's own memory.

    Raises:
        ValueError: bfloat16 without ml_dtypes.
    """
    import torch

    on_cpu = tensor.device.type == "cpu"
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy() if on_cpu else tensor
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError("gradients in bfloat16 need ml_dtypes: pip install ml_dtypes") from None
    bits = tensor.view(torch.int16)  # torch cannot convert bfloat16 to numpy
    return (bits.numpy() if on_cpu else array_on(bits)).view(ml_dtypes.bfloat16)
