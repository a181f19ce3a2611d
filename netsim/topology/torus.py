"""Torus and mesh: a link to each neighbour in both directions along every dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netsim.routing import distance, forward
from swing.schedule import LineRows
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx

Seed = tuple[int, ...]


class Traffic(NamedTuple):
    """Directed messages between nodes, each a weight (a fraction of the vector, or bytes)."""

    src: Array
    dst: Array
    weight: np.ndarray


@dataclass(frozen=True)
class TorusTopology:
    """The directed links of a torus or mesh.

    Loads are arrays of shape (ndim, 2, size): ``[j, 0, v]`` is the link that leaves node v to
    higher coordinates of dimension j, ``[j, 1, v]`` the one to lower. The two links between the
    nodes of a ring of two are both there. Nodes are row-major.
    """

    torus: Torus

    @property
    def name(self) -> str:
        """As `netsim.topology` takes it."""
        kind = "mesh" if not any(self.torus.wrap) else "torus"
        mixed = any(self.torus.wrap) and not all(self.torus.wrap)
        return f"{kind}:{self.torus}" + (f" wrap={self.torus.wrap}" if mixed else "")

    @property
    def dims(self) -> tuple[int, ...]:
        """Nodes along each dimension."""
        return self.torus.dims

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.torus.size

    @property
    def ndim(self) -> int:
        """D: dimensions that have links."""
        return len(self.torus.active)

    @property
    def diameter(self) -> int:
        """Hops between the two nodes that are farthest apart."""
        ways = zip(self.dims, self.torus.wrap, strict=True)
        return sum(d // 2 if wrap else d - 1 for d, wrap in ways)

    @cached_property
    def exists(self) -> np.ndarray:
        """(ndim, 2, size) which of the links there are."""
        coords = np.stack(np.unravel_index(np.arange(self.size), self.dims))
        links = np.empty((len(self.dims), 2, self.size), dtype=bool)
        for j, (d, wrap) in enumerate(zip(self.dims, self.torus.wrap, strict=True)):
            links[j, 0] = d > 1 if wrap else coords[j] < d - 1
            links[j, 1] = d > 1 if wrap else coords[j] > 0
        return links

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        ways = zip(self.dims, self.torus.wrap, strict=True)
        return sum(2 * (d if wrap else d - 1) * (self.size // d) for d, wrap in ways if d > 1)

    @property
    def least_ports(self) -> int:
        """Links that leave the node that has the fewest."""
        return sum(
            2 if wrap else 1 for d, wrap in zip(self.dims, self.torus.wrap, strict=True) if d > 1
        )

    def ends(self, link: tuple[int, int, int]) -> tuple[int, int]:
        """The nodes a link leaves and reaches."""
        j, way, node = link
        coords = list(np.unravel_index(node, self.dims))
        coords[j] = (coords[j] + (-1 if way else 1)) % self.dims[j]
        return node, int(np.ravel_multi_index(coords, self.dims))

    def hops(self, src: Array, dst: Array) -> Array:
        """(m,) links on the way of every message."""
        x, y = np.unravel_index(src, self.dims), np.unravel_index(dst, self.dims)
        ways = [distance(d, w, x[j], y[j]) for j, (d, w) in enumerate(self._ways())]
        total: Array = np.sum(ways, axis=0, dtype=np.int64)
        return total

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """(ndim, 2, size) the weight every link carries, routed dimension by dimension."""
        total = np.zeros((len(self.dims), 2, self.size))
        for j, (d, _) in enumerate(self._ways()):
            ring, x, y, share = self._leg(traffic, j, ties, seed)
            carried = _on_rings(d, self.size // d, ring, x, y, share, traffic.weight)
            total[j] = _lay(carried, self.dims, j)
        return total

    def _leg(
        self, traffic: Traffic, j: int, ties: str, seed: Seed
    ) -> tuple[Array, Array, Array, np.ndarray]:
        """The messages' way along dimension j: ring, from, to, fraction that goes to higher."""
        x, y = np.unravel_index(traffic.src, self.dims), np.unravel_index(traffic.dst, self.dims)
        corner = [*y[:j], *x[j:]]  # dimensions before j are done
        corner[j] = np.zeros_like(x[j])
        others = [1 if i == j else n for i, n in enumerate(self.dims)]
        rng = np.random.default_rng((*seed, j))
        share = forward(self.dims[j], self.torus.wrap[j], x[j], y[j], ties, rng)
        return np.ravel_multi_index(corner, others), x[j], y[j], share

    def line_peak(
        self, rows: Sequence[LineRows], units: Sequence[float], ties: str, seed: Seed = ()
    ) -> float:
        """The heaviest load on any link, from rows that stand for all lines of a dimension.

        Lines of a dimension differ only in how many blocks the other coordinates hold: it is
        enough to look at one line for every combination of those counts.
        """
        peak = 0.0
        for j, (d, wrap) in enumerate(self._ways()):
            along = [(row, unit) for row, unit in zip(rows, units, strict=True) if row.dim == j]
            along = [(row, unit) for row, unit in along if len(row.src)]
            if not along:
                continue
            rng = np.random.default_rng((*seed, j))
            one = np.stack([_line(d, wrap, row, unit, ties, rng).ravel() for row, unit in along])
            lines = np.ones((len(along), 1))
            for i in range(len(self.dims)):
                if i != j:
                    kinds = np.unique(np.stack([row.held[i] for row, _ in along]), axis=1)
                    lines = (lines[:, :, None] * kinds[:, None, :]).reshape(len(along), -1)
            peak = max(peak, float((np.unique(lines, axis=1).T @ one).max()))
        return peak

    def line_load(
        self, rows: Sequence[LineRows], units: Sequence[float], ties: str, seed: Seed = ()
    ) -> np.ndarray:
        """(ndim, 2, size) what `load` gives for the messages that the rows stand for."""
        total = np.zeros((len(self.dims), 2, self.size))
        for row, unit in zip(rows, units, strict=True):
            d, wrap = self.dims[row.dim], self.torus.wrap[row.dim]
            one = _line(d, wrap, row, unit, ties, np.random.default_rng((*seed, row.dim)))
            for way in (0, 1):
                counts = [one[way] if j == row.dim else h for j, h in enumerate(row.held)]
                grid = counts[0].astype(float)
                for count in counts[1:]:
                    grid = grid[..., None] * count
                total[row.dim, way] += grid.ravel()
        return total

    def line_hops(self, rows: Sequence[LineRows]) -> int:
        """The longest way of any message that the rows stand for."""
        ways = [(self.dims[row.dim], self.torus.wrap[row.dim], row) for row in rows]
        far = [distance(d, w, row.src, row.dst) for d, w, row in ways if len(row.src)]
        return max((int(hops.max()) for hops in far), default=0)

    def crossing(
        self, traffic: Traffic, link: tuple[int, int, int], ties: str, seed: Seed = ()
    ) -> Array:
        """The messages, by index, of which some part goes over a link."""
        j, way, node = link
        d = self.dims[j]
        ring, x, y, share = self._leg(traffic, j, ties, seed)
        at = np.unravel_index(node, self.dims)
        here = [0 if i == j else int(c) for i, c in enumerate(at)]
        on_ring = ring == np.ravel_multi_index(
            here, [1 if i == j else n for i, n in enumerate(self.dims)]
        )
        if way == 0:
            over = ((at[j] - x) % d < (y - x) % d) & (share > 0)
        else:
            over = ((x - at[j]) % d < (x - y) % d) & (share < 1)
        return np.flatnonzero(on_ring & over)

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """The links as a graph: nodes are numbers with ``coords``, edges have ``dim``."""
        import networkx as nx  # takes a third of the time that all of netsim takes to import

        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=self.name)
        for node in range(self.size):
            coords = tuple(int(x) for x in np.unravel_index(node, self.dims))
            graph.add_node(node, coords=coords)
        for j, way, node in np.argwhere(self.exists).tolist():
            graph.add_edge(*self.ends((j, way, node)), dim=j)
        return graph

    def _ways(self) -> list[tuple[int, bool]]:
        return list(zip(self.dims, self.torus.wrap, strict=True))


