"""GPU arrays by CuPy: recognize them, and copy them to pinned host memory and back (staging).

Staging serves MPI libraries that cannot access GPU memory, such as those of the quick start; for
the others see `swing.executor.gpu.gpu_aware`. CuPy is imported when the first GPU array is met, so
the executor works without it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from swing.executor.buffers.transport import Kind, Transport
from swing.executor.gpu.staging import stage
from swing.executor.plan.instruction import Instruction

STAGED_BYTES = 2**22
"""Bytes of a part of a vector: large enough that copying it takes far longer than launching it."""

_NO_CUPY = 'GPU arrays need CuPy: pip install "torus-swing[cuda12]"'
_ON_GPU = (2, 10, 13)  # DLPack's device types of CUDA, ROCm and CUDA managed memory
_MEMORY_TYPE, _HOST = 2, 1  # CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_MEMORYTYPE_HOST
# CUDA_ERROR_INVALID_VALUE: the driver does not know the address. CUDA_ERROR_NOT_INITIALIZED: this
# process has not used a GPU. Either way the address cannot be that of GPU memory.
_NOT_GPU_MEMORY = (1, 3)


def is_on_device(buffer: Any) -> bool:
    """Whether a buffer, or the buffer of a ``[buf, …]`` specification, is GPU memory.

    It imports nothing, so calls with host buffers stay fast.
    """
    if type(buffer) is np.ndarray or buffer is None:
        return False
    if isinstance(buffer, (list, tuple)):
        return bool(buffer) and is_on_device(buffer[0])
    interface = getattr(buffer, "__cuda_array_interface__", None)
    if interface is not None and interface["data"][0]:  # 0: an empty array
        return is_device_memory(interface["data"][0])
    return hasattr(buffer, "__dlpack_device__") and buffer.__dlpack_device__()[0] in _ON_GPU


def is_device_memory(address: int) -> bool:
    """Whether an address is in GPU memory, according to the CUDA driver.

    The address comes from an object's ``__cuda_array_interface__``, which may describe host memory;
    MPI accepts that. Without a CUDA driver the address is taken for GPU memory if there is a ROCm
    driver. It also is if the driver fails for any reason but those in `_NOT_GPU_MEMORY`.
    """
    ask = _driver()
    if ask is None:
        return Path("/dev/kfd").exists()  # the device file of ROCm's driver
    kind = ctypes.c_uint(0)
    failed = ask(ctypes.byref(kind), _MEMORY_TYPE, ctypes.c_void_p(address))
    return kind.value != _HOST if not failed else failed not in _NOT_GPU_MEMORY


def host_for(buffer: Any) -> Any:
    """A pinned host buffer with the shape and type of a device buffer; host buffers as they are.

    Pinned memory can be copied asynchronously. The contents of the new buffer are undefined.

    Args:
        buffer: any buffer, or a ``[buf, …]`` specification, for which a specification is returned.

    Raises:
        ImportError: CuPy is missing.
        ValueError: the device memory is not contiguous.
    """
    if not is_on_device(buffer):
        return buffer
    if isinstance(buffer, (list, tuple)):
        return [host_for(buffer[0]), *buffer[1:]]
    array = array_on(buffer)
    import cupyx

    order = "C" if array.flags.c_contiguous else "F"
    return cupyx.empty_pinned(array.shape, array.dtype, order)


def fetch(buffer: Any, host: Any) -> None:
    """Copy a device buffer to its host buffer, after the work queued on CuPy's current stream.

    Args:
        buffer: a buffer or specification; nothing is done if it is ``host`` itself.
        host: the result of `host_for` for it.
    """
    if host is buffer:
        return
    if isinstance(buffer, (list, tuple)):
        return fetch(buffer[0], host[0])
    synchronize()
    array_on(buffer).get(out=host)


def put(host: Any, buffer: Any) -> None:
    """Copy a host buffer back to its device buffer, and wait for it; see `fetch`."""
    if host is buffer:
        return
    if isinstance(buffer, (list, tuple)):
        return put(host[0], buffer[0])
    array_on(buffer).set(host)
    synchronize()


def trouble() -> str:
    """Why vectors cannot be put on a GPU, and the remedy; empty if they can."""
    try:
        import cupy
    except ImportError:
        return _NO_CUPY
    return "" if cupy.is_available() else "CuPy finds no GPU here: run it on a node that has one"


def use(nth: int) -> None:
    """Make GPU ``nth`` (modulo the number of visible GPUs) CuPy's current device."""
    import cupy

    cupy.cuda.Device(nth % cupy.cuda.runtime.getDeviceCount()).use()


def empty(shape: Any, dtype: np.dtype[Any]) -> Any:
    """A CuPy array with undefined contents.

    Raises:
        ImportError: CuPy is missing.
        RuntimeError: there is no GPU.
    """
    why = trouble()
    if why:
        raise ImportError(why) if why == _NO_CUPY else RuntimeError(why)
    import cupy

    return cupy.empty(shape, dtype)


def stream(address: int) -> AbstractContextManager[Any]:
    """A context in which another library's CUDA stream is CuPy's current stream.

    Args:
        address: the ``cudaStream_t`` of the stream.
    """
    import cupy

    external: AbstractContextManager[Any] = cupy.cuda.ExternalStream(address)
    return external


