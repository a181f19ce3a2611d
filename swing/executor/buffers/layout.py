"""Layouts: how elements lie in memory, and dense copies of them.

Messages carry the elements of a datatype in the order of its type signature, without gaps. All
ranks have the same signature, but their layouts may differ. Where elements already lie in memory as
in a message, messages and reductions use the user's memory itself. Otherwise MPI packs them into a
dense copy before, and unpacks the result after.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import free

_CHUNK = 2**16  # bytes whose numbers are in memory at a time


class Layout:
    """Pieces of elements that do not lie densely; where they are in memory is left open.

    Args:
        datatype: the type of the elements. The user may free it later.
        counts: the number of elements of each piece.
        starts: the displacement of each piece, in extents of the datatype.
        comm: the communicator of the call.
    """

    def __init__(
        self, datatype: MPI.Datatype, counts: Sequence[int], starts: Sequence[int], comm: MPI.Comm
    ) -> None:
        # mpi4py divides the length of the memory by the extent to get the count: for one element
        # of this type, wherever its data is, it takes one byte. And it refuses the address of
        # MPI.BOTTOM, 0: so add 1 to addresses, and subtract it from displacements.
        indexed = datatype.Create_indexed(counts, starts)
        shifted = indexed.Create_hindexed([1], [-1])
        self._whole = shifted.Create_resized(0, 1).Commit()
        indexed.Free()
        shifted.Free()
        weakref.finalize(self, free, self._whole).atexit = False
        # The user may free the communicator while an operation needs the layout.
        self.comm = MPI.COMM_SELF if MPI.Is_initialized() else comm

    def pack(self, address: int, dense: np.ndarray) -> None:
        """Copy the elements to a dense vector; displacement 0 is at an address."""
        if dense.nbytes:
            self._whole.Pack(MPI.buffer.fromaddress(address + 1, 1), dense, 0, self.comm)

    def unpack(self, dense: np.ndarray, address: int) -> None:
        """Copy the elements from a dense vector to memory; no other byte is written."""
        if dense.nbytes:
            self._whole.Unpack(dense, 0, MPI.buffer.fromaddress(address + 1, 1), self.comm)

    def bounds(self) -> tuple[int, int]:
        """The displacements in bytes of the first data and of the end of the last."""
        low, length = self._whole.Get_true_extent()
        return low + 1, low + 1 + length

    def bytes_used(self) -> np.ndarray:
        """For each byte within the bounds, whether it is data."""
        low, end = self.bounds()
        used = np.zeros(end - low, bool)
        self.unpack(np.ones(self._whole.size, bool), MPI.Get_address(used) - low)
        return used


def check_committed(datatype: MPI.Datatype, name: str, comm: MPI.Comm) -> None:
    """Check that a datatype has been committed.

    MPI would refuse it in the first reduction otherwise, when messages are under way already.

    Raises:
        ValueError: the datatype of the buffer called ``name`` has not been committed.
    """
    if datatype.is_predefined:
        return
    own = MPI.COMM_SELF if MPI.Is_initialized() else comm
    try:
        datatype.Pack_size(1, own)  # MPICH checks here, and Open MPI in the next call
        own.Recv_init([bytearray(), 0, datatype], 0).Free()
    except MPI.Exception as error:
        if error.Get_error_class() != MPI.ERR_TYPE:
            raise
        raise ValueError(
            f"{name} has a datatype that is not committed: commit it first, datatype.Commit()"
        ) from None


def is_dense(datatype: MPI.Datatype, comm: MPI.Comm) -> bool:
    """Whether elements lie in memory as in a message: in order, without gaps or overlaps."""
    size, bounds = datatype.size, (0, datatype.size)
    if not size or datatype.Get_extent() != bounds or datatype.Get_true_extent() != bounds:
        return False
    if datatype.is_predefined:
        return True
    base, combiner, _ = datatype.decode()
    try:
        if combiner in ("CONTIGUOUS", "DUP") and is_dense(base, comm):
            return True
    finally:
        if not base.is_predefined:
            base.Free()
    # Number the bytes of an element, and see whether a message has them in order. The numbers are
    # compared one byte of them after the other.
    layout = Layout(datatype, [1], [0], comm)
    element, message = np.empty((2, size), np.uint8)
    for shift in range(0, int(size - 1).bit_length(), 8):
        for start in range(0, size, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, size))
            element[start : start + _CHUNK] = numbers >> shift & 0xFF
        layout.pack(MPI.Get_address(element), message)
        if not np.array_equal(message, element):
            return False
    return True
