"""Direct: vectors in GPU memory that MPI itself reads and writes, reduced by the GPU.

A plan knows places, not what lies there. So its vectors are numpy arrays over GPU addresses, which
carry length, type and address and are never looked into: messages hand the address to MPI, and
copies and reductions become kernels on CuPy's current stream. MPI knows nothing of streams: before
a message is begun, the kernels queued so far must be over. After the last one nothing is awaited.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.reductions import Reduction
from swing.executor.gpu.device import array_on, check_writable
from swing.executor.mpi_abi import asked, knows_gpus

AWARE = "SWING_GPU_AWARE"
"""The environment variable that says whether MPI takes GPU memory, 1 or 0; unset: MPI is asked."""

DIRECT = "none: MPI reads GPU memory, the GPU reduces, on CuPy's current stream"


def is_gpu_aware() -> bool:
    """Whether MPI takes GPU memory; ValueError if `AWARE` says neither 0 nor 1."""
    said = asked(AWARE)
    return knows_gpus() if said is None else said


class Direct:
    """A send and a receive buffer in GPU memory, and what a program does there.

    Args:
        source: buffer, or ``[buf, …]`` specification, to be reduced.
        target: where the result goes; may be ``source``.

    Attributes:
        source, target: the same with arrays that must not be looked into.
        way: how ranks come to each other's memory: `DIRECT`, `swing.executor.gpu.nccl.NCCL` or
            `swing.executor.gpu.ipc.IPC`.

    Raises:
        ImportError: CuPy is missing.
        ValueError: memory that is not contiguous, or read-only where the result goes.
    """

    def __init__(self, source: Any, target: Any) -> None:
        check_writable(target)
        self.way = DIRECT
        self._arrays: list[Any] = []  # kept alive
        self.source = self._mirror(source)
        self.target = self.source if target is source else self._mirror(target)
        self._devices = {array.device.id for array in self._arrays}
        self._queued = True  # by the caller

    @property
    def one_gpu(self) -> bool:
        """Whether all is on one GPU; kernels need that."""
        return len(self._devices) == 1

    def gpu(self) -> Any:
        """A context in which that GPU is CuPy's current one."""
        import cupy

        return cupy.cuda.Device(*self._devices)

    @staticmethod
    def can(reduce: Reduction, dtype: np.dtype[Any]) -> bool:
        """Whether CuPy reduces elements of a type as numpy does."""
        return isinstance(reduce, np.ufunc) and dtype.kind in "iufc" and dtype.char not in "gG"

    @staticmethod
    def chains(reduce: Reduction) -> bool:
        """Whether one kernel can reduce more than two vectors."""
        return isinstance(reduce, np.ufunc) and reduce.__name__ in _SIGNS

    def scratch(self, count: int, dtype: np.dtype[Any]) -> np.ndarray:
        """(count,) elements of GPU memory."""
        import cupy

        self._arrays.append(cupy.empty(count * dtype.itemsize, np.uint8))
        return _over(self._arrays[-1], count * dtype.itemsize).view(dtype)

    def ready(self) -> None:
        """Wait for the kernels that have been queued, so that MPI may touch what they touch."""
        if self._queued:
            import cupy

            cupy.cuda.get_current_stream().synchronize()
            self._queued = False

    def copy(self, out: np.ndarray, array: np.ndarray) -> None:
        """Queue out = array."""
        import cupy

        cupy.copyto(self._there(out), self._there(array))
        self._queued = True

    def reduction(self, reduce: Reduction) -> Reduction:
        """What queues out = left ⊕ right; ((x0 ⊕ x1) ⊕ x2) ⊕ … too if it `chains`."""
        import cupy

        pair, sign = getattr(cupy, reduce.__name__), _SIGNS.get(reduce.__name__, "")

        def queue(*values: np.ndarray, out: np.ndarray) -> None:
            kernel = pair if len(values) == 2 else kernel_of(sign, len(values))
            # CuPy copies operands that share memory with the result, but not the result itself.
            there = {each.ctypes.data: self._there(each) for each in (*values, out)}
            kernel(*(there[each.ctypes.data] for each in (*values, out)))
            self._queued = True

        return queue

    def _there(self, array: np.ndarray) -> Any:
        """The CuPy array at the addresses of a numpy array; of another rank's GPU, too."""
        import cupy

        memory = cupy.cuda.UnownedMemory(array.ctypes.data, array.nbytes, None, *self._devices)
        return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, 0))

    def _mirror(self, buffer: Any) -> Any:
        if isinstance(buffer, (list, tuple)):
            return [self._mirror(buffer[0]), *buffer[1:]]
        array = array_on(buffer)
        self._arrays.append(array)
        there = _over(array, array.nbytes).view(array.dtype)
        return there.reshape(array.shape, order="C" if array.flags.c_contiguous else "F")


_SIGNS = {"add": "+", "multiply": "*"}
"""Of operations that C++ has, and that round as CuPy's own."""


@cache
def kernel_of(sign: str, count: int) -> Any:
    """The kernel that reduces some vectors, from left to right."""
    import cupy

    names = [f"x{i}" for i in range(count)]
    given = ", ".join(f"T {name}" for name in names)
    body = names[0]
    for name in names[1:]:
        body = f"T({body} {sign} {name})"  # rounded after each: C++ computes short types as int
    return cupy.ElementwiseKernel(given, "T y", f"y = {body}", f"swing_reduce_{count}")


def _over(array: Any, nbytes: int) -> np.ndarray:
    """(nbytes,) the addresses of a CuPy array."""
    return np.asarray(MPI.buffer.fromaddress(array.data.ptr if nbytes else 0, nbytes))