class Staged(Transport):
    """A send and a receive buffer, at least one of which is staged in host memory, part by part.

    All copies are queued on CuPy's current stream, behind the work that the caller has queued.

    Args:
        source: the send buffer, or its ``[buf, …]`` specification.
        target: the receive buffer; in place, it is the object ``source``.

    Attributes:
        source, target: the host buffers of both, see `host_for`.

    Raises:
        ImportError: CuPy is missing.
        ValueError: device memory is not contiguous, or the receive buffer is read-only.
    """

    kind = Kind.STAGED

    def __init__(self, source: Any, target: Any) -> None:
        check_writable(target)
        self.source = host_for(source)
        self.target = self.source if target is source else host_for(target)
        self._from = _bytes(source, self.source)
        self._to = _bytes(target, self.target)
        self._stream: Any = None
        self._arrived: list[Any] = []  # one CUDA event per part of the source

    def start(self) -> None:
        """Begin to copy all parts of the source to the host."""
        import cupy

        self._stream = cupy.cuda.get_current_stream()
        on_gpu, on_host = self._from
        for start in range(0, len(on_gpu), STAGED_BYTES):
            part = slice(start, start + STAGED_BYTES)
            on_gpu[part].get(out=on_host[part], stream=self._stream, blocking=False)
            self._arrived.append(self._stream.record())

    def fetch(self, part: np.ndarray) -> None:
        """Wait until a part of the source is on the host; return at once for a host buffer.

        Args:
            part: a range of the host buffer; it may overlap several of the parts that are copied.
        """
        start = part.ctypes.data - self._from[1].ctypes.data
        for event in self._arrived[
            max(start, 0) // STAGED_BYTES : -(-(start + part.nbytes) // STAGED_BYTES)
        ]:
            event.synchronize()

    def put(self, part: np.ndarray) -> None:
        """Begin to copy a part of the target to the device; do nothing for a host buffer."""
        on_gpu, on_host = self._to
        if len(on_gpu):
            start = part.ctypes.data - on_host.ctypes.data
            copied = slice(start, start + part.nbytes)
            on_gpu[copied].set(on_host[copied], stream=self._stream)

    def stage(self, plan: Any, dtype: np.dtype[Any], in_place: bool) -> list[Instruction]:
        """The plan with the copies to and from the host."""
        return stage(plan, max(1, STAGED_BYTES // dtype.itemsize), in_place)

    def before_mpi(self) -> None:
        """Copy the whole source to the host."""
        self.start()
        self.finish()

    def after_mpi(self) -> None:
        """Begin to copy the whole target to the device."""
        self.put(self._to[1])

    def finish(self) -> None:
        """Wait until all copies are done."""
        if self._stream is not None:
            self._stream.synchronize()


def check_writable(buffer: Any) -> None:
    """Check that a buffer is not read-only device memory.

    Raises:
        ValueError: it is read-only.
    """
    if isinstance(buffer, (list, tuple)) and buffer:
        buffer = buffer[0]
    interface = getattr(buffer, "__cuda_array_interface__", None)
    if interface is not None and interface["data"][1]:
        raise ValueError("the receive buffer is read-only device memory: pass a writable array")


def array_on(buffer: Any) -> Any:
    """A CuPy array over a contiguous device buffer, in C or Fortran order.

    Raises:
        ImportError: CuPy is missing.
        ValueError: the buffer is not contiguous.
    """
    try:
        import cupy
    except ImportError as error:
        raise ImportError(_NO_CUPY) from error
    # CuPy's current stream has to wait for the work that the buffer's owner has queued on its own
    # stream. CuPy arranges that if the interface names the stream, and with DLPack. The interface
    # of a torch tensor names no stream, so DLPack is preferred there.
    named = "stream" in getattr(buffer, "__cuda_array_interface__", ())
    by_dlpack = not named and hasattr(buffer, "__dlpack__")
    array = cupy.from_dlpack(buffer) if by_dlpack else cupy.asarray(buffer)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError(
            "a device buffer is not contiguous: make it so first, a = cupy.ascontiguousarray(a)"
        )
    return array


def _bytes(buffer: Any, host: Any) -> tuple[Any, np.ndarray]:
    """(nbytes,) the bytes of a device buffer and of its host buffer; both empty without staging."""
    if host is buffer:
        return (), np.empty(0, np.uint8)
    if isinstance(buffer, (list, tuple)):
        buffer, host = buffer[0], host[0]
    on_gpu, on_host = (
        array.reshape(-1, order="A").view(np.uint8) for array in (array_on(buffer), host)
    )
    return on_gpu, on_host


@cache
def _driver() -> Callable[..., int] | None:
    """The CUDA driver's function for attributes of a pointer; None without a CUDA driver."""
    try:
        get_attribute: Callable[..., int] = ctypes.CDLL("libcuda.so.1").cuPointerGetAttribute
    except (OSError, AttributeError):
        return None
    return get_attribute


def synchronize() -> None:
    """Wait for all work that has been queued on CuPy's current stream."""
    import cupy

    cupy.cuda.get_current_stream().synchronize()
