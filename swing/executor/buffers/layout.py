"""Layouts: how elements lie in memory, and dense copies of them.

Messages carry the elements of a datatype in the order of its type signature, without gaps. All
ranks have the same signature, but their layouts may differ. Where elements already lie in memory as
in a message, messages and reductions use the user's memory itself. Otherwise MPI packs them into a
dense copy before, and unpacks the result after.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from swing.executor.buffers.datatypes import decoded, free


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


def is_dense(datatype: MPI.Datatype) -> bool:
    """Whether elements lie in memory as in a message: in order, without gaps or overlaps.

    The answer may be no for a datatype that is made from others which lie otherwise.
    """
    bounds = 0, datatype.size
    if datatype.Get_extent() != bounds or datatype.Get_true_extent() != bounds:
        return False
    if not datatype.size or datatype.is_predefined:
        return datatype.size > 0
    with decoded(datatype) as (base, combiner, fields):
        bases = {MPI._handleof(each): each for each in fields.get("datatypes", [base])}
        dense = {handle for handle, each in bases.items() if is_dense(each)}
        end = 0
        for start, count, each in _blocks(base, combiner, fields):
            if count and each.size:
                if start != end or MPI._handleof(each) not in dense:
                    return False
                end += count * each.size
    return True


def _blocks(
    base: MPI.Datatype, combiner: str, fields: dict[str, Any]
) -> Iterator[tuple[int, int, MPI.Datatype]]:
    """The first byte of each block of a datatype, its number of elements, and their type.

    If all blocks have the same distance, these are the first two. Those of a subarray are in
    order, so it is dense if its bounds are; it counts as one block here.
    """
    in_bytes = combiner in ("HVECTOR", "HINDEXED", "HINDEXED_BLOCK", "STRUCT")
    starts = [0, fields["stride"]][: fields["count"]] if "stride" in fields else [0]
    starts = fields.get("displacements", starts)
    counts = fields.get("blocklengths", [fields.get("blocklength", 1)] * len(starts))
    bases = fields.get("datatypes", [base] * len(starts))
    for start, count, each in zip(starts, counts, bases, strict=True):
        yield start if in_bytes else start * each.extent, count, each
