"""Facts about MPI datatypes: their numpy types, their gaps, and their names in error messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

NUMBERS = frozenset(np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?")
"""The codes of numpy's types of numbers."""


def type_name(dtype: np.dtype[Any], datatype: MPI.Datatype | None) -> str:
    """The name of an element type, for error messages."""
    return str(dtype) if datatype is None else datatype.name or "a datatype without a name"


def number_type(datatype: MPI.Datatype) -> np.dtype[Any] | None:
    """The numpy type that corresponds to an MPI type of numbers; None for any other type."""
    try:
        number = np.dtype(datatype.tocode())
    except ValueError:
        return None
    return number if number.char in NUMBERS else None


def has_gaps(datatype: MPI.Datatype) -> bool:
    """Whether an element has gaps, so that it must not be copied as a range of bytes."""
    dense = datatype.is_named or datatype.size == datatype.extent
    return datatype.lb != 0 or datatype.extent <= 0 or not dense


def is_gapped(buf: Any) -> bool:
    """Whether a buffer specification has a datatype with gaps."""
    datatype = buf[-1] if isinstance(buf, (list, tuple)) and buf else None
    return isinstance(datatype, MPI.Datatype) and has_gaps(datatype)
