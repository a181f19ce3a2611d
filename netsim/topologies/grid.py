"""Grid: nodes in rows; every dimension is a network of its own that all its rows repeat.

Torus, mesh, HyperX and HammingMesh are grids: messages go dimension by dimension, and a schedule
that does the same on all lines of a dimension loads all rows alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from netsim.topologies.routes import Seed, Ways
from netsim.topologies.row import Path, Row, Traffic
from swing.schedules.step import LineRows
from swing.torus import Array, Torus

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, eq=False)
class Grid:
    """A topology of rows. Nodes are row-major, links are numbered dimension by dimension.

    Args:
        kind: its name without dimensions.
        torus: the dimensions.
        rows: the network of each dimension.
        first_router: delay of the router at the sender, in units of the network's.
    """

    kind: str
    torus: Torus
    rows: tuple[Row, ...]
    first_router: float = 1.0

    @property
    def name(self) -> str:
        """As `netsim.topology` takes it."""
        return f"{self.kind}:{self.torus}"

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

    @cached_property
    def first_links(self) -> list[int]:
        """The number of each dimension's first link; last, the number of links."""
        nlinks = [len(r.ends) * (self.size // d) for r, d in zip(self.rows, self.dims, strict=True)]
        first: list[int] = np.cumsum([0, *nlinks]).tolist()
        return first

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        return self.first_links[-1]

    def _each(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """(nlinks,) from an array (nlinks of a row,) for each dimension."""
        times = [self.size // d for d in self.dims]
        return np.concatenate([np.tile(v, n) for v, n in zip(values, times, strict=True)])

    @cached_property
    def wire(self) -> np.ndarray:
        """(nlinks,) length of every link, in units of the network's."""
        return self._each([row.wire for row in self.rows])

    @cached_property
    def router(self) -> np.ndarray:
        """(nlinks,) delay of the router every link leads to, in units of the network's."""
        return self._each([row.router for row in self.rows])

    @cached_property
    def way(self) -> Array:
        """(nlinks,) +1 towards higher coordinates, -1 towards lower, 0 neither."""
        return self._each([row.way for row in self.rows])

    @cached_property
    def dim(self) -> Array:
        """(nlinks,) the dimension of every link."""
        return np.repeat(np.arange(len(self.dims)), np.diff(self.first_links))

    @cached_property
    def ends(self) -> Array:
        """(nlinks, 2) the vertices every link leaves and reaches; switches come after nodes."""
        ends, switches = [], self.size
        for j, (row, d) in enumerate(zip(self.rows, self.dims, strict=True)):
            nodes = np.moveaxis(np.arange(self.size).reshape(self.dims), j, -1).reshape(-1, d)
            more = max(int(row.ends.max(initial=-1)) + 1 - d, 0)
            extra = switches + np.arange(len(nodes) * more).reshape(len(nodes), more)
            switches += extra.size
            ends.append(np.concatenate([nodes, extra], axis=1)[:, row.ends].reshape(-1, 2))
        return np.concatenate(ends)

    @cached_property
    def diameter(self) -> Path:
        """What the two nodes that are farthest apart have between them."""
        far = Path(0, 0.0, 0.0)
        for row, d in zip(self.rows, self.dims, strict=True):
            src, dst = np.divmod(np.arange(d * d), d) if d <= 1024 else np.zeros((2, d), dtype=int)
            if d > 1024:
                dst = np.arange(d)
            worst = row.path(src, dst).max(axis=0)
            far = Path(far.hops + int(worst[0]), far.wire + worst[1], far.routers + worst[2])
        return far

    @cached_property
    def least_ports(self) -> int:
        """Links that leave the node that has the fewest."""
        ports = [np.bincount(row.ends[:, 0], minlength=row.d)[: row.d].min() for row in self.rows]
        return int(sum(ports))

    def load(self, traffic: Traffic, ties: str, seed: Seed = ()) -> np.ndarray:
        """(nlinks,) the weight every link carries."""
        total = [
            self.rows[j].load(self.size // self.dims[j], row, leg, ties, (*seed, j)).ravel()
            for j, row, leg in self._legs(traffic)
        ]
        return np.concatenate(total)

    def ways(self, src: Array, dst: Array, ties: str, seed: Seed = ()) -> Ways:
        """The links between nodes."""
        found = Ways.single(np.zeros_like(src), np.zeros(0, dtype=np.int64))
        for j, row, leg in self._legs(Traffic(src, dst, np.ones(len(src)))):
            here = self.rows[j].ways(leg.src, leg.dst, ties, (*seed, j))
            base = self.first_links[j] + row * len(self.rows[j].ends)
            on = base[here.message[here.per_link()]]
            found = found.then(here._replace(links=here.links + on))
        return found

    def paths(self, src: Array, dst: Array) -> np.ndarray:
        """(m, 3) the `Path` of every message."""
        legs = self._legs(Traffic(src, dst, np.ones(len(src))))
        total = np.zeros((len(src), 3))
        for j, _, leg in legs:
            total += self.rows[j].path(leg.src, leg.dst)
        return total

    def _legs(self, traffic: Traffic) -> Iterator[tuple[int, Array, Traffic]]:
        """For each dimension the row of every message and its way along it.

        The coordinates of the dimensions before are the receiver's, those after the sender's.
        """
        x = np.stack(np.unravel_index(traffic.src, self.dims))
        y = np.stack(np.unravel_index(traffic.dst, self.dims))
        for j in range(len(self.dims)):
            corner = [*y[:j], np.zeros_like(x[j]), *x[j + 1 :]]
            others = [1 if i == j else n for i, n in enumerate(self.dims)]
            row = np.ravel_multi_index(corner, others)
            yield j, row, Traffic(x[j], y[j], traffic.weight)

    def line_peak(
        self, lines: Sequence[LineRows], units: Sequence[float], ties: str, seed: Seed = ()
    ) -> float:
        """The heaviest load on any link, from rows that stand for all lines of a dimension.

        Lines of a dimension differ only in how many blocks the other coordinates hold: it is
        enough to look at one line for every combination of those counts.
        """
        peak = 0.0
        for j in range(len(self.dims)):
            along = [(line, u) for line, u in zip(lines, units, strict=True) if line.dim == j]
            if not along:
                continue
            one = np.concatenate([self._line(line, u, ties, seed) for line, u in along])
            combos = np.ones((len(along), 1))
            for i in range(len(self.dims)):
                if i != j:
                    kinds = np.unique(np.stack([line.pending[i] for line, _ in along]), axis=1)
                    combos = (combos[:, :, None] * kinds[:, None, :]).reshape(len(along), -1)
            peak = max(peak, float((np.unique(combos, axis=1).T @ one).max(initial=0)))
        return peak

    def line_load(
        self, lines: Sequence[LineRows], units: Sequence[float], ties: str, seed: Seed = ()
    ) -> np.ndarray:
        """(nlinks,) what `load` gives for the messages that the rows stand for."""
        total = np.zeros(self.nlinks)
        for line, unit in zip(lines, units, strict=True):
            others = np.ones(1)
            for i, pending in enumerate(line.pending):
                if i != line.dim:
                    others = np.multiply.outer(others, pending).ravel()
            here = slice(self.first_links[line.dim], self.first_links[line.dim + 1])
            total[here] += np.outer(others, self._line(line, unit, ties, seed)).ravel()
        return total

    def line_paths(self, lines: Sequence[LineRows]) -> np.ndarray:
        """(k, 3) the different `Path` of all messages that the rows stand for."""
        paths = [self.rows[line.dim].path(line.src, line.dst) for line in lines]
        return np.unique(np.concatenate(paths), axis=0)

    def _line(self, line: LineRows, unit: float, ties: str, seed: Seed) -> np.ndarray:
        flow = Traffic(line.src, line.dst, line.sent * unit)
        row = np.zeros_like(line.src)
        return self.rows[line.dim].load(1, row, flow, ties, (*seed, line.dim))

    def to_networkx(self) -> nx.MultiDiGraph[int]:
        """The links as a graph: nodes are numbers with ``coords``, edges have ``dim``."""
        import networkx as nx  # takes a third of the time that all of netsim takes to import

        graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(name=self.name)
        coords = np.stack(np.unravel_index(np.arange(self.size), self.dims), axis=1).tolist()
        graph.add_nodes_from((node, {"coords": tuple(at)}) for node, at in enumerate(coords))
        for (tail, head), dim in zip(self.ends.tolist(), self.dim.tolist(), strict=True):
            graph.add_edge(tail, head, dim=dim)
        return graph
