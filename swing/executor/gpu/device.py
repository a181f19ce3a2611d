"""GPU arrays through host memory and back, where MPI can not read them: see `direct` where it can.

The MPI libraries of the quick start can not, so vectors are staged in pinned host memory. CuPy is
imported when a device array is there, not before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

STAGING = "through pinned host memory, in parts and in order with CuPy's current stream"
STAGED_BYTES = 2**22
"""Bytes of a part: copying it takes long beside what it takes to begin."""

_NO_CUPY = 'GPU arrays need CuPy: pip install "torus-swing[cuda12]"'
_ON_GPU = (2, 10, 13)  # DLPack's numbers of CUDA, ROCm and CUDA managed memory
_MEMORY_TYPE, _HOST = 2, 1  # CUDA's numbers of a pointer's attribute and of its value
_UNKNOWN = (1, 3)  # errors: no memory that the driver knows; not one call has been made to it


def is_on_device(buffer: Any) -> bool:
    """Whether a buffer, or that of a ``[buf, …]`` specification, is GPU memory; imports nothing."""
    if type(buffer) is np.ndarray or buffer is None:
        return False
    if isinstance(buffer, (list, tuple)):
        return bool(buffer) and is_on_device(buffer[0])
    interface = getattr(buffer, "__cuda_array_interface__", None)
    if interface is not None and interface["data"][0]:  # 0: there are no elements
        return is_device_memory(interface["data"][0])
    return hasattr(buffer, "__dlpack_device__") and buffer.__dlpack_device__()[0] in _ON_GPU


def is_device_memory(address: int) -> bool:
    """Whether an address is a GPU's: not if no driver of GPUs is there, or it says no.

    Anybody can offer ``__cuda_array_interface__``, also for host memory, and MPI takes it.
    """
    ask = _driver()
    if ask is None:
        return Path("/dev/kfd").exists()  # ROCm's driver, which is not asked
    kind = ctypes.c_uint(0)
    failed = ask(ctypes.byref(kind), _MEMORY_TYPE, ctypes.c_void_p(address))
    return kind.value != _HOST if not failed else failed not in _UNKNOWN


def host_for(buffer: Any) -> Any:
    """A host buffer that can stand for a device buffer; host buffers stand for themselves.

    Args:
        buffer: any buffer, or a ``[buf, …]`` specification.

    Raises:
        ImportError: CuPy is missing.
        ValueError: device memory that is not contiguous.
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
    """Copy a device buffer to its stand-in, once the work queued on CuPy's stream is done."""
    if host is buffer:
        return
    if isinstance(buffer, (list, tuple)):
        return fetch(buffer[0], host[0])
    synchronize()
    array_on(buffer).get(out=host)


def put(host: Any, buffer: Any) -> None:
    """Copy the stand-in to the device buffer."""
    if host is buffer:
        return
    if isinstance(buffer, (list, tuple)):
        return put(host[0], buffer[0])
    array_on(buffer).set(host)
    synchronize()


def trouble() -> str:
    """Why there is no GPU to put vectors on, and the mend; empty if there is one."""
    try:
        import cupy
    except ImportError:
        return _NO_CUPY
    return "" if cupy.is_available() else "CuPy finds no GPU here: run it on a node that has one"


def use(nth: int) -> None:
    """From now on work on a GPU of this node; counted round and round."""
    import cupy

    cupy.cuda.Device(nth % cupy.cuda.runtime.getDeviceCount()).use()


def empty(shape: Any, dtype: np.dtype[Any]) -> Any:
    """A CuPy array, not set to anything.

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
    """A context whose CuPy stream is another library's."""
    import cupy

    found: AbstractContextManager[Any] = cupy.cuda.ExternalStream(address)
    return found


