"""Reduce vectors in GPU memory without staging: MPI or NCCL moves them, GPU kernels reduce them.

The plain engine handles numpy arrays. Here these are arrays over GPU addresses: they carry address,
length and type, and must never be read or written on the host. Messages pass the address to MPI,
and copies and reductions become kernels on CuPy's current stream. MPI does not know of CUDA
streams, so the kernels queued so far must have finished before a message is begun. At the end the
host does not wait for the kernels: the result is ready in stream order, like that of any kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.reductions import Reduction
from swing.executor.buffers.transport import Kind, Transport
from swing.executor.gpu.device import array_on, check_writable
from swing.executor.mpi_abi import knows_gpus
from swing.settings import GPU_AWARE


def is_gpu_aware() -> bool:
    """Whether MPI accepts GPU memory.

    Raises:
        ValueError: the environment variable SWING_GPU_AWARE is neither 0 nor 1.
    """
    setting: bool | None = GPU_AWARE.get()
    return knows_gpus() if setting is None else setting


class Direct(Transport):
    """A send and a receive buffer that stay in GPU memory, and the operations of a plan on them.

    Args:
        source: the send buffer, or its ``[buf, …]`` specification.
        target: the receive buffer; in place, it is the object ``source``.

    Attributes:
        source, target: the buffers or specifications, with numpy arrays over GPU addresses.
        kind: how data moves between ranks: GPU_AWARE, NCCL or IPC.

    Raises:
        ImportError: CuPy is missing.
        ValueError: memory is not contiguous, or the receive buffer is read-only.
    """

    on_gpu = True

    def __init__(self, source: Any, target: Any) -> None:
        check_writable(target)
        self.kind = Kind.GPU_AWARE
        self._arrays: list[Any] = []  # keeps the memory alive
        self.source = self._mirror(source)
        self.target = self.source if target is source else self._mirror(target)
        self._devices = {array.device.id for array in self._arrays}
        self._queued = True  # the caller may have queued kernels that write the send buffer

    @property
    def one_gpu(self) -> bool:
        """Whether both buffers are on one GPU, which kernels require."""
        return len(self._devices) == 1

    def active(self) -> Any:
        """A context in which the GPU of the buffers is CuPy's current device."""
        import cupy

        return cupy.cuda.Device(*self._devices)

    @staticmethod
    def can(reduce: Reduction, dtype: np.dtype[Any]) -> bool:
        """Whether CuPy can reduce elements of a type, with numpy's results."""
        # GPUs have no long double (g, G).
        return isinstance(reduce, np.ufunc) and dtype.kind in "iufc" and dtype.char not in "gG"

    def chains(self, reduce: Reduction) -> bool:
        """Whether a single kernel can reduce more than two vectors."""
        return isinstance(reduce, np.ufunc) and reduce.__name__ in _SIGNS

    def scratch(self, count: int, dtype: np.dtype[Any]) -> np.ndarray:
        """(count,) elements of new GPU memory."""
        import cupy

        # It may go back to CuPy's pool while kernels that use it are still queued. That is safe:
        # the pool gives it out again to the same stream only, to kernels queued later.
        self._arrays.append(cupy.empty(count * dtype.itemsize, np.uint8))
        return _over(self._arrays[-1], count * dtype.itemsize).view(dtype)

    def ready(self) -> None:
        """Wait for the kernels queued so far, so that MPI may access the memory they work on."""
        if self._queued:
            import cupy

            cupy.cuda.get_current_stream().synchronize()
            self._queued = False

    def before_mpi(self) -> None:
        """Wait for the kernels queued so far, like `ready`."""
        self.ready()

    def before_message(self) -> Callable[[], None] | None:
        """`ready`, unless NCCL queues the messages on the kernels' stream."""
        return None if self.kind is Kind.NCCL else self.ready

    def copy(self, out: np.ndarray, array: np.ndarray) -> None:
        """Queue out = array."""
        import cupy

        cupy.copyto(self._on_gpu(out), self._on_gpu(array))
        self._queued = True

    def reduction(self, reduce: Reduction) -> Reduction:
        """A function that queues out = left ⊕ right.

        If the reduction `chains`, the function also takes more than two operands, which it reduces
        from left to right.
        """
        import cupy

        pair, sign = getattr(cupy, reduce.__name__), _SIGNS.get(reduce.__name__, "")

        def queue(*values: np.ndarray, out: np.ndarray) -> None:
            kernel = pair if len(values) == 2 else kernel_of(sign, len(values))
            # CuPy copies an operand that shares memory with the result, unless it is the very same
            # object: so make one CuPy array per address.
            on_gpu = {each.ctypes.data: self._on_gpu(each) for each in (*values, out)}
            kernel(*(on_gpu[each.ctypes.data] for each in (*values, out)))
            self._queued = True

        return queue

    def _on_gpu(self, array: np.ndarray) -> Any:
        """The CuPy array at the address of a numpy array, which may be in another rank's memory."""
        import cupy

        memory = cupy.cuda.UnownedMemory(array.ctypes.data, array.nbytes, None, *self._devices)
        return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, 0))

    def _mirror(self, buffer: Any) -> Any:
        """A numpy array over the addresses of a device buffer, or a specification with one."""
        if isinstance(buffer, (list, tuple)):
            return [self._mirror(buffer[0]), *buffer[1:]]
        array = array_on(buffer)
        self._arrays.append(array)
        elements = _over(array, array.nbytes).view(array.dtype)
        return elements.reshape(array.shape, order="C" if array.flags.c_contiguous else "F")


_SIGNS = {"add": "+", "multiply": "*"}
"""The C++ operators of the ufuncs that `kernel_of` can fuse; they round as CuPy's functions do."""


@cache
def kernel_of(sign: str, count: int) -> Any:
    """The kernel that reduces ``count`` vectors with a C++ operator, from left to right."""
    import cupy

    names = [f"x{i}" for i in range(count)]
    parameters = ", ".join(f"T {name}" for name in names)
    body = names[0]
    for name in names[1:]:
        # Round to T after each operation: C++ computes types shorter than int as int.
        body = f"T({body} {sign} {name})"
    return cupy.ElementwiseKernel(parameters, "T y", f"y = {body}", f"swing_reduce_{count}")


def _over(array: Any, nbytes: int) -> np.ndarray:
    """(nbytes,) a numpy array over the addresses of a CuPy array."""
    return np.asarray(MPI.buffer.fromaddress(array.data.ptr if nbytes else 0, nbytes))
