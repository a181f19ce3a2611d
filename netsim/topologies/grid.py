"""Grid topologies: torus, mesh, HyperX and HammingMesh, with dimension-order routing.

A grid is a product of rows: all rows of one dimension are copies of one small network
(`netsim.topologies.row.Row`). A message travels dimension by dimension, lowest first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from netsim.topologies.lines import farthest_node, first_links
from netsim.topologies.routes import Routes, Seed
from netsim.topologies.row import Row, Traffic
from netsim.topologies.topology import Topology, most_at_a_node
from swing.torus import Array


@dataclass(frozen=True, eq=False, repr=False)
class Grid(Topology):
    """A topology made of rows.

    Nodes are numbered in row-major order. Links are numbered dimension by dimension, within a
    dimension row by row, and within a row as `Row.ends` lists them.

    Args:
        name: a name that `netsim.topology` accepts, such as ``torus:8x8``.
        torus: the dimensions.
        rows: the network of each dimension; the rest is as in `Topology`.
    """

    rows: tuple[Row, ...] = field()

    @cached_property
    def _first_links(self) -> list[int]:
        return first_links(self.rows)

    @property
    def nlinks(self) -> int:
        """Number of directed links."""
        return self._first_links[-1]

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
        return np.repeat(np.arange(len(self.dims)), np.diff(self._first_links))

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
    def remote(self) -> int:
        """A node from which some other node is as far away as any."""
        return int(np.ravel_multi_index(farthest_node(self.rows), self.dims))

    @cached_property
    def most_ports(self) -> tuple[int, int]:
        """The most links out of any node, and the most into any node."""
        out, into = zip(*(most_at_a_node(row.ends, row.d) for row in self.rows), strict=True)
        return sum(out), sum(into)

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
            base = self._first_links[j] + row * len(self.rows[j].ends)
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

    def may_cross(self, traffic: Traffic, link: int) -> np.ndarray:
        """(m,) whether each message goes along the row that a link is in."""
        dim = int(np.searchsorted(self._first_links, link, side="right")) - 1
        within = (link - self._first_links[dim]) // len(self.rows[dim].ends)
        (along,) = ((row, leg) for j, row, leg in self._legs(traffic) if j == dim)
        row, leg = along
        crosses: np.ndarray = (row == within) & (leg.src != leg.dst)
        return crosses

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