class Copies:
    """Vectors of which some are in GPU memory, host memory for these, and copies between the two.

    All copies are queued on CuPy's current stream, behind what the caller has queued there.

    Args:
        source: buffer, or ``[buf, …]`` specification, to be reduced.
        target: where the result goes; may be ``source``.

    Attributes:
        source, target: host buffers that stand for them.

    Raises:
        ImportError, ValueError: as `host_for`, or ``target`` is read-only.
    """

    def __init__(self, source: Any, target: Any) -> None:
        check_writable(target)
        self.source = host_for(source)
        self.target = self.source if target is source else host_for(target)
        self._from = _bytes(source, self.source)
        self._to = _bytes(target, self.target)
        self._stream: Any = None
        self._came: list[Any] = []  # an event for each part

    def start(self) -> None:
        """Begin to copy the source to the host, part by part."""
        import cupy

        self._stream = cupy.cuda.get_current_stream()
        there, here = self._from
        for start in range(0, len(there), STAGED_BYTES):
            some = slice(start, start + STAGED_BYTES)
            there[some].get(out=here[some], stream=self._stream, blocking=False)
            self._came.append(self._stream.record())

    def fetch(self, part: np.ndarray) -> None:
        """Wait until a part of the source's stand-in is there; at once if it is no stand-in."""
        start = part.ctypes.data - self._from[1].ctypes.data
        for event in self._came[
            max(start, 0) // STAGED_BYTES : -(-(start + part.nbytes) // STAGED_BYTES)
        ]:
            event.synchronize()

    def put(self, part: np.ndarray) -> None:
        """Begin to copy a part of the target's stand-in to where it belongs."""
        there, here = self._to
        if len(there):
            start = part.ctypes.data - here.ctypes.data
            some = slice(start, start + part.nbytes)
            there[some].set(here[some], stream=self._stream)

    def put_all(self) -> None:
        """Begin to copy all of the target's stand-in."""
        self.put(self._to[1])

    def finish(self) -> None:
        """Wait until all copies are over."""
        if self._stream is not None:
            self._stream.synchronize()


def check_writable(buffer: Any) -> None:
    """Raise ValueError if a buffer is device memory marked read-only."""
    if isinstance(buffer, (list, tuple)) and buffer:
        buffer = buffer[0]
    interface = getattr(buffer, "__cuda_array_interface__", None)
    if interface is not None and interface["data"][1]:
        raise ValueError("the receive buffer is read-only device memory: pass a writable array")


def array_on(buffer: Any) -> Any:
    """The CuPy array of a device buffer; contiguous, in either order."""
    try:
        import cupy
    except ImportError as error:
        raise ImportError(_NO_CUPY) from error
    # An interface that names its stream, and DLPack, make CuPy's stream wait for what the owner
    # has queued on its own. Torch's interface names none.
    named = "stream" in getattr(buffer, "__cuda_array_interface__", ())
    by_dlpack = not named and hasattr(buffer, "__dlpack__")
    array = cupy.from_dlpack(buffer) if by_dlpack else cupy.asarray(buffer)
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        raise ValueError(
            "a device buffer is not contiguous: make it so first, a = cupy.ascontiguousarray(a)"
        )
    return array


def _bytes(buffer: Any, host: Any) -> tuple[Any, np.ndarray]:
    """(nbytes,) GPU memory and what stands for it; both empty for a host buffer."""
    if host is buffer:
        return (), np.empty(0, np.uint8)
    if isinstance(buffer, (list, tuple)):
        buffer, host = buffer[0], host[0]
    there, here = (a.reshape(-1, order="A").view(np.uint8) for a in (array_on(buffer), host))
    return there, here


@cache
def _driver() -> Callable[..., int] | None:
    """What tells the attributes of a pointer, from the CUDA driver; None without such a driver."""
    try:
        found: Callable[..., int] = ctypes.CDLL("libcuda.so.1").cuPointerGetAttribute
    except (OSError, AttributeError):
        return None
    return found


def synchronize() -> None:
    """Wait for all that has been queued on CuPy's current stream."""
    import cupy

    cupy.cuda.get_current_stream().synchronize()
