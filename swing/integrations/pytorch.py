"""PyTorch: gradients averaged by `swing.allreduce`, under DDP or without torch.distributed.

With DDP, which keeps to its process group for all else (gloo will do):

    model = DistributedDataParallel(net)
    model.register_comm_hook(None, ddp_hook(MPI.COMM_WORLD))

Without it, between ``backward()`` and ``step()``:

    average_gradients(net.parameters(), MPI.COMM_WORLD)

Every rank gets the same bits, so replicas do not drift. CPU tensors are reduced where they lie;
CUDA tensors go the way of CuPy arrays ("GPUs" in docs/cluster.md), and bfloat16 needs ml_dtypes.
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
"""As DDP has it: large enough for bandwidth, small enough to begin early."""


def ddp_hook(comm: Any, **options: Any) -> Callable[[Any, GradBucket], torch.futures.Future[Any]]:
    """A communication hook for DDP's ``register_comm_hook``; it makes no use of the state.

    Args:
        comm: an mpi4py communicator with the ranks of the process group, in their order.
        options: what `swing.allreduce` takes by keyword: ``algorithm=``, ``torus=`` …
    """

    def hook(state: Any, bucket: GradBucket) -> torch.futures.Future[Any]:
        import torch

        average(bucket.buffer(), comm, **options)
        done: torch.futures.Future[Any] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    hook.__annotations__.clear()  # DDP compares them with classes, and these are strings
    return hook


def average_gradients(
    parameters: Iterable[torch.nn.Parameter],
    comm: Any,
    *,
    bucket_bytes: int = BUCKET_BYTES,
    **options: Any,
) -> None:
    """Average the gradients of parameters over all ranks, in place; no process group is needed.

    A parameter that needs a gradient and has none on this rank counts as zeros, and gets the
    average of the others: every rank reduces the same bytes.

    Args:
        parameters: the same on every rank, such as ``model.parameters()``.
        comm: an mpi4py communicator.
        bucket_bytes: gradients are joined to vectors of about so many bytes.
        options: what `swing.allreduce` takes by keyword.

    Raises:
        ValueError: a sparse gradient, or ``bucket_bytes`` below 1; nothing has been sent.
    """
    import torch

    if bucket_bytes < 1:
        raise ValueError(f"bucket_bytes is a number of bytes from 1 up, not {bucket_bytes}")
    some = [p for p in parameters if p.requires_grad]
    for p in some:
        if p.grad is not None and p.grad.layout is not torch.strided:
            raise ValueError("a gradient is sparse: make it dense, as in embedding(sparse=False)")
    for bucket in buckets(some, bucket_bytes):
        for p in bucket:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in bucket if p.grad is not None]
        if len(grads) == 1 and grads[0].is_contiguous():
            average(grads[0], comm, **options)
            continue
        flat = torch.cat([grad.reshape(-1) for grad in grads])
        average(flat, comm, **options)
        for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))


def buckets(
    parameters: Iterable[torch.nn.Parameter], nbytes: int
) -> Iterator[list[torch.nn.Parameter]]:
    """Neighbouring parameters of one type and device, together not above some bytes if several."""
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for p in parameters:
        more = p.numel() * p.element_size()
        alike = not bucket or (p.dtype, p.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or size + more > nbytes):
            yield bucket
            bucket, size = [], 0
        bucket.append(p)
        size += more
    if bucket:
        yield bucket


def average(tensor: torch.Tensor, comm: Any, **options: Any) -> None:
    """Replace a contiguous tensor by its average over all ranks.

    Every rank divides before the sum, as PyTorch's own hook does: float16 ends at 65504, and the
    sum of gradients may be above that where their average is not.
    """
    tensor = tensor.detach().div_(comm.size)
    with nullcontext() if tensor.device.type == "cpu" else _stream(tensor):
        allreduce(comm, _buffer(tensor), **options)


def _stream(tensor: torch.Tensor) -> AbstractContextManager[Any]:
    """A context in which CuPy queues its work where torch does."""
    import torch

    return stream(torch.cuda.current_stream(tensor.device).cuda_stream)


def _buffer(tensor: torch.Tensor) -> Any:
    """What `swing.allreduce` takes: the tensor's own memory.

    Raises:
        ValueError: bfloat16 without ml_dtypes.
    """
    import torch

    here = tensor.device.type == "cpu"
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy() if here else tensor
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError("gradients in bfloat16 need ml_dtypes: pip install ml_dtypes") from None
    bits = tensor.view(torch.int16)  # numpy does not take torch's bfloat16
    return (bits.numpy() if here else array_on(bits)).view(ml_dtypes.bfloat16)
