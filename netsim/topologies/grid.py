"""Grid topologies: torus, mesh, HyperX and HammingMesh, with dimension-order routing.

A grid is a product of rows: all rows of one dimension are copies of one small network
(`netsim.topologies.row.Row`). A message travels dimension by dimension, lowest first. Hence the
load of a step that repeats one pattern on all lines of a dimension (a line is the nodes of a row)
follows from the load of a single row, which costs Σ d_i instead of p (`Grid.line_peak`,
`Grid.line_load`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Path, Row, Traffic
from swing.schedules.step import LineRows
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class Grid:
    """A topology made of rows.

    Nodes are numbered in row-major order. Links are numbered dimension by dimension, within a
    dimension row by row, and within a row as `Row.ends` lists them.

    Args:
        kind: name without dimensions, such as ``torus``.
        torus: the dimensions.
        rows: the network of each dimension.
        first_router: delay of the sender's router, in units of the network's router latency.
    """

    kind: str
    torus: Torus
    rows: tuple[Row, ...]
    first_router: float = 1.0

    @property
    def name(self) -> str:
        """Name that `netsim.topology` accepts, such as ``torus:8x8``."""
        return f"{self.kind}:{self.torus.name.partition(':')[2]}"

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
        """D, the number of dimensions that have links."""
        return len(self.torus.active)

    @cached_property
    def first_links(self) -> list[int]:
        """(dimensions + 1,) index of each dimension's first link; the last entry is ``nlinks``."""
        nlinks = [len(r.ends) * (self.size // d) for r, d in zip(self.rows, self.dims, strict=True)]
        first: list[int] = np.cumsum([0, *nlinks]).tolist()
        return first

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        return self.first_links[-1]

    def _tile(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Repeat each dimension's (nlinks of one row,) array over all its rows: (nlinks,)."""
        nrows = [self.size // d for d in self.dims]
        return np.concatenate([np.tile(v, n) for v, n in zip(values, nrows, strict=True)])

    @cached_property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, in units of the network's link latency."""
        return self._tile([row.wire for row in self.rows])

    @cached_property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router that each link leads to, in units of the network's."""
        return self._tile([row.router for row in self.rows])

    @cached_property
    def direction(self) -> Array:
        """(nlinks,) +1 towards higher coordinates, -1 towards lower, 0 for neither."""
        return self._tile([row.direction for row in self.rows])

    @cached_property
    def dim(self) -> Array:
        """(nlinks,) the dimension of every link."""
        return np.repeat(np.arange(len(self.dims)), np.diff(self.first_links))

    @cached_property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices that each link leaves and reaches; switches follow the nodes."""
        ends, switches = [], self.size
        for j, (row, d) in enumerate(zip(self.rows, self.dims, strict=True)):
            nodes = np.moveaxis(np.arange(self.size).reshape(self.dims), j, -1).reshape(-1, d)
            per_row = max(int(row.ends.max(initial=-1)) + 1 - d, 0)
            row_switches = switches + np.arange(len(nodes) * per_row).reshape(len(nodes), per_row)
            switches += row_switches.size
            vertices = np.concatenate([nodes, row_switches], axis=1)
            ends.append(vertices[:, row.ends].reshape(-1, 2))
        return np.concatenate(ends)

    @cached_property
    def diameter(self) -> Path:
        """The `Path` between the two nodes that are farthest apart: the sum over dimensions."""
        total = Path(0, 0.0, 0.0)
        for row, d in zip(self.rows, self.dims, strict=True):
            if d <= 1024:
                src, dst = np.divmod(np.arange(d * d), d)
            else:
                # All d² pairs would take too much memory. In rings, meshes and HyperX node 0 has
                # a farthest peer; in hx4mesh this may come out one board trace too short.
                src, dst = np.zeros(d, dtype=np.int64), np.arange(d)
            worst = row.path(src, dst).max(axis=0)
            total = Path(
                total.hops + int(worst[0]), total.wire + worst[1], total.routers + worst[2]
            )
        return total

    @cached_property
    def most_ports(self) -> tuple[int, int]:
        """The most links out of any node, and the most into any node."""
        out, into = (
            sum(
                int(np.bincount(row.ends[:, side], minlength=row.d)[: row.d].max())
                for row in self.rows
            )
            for side in (0, 1)
        )
        return out, into

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """(nlinks,) the total weight of the messages on every link."""
        loads = [
            self.rows[j].load(self.size // self.dims[j], row, leg, ties, (*seed, j)).ravel()
            for j, row, leg in self._legs(traffic)
        ]
        return np.concatenate(loads)

    def routes(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Routes:
        """The routes from each src to its dst, dimension by dimension."""
        routes = Routes.single(np.zeros_like(src), np.zeros(0, dtype=np.int64))
        for j, row, leg in self._legs(Traffic(src, dst, np.ones(len(src)))):
            along = self.rows[j].routes(leg.src, leg.dst, ties, (*seed, j))
            base = self.first_links[j] + row * len(self.rows[j].ends)
            offset = base[along.message[along.per_link()]]
            routes = routes.then(along._replace(links=along.links + offset))
        return routes

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
        legs = self._legs(Traffic(src, dst, np.ones(len(src))))
        total = np.zeros((len(src), 3))
        for j, _, leg in legs:
            total += self.rows[j].path(leg.src, leg.dst)
        return total

    def _legs(self, traffic: Traffic) -> Iterator[tuple[int, Array, Traffic]]:
        """Yield (dimension, row of every message, source and destination in that row).

        Routing goes from dimension 0 up. So while a message travels along dimension j, its
        coordinates below j are already the receiver's and those above j are still the sender's.
        """
        x = np.stack(np.unravel_index(traffic.src, self.dims))
        y = np.stack(np.unravel_index(traffic.dst, self.dims))
        for j in range(len(self.dims)):
            corner = [*y[:j], np.zeros_like(x[j]), *x[j + 1 :]]
            other_dims = [1 if i == j else n for i, n in enumerate(self.dims)]
            row = np.ravel_multi_index(corner, other_dims)
            yield j, row, Traffic(x[j], y[j], traffic.weight)

    def line_peak(
        self, lines: Sequence[LineRows], units: Sequence[float], ties: str, seed: Seed = ()
    ) -> float:
        """The largest weight on any link, computed from one line per dimension.

        Lines of a dimension differ only in how many blocks their other coordinates hold, so one
        line per combination of those counts is enough.

        Args:
            lines: what each part does on all lines of a dimension, over any number of steps.
            units: weight of one block of each of ``lines``.
            ties: a rule of `netsim.topologies.ties.TIES`.
            seed: for random ties.
        """
        peak = 0.0
        for j in range(len(self.dims)):
            along = [(line, u) for line, u in zip(lines, units, strict=True) if line.dim == j]
            if not along:
                continue
            per_block = np.concatenate([self._line(line, u, ties, seed) for line, u in along])
            factors = np.ones((len(along), 1))
            for i in range(len(self.dims)):
                if i != j:
                    counts = np.unique(np.stack([line.pending[i] for line, _ in along]), axis=1)
                    factors = (factors[:, :, None] * counts[:, None, :]).reshape(len(along), -1)
            peak = max(peak, float((np.unique(factors, axis=1).T @ per_block).max(initial=0)))
        return peak

    def line_load(
        self, lines: Sequence[LineRows], units: Sequence[float], ties: str, seed: Seed = ()
    ) -> np.ndarray:
        """(nlinks,) the result of `load` for all messages that ``lines`` stand for."""
        total = np.zeros(self.nlinks)
        for line, unit in zip(lines, units, strict=True):
            factors = np.ones(1)  # one per row of the dimension
            for i, pending in enumerate(line.pending):
                if i != line.dim:
                    factors = np.multiply.outer(factors, pending).ravel()
            links = slice(self.first_links[line.dim], self.first_links[line.dim + 1])
            total[links] += np.outer(factors, self._line(line, unit, ties, seed)).ravel()
        return total

    def line_paths(self, lines: Sequence[LineRows]) -> np.ndarray:
        """(k, 3) the distinct `Path` values of all messages that ``lines`` stand for."""
        paths = [self.rows[line.dim].path(line.src, line.dst) for line in lines]
        return np.unique(np.concatenate(paths), axis=0)

    def _line(self, line: LineRows, unit: float, ties: str, seed: Seed) -> np.ndarray:
        flow = Traffic(line.src, line.dst, line.sent * unit)
        row = np.zeros_like(line.src)
        return self.rows[line.dim].load(1, row, flow, ties, (*seed, line.dim))

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """The links as a networkx graph: nodes have ``coords``, edges have ``dim``."""
        # Imported here because it would add a third to the time that `import netsim` takes.
        import networkx as nx

        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=self.name)
        coords = np.stack(np.unravel_index(np.arange(self.size), self.dims), axis=1).tolist()
        graph.add_nodes_from((node, {"coords": tuple(at)}) for node, at in enumerate(coords))
        for (tail, head), dim in zip(self.ends.tolist(), self.dim.tolist(), strict=True):
            graph.add_edge(tail, head, dim=dim)
        return graph
