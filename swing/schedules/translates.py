"""Messages that are translates of each other: what one rank sends, shifted over the torus.

In a schedule that treats all ranks alike, one rank's messages describe those of all ranks, and a
block is named by its offsets: where its origin and its home are, as seen from the rank that sends
it. So the p² blocks of an all-to-all need p names, one for each offset from an origin to a home.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from swing.torus import Array, Torus


class Translates(NamedTuple):
    """One message of every rank in a step: rank x sends it to the rank at x + shift.

    The message of rank x carries the n blocks of a part whose origin is at x + ``origin[i]`` and
    whose home is at x + ``home[i]``. All sums are taken modulo the sizes of the torus.

    Args:
        torus: the coordinates of the ranks.
        part: the part that all messages belong to.
        reduces: whether the receivers reduce the messages; otherwise they copy them.
        shift: (D,) from the sender to the receiver.
        origin: (n, D) from the sender to the origin of each block; None if that is `ALL`.
        home: (n, D) from the sender to the home of each block; None if that is `ALL`.
    """

    torus: Torus
    part: int
    reduces: bool
    shift: Array
    origin: Array | None
    home: Array | None

    @property
    def nblocks(self) -> int:
        """Number of blocks of each message."""
        column = self.home if self.home is not None else self.origin
        return 0 if column is None else len(column)

    def reversed(self, flip: bool) -> Translates:
        """Turn the messages round; with ``flip``, reductions become copies and vice versa."""
        origin, home = (
            None if column is None else column - self.shift for column in (self.home, self.origin)
        )
        return self._replace(
            reduces=self.reduces ^ flip, shift=-self.shift, origin=origin, home=home
        )


def node_at(torus: Torus, coords: Array) -> Array:
    """Return the (n,) row-major positions of (n, D) coordinates modulo the sizes of the torus."""
    nodes: Array = np.ravel_multi_index(tuple(coords.T), torus.dims, mode="wrap")
    return nodes


def coords_of(torus: Torus, nodes: Array) -> Array:
    """Return the (n, D) coordinates of (n,) row-major positions."""
    return np.stack(np.unravel_index(nodes, torus.dims), axis=-1)