def _on_rings(
    d: int,
    nrings: int,
    ring: Array,
    src: Array,
    dst: Array,
    share: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """(2, nrings, d) what the links of rings carry: + links by the node they leave, then -.

    A message covers an interval of links; intervals are summed by their ends, on a ring cut
    open at 0 and laid out twice.
    """
    carried = np.empty((2, nrings, d))
    for way, (first, length, part) in enumerate(
        [
            (src, (dst - src) % d, share * weight),
            ((dst + 1) % d, (src - dst) % d, (1 - share) * weight),
        ]
    ):
        at = ring * (2 * d) + first
        ends = np.bincount(at, part, 2 * d * nrings)
        ends -= np.bincount(at + length, part, 2 * d * nrings)
        sums = np.cumsum(ends.reshape(nrings, 2, d).reshape(nrings, 2 * d), axis=1)
        carried[way] = sums[:, :d] + sums[:, d:]
    return np.maximum(carried, 0)


def _line(
    d: int, wrap: bool, row: LineRows, unit: float, ties: str, rng: np.random.Generator
) -> np.ndarray:
    share = forward(d, wrap, row.src, row.dst, ties, rng)
    zero = np.zeros_like(row.src)
    return _on_rings(d, 1, zero, row.src, row.dst, share, row.sent * unit)[:, 0]


def _lay(carried: np.ndarray, dims: tuple[int, ...], j: int) -> np.ndarray:
    """Rings of dimension j, put back where they lie: (2, nrings, d) to (2, size)."""
    others = [d for i, d in enumerate(dims) if i != j]
    return np.moveaxis(carried.reshape(2, *others, dims[j]), -1, j + 1).reshape(2, -1)
