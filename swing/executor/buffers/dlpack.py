"""Memory of objects that offer DLPack, as mpi4py reads it, and the type of its elements.

numpy could read both, but not all types that mpi4py reads. And mpi4py holds what the object offers,
a capsule, for as long as the memory is in use, on which some objects rely; numpy's array would
outlive the capsule.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from mpi4py import MPI

# The offset of DLTensor in a capsule of each name, and that of the type in DLTensor (dlpack.h).
_TENSOR = {b"dltensor": 0, b"dltensor_versioned": 32}
_TYPE = 20
_KINDS = {0: "i", 1: "u", 2: "f", 4: "bfloat", 5: "c", 6: "b"}  # DLDataTypeCode


class _Type(ctypes.Structure):
    """``DLDataType``."""

    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


def read_bytes(buffer: Any, name: str) -> np.ndarray:
    """(nbytes,) the memory of an object, in the order of its addresses.

    Args:
        buffer: an object with the method ``__dlpack__``, in host memory.
        name: its name in error messages.

    Raises:
        TypeError: it has only a part of DLPack's methods.
        ValueError: the object cannot offer its memory, or its values are not those in memory.
    """
    # torch negates and conjugates without touching memory, and offers the memory of the former.
    if hasattr(buffer, "is_neg") and buffer.is_neg():
        raise ValueError(f"{name} is a negated view: make it a tensor first, by resolve_neg()")
    try:
        try:
            return np.asarray(MPI.buffer.frombuffer(buffer))
        except BufferError:
            return np.asarray(MPI.buffer.frombuffer(buffer, readonly=True))
    except (TypeError, AttributeError):
        raise TypeError(
            f"{name} is a {type(buffer).__name__} without a buffer: use a numpy array"
        ) from None
    except (BufferError, RuntimeError) as error:
        raise ValueError(
            f"{name} offers no memory ({str(error)[:150]}): copy it to a numpy array"
        ) from None


def read(buffer: Any, name: str) -> np.ndarray:
    """(n,) the elements of an object, in the order of their addresses; see `read_bytes`.

    Raises:
        TypeError: elements of a type that numpy lacks.
        ValueError: see `read_bytes`.
    """
    memory = read_bytes(buffer, name)
    kind, bits, lanes = _type_of(buffer)
    if kind == "f" and lanes == 2:  # mpi4py takes pairs for complex numbers
        kind, bits, lanes = "c", 2 * bits, 1
    try:
        if (kind, bits, lanes) == ("bfloat", 16, 1):
            import ml_dtypes

            return memory.view(ml_dtypes.bfloat16)
        if bits % 8 or lanes != 1:
            raise TypeError
        return memory.view(f"{kind}{bits // 8}")
    except ImportError:
        raise ValueError(f"{name} holds bfloat16, which needs ml_dtypes: install it") from None
    except TypeError:
        raise TypeError(
            f"{name} holds elements of {bits} bits (DLPack's type {kind}, {lanes} lanes), which "
            "MPI lacks: use a numpy array of numbers"
        ) from None


def _type_of(buffer: Any) -> tuple[str, int, int]:
    """The kind of the elements, their bits and lanes, from a capsule as mpi4py has read it."""
    try:
        capsule = buffer.__dlpack__(max_version=(1, 0), copy=False)
    except TypeError:  # before DLPack 1.0
        capsule = buffer.__dlpack__()
    name = _name(capsule)
    element = _Type.from_address(_pointer(capsule, name) + _TENSOR[name] + _TYPE)
    return _KINDS.get(element.code, str(element.code)), element.bits, element.lanes


_name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(
    ("PyCapsule_GetName", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
