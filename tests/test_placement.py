"""Tori of real placement, asked of stand-ins for them."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import swing
from swing import placement


class Ranks:
    """A communicator on which every rank gives what a table says."""

    def __init__(self, rank, tables):
        self.rank, self.size, self.handle = rank, len(tables[0]) if tables else 1, 0
        self.tables = iter(tables)

    def allgather(self, mine):
        table = next(self.tables)
        assert table[self.rank] == mine
        return table


def test_coordinates_are_counted_from_zero_without_gaps():
    table = [(4, 10), (4, 12), (7, 10), (7, 12)]
    for rank in range(4):
        torus = placement.gathered(Ranks(rank, [table]), np.array(table[rank]))
        assert torus == swing.Torus((2, 2))
    mixed = [(1, 0), (0, 0), (1, 1), (0, 1)]
    torus = placement.gathered(Ranks(0, [mixed]), mixed[0], (2, 2), (True, False))
    assert (torus.coords == mixed).all()
    assert torus.wrap == (True, False)


def test_ranks_have_to_fill_a_grid():
    with pytest.raises(ValueError, match="3 ranks do not fill a grid of 2x2: use a slice"):
        placement.gathered(Ranks(0, [[(0, 0), (0, 1), (1, 0)]]), (0, 0))
    with pytest.raises(ValueError, match="exactly once"):
        placement.gathered(Ranks(0, [[(0, 0), (0, 1), (1, 0), (0, 0)]]), (0, 0))


def fujitsu(shape, coords, status=0):
    """As much of Fujitsu's MPI as is called."""

    def get_dimension(size):
        size._obj.value = len(shape)
        return status

    def get_shape(x, *others):
        whole = x._obj
        whole[: len(shape)] = shape
        return status

    def get_coords(comm, rank, view, most, found):
        assert (view, most) == (0, len(shape))
        found[:] = coords[rank]
        return status

    return SimpleNamespace(
        FJMPI_Topology_get_dimension=get_dimension,
        FJMPI_Topology_get_shape=get_shape,
        FJMPI_Topology_get_coords=get_coords,
    )


def test_fugaku_tells_its_logical_torus():
    coords = [(x, y, z) for z in range(2) for y in range(3) for x in range(2)]
    for rank in range(12):
        comm = Ranks(rank, [coords, coords])
        torus = placement.fugaku(comm, fujitsu((2, 3, 2), coords))
        assert torus.dims == (2, 3, 2)
        assert torus.coords.tolist() == [list(c) for c in coords]


def test_ranks_of_one_node_follow_each_other():
    nodes = [(n // 2,) for n in range(8)]
    places = [(n // 2, n % 2) for n in range(8)]
    torus = placement.fugaku(Ranks(5, [nodes, places]), fujitsu((4,), nodes))
    assert torus == swing.Torus((4, 2), (True, False))


def test_another_mpi_library_is_named():
    with pytest.raises(ValueError, match=r"not Fujitsu's: pass torus=swing\.placement\.gathered"):
        placement.fugaku(Ranks(0, []), SimpleNamespace())
    with pytest.raises(ValueError, match="failed with status 3"):
        placement.fugaku(Ranks(0, []), fujitsu((2,), [], status=3))


def test_tpu_slices_are_boxes_that_do_not_close():
    coords = [(x, y, 0) for y in range(4) for x in range(2)]
    torus = placement.tpu(Ranks(3, [[0] * 8, coords]), coords[3])
    assert (torus.dims, torus.wrap) == ((2, 4, 1), (False,) * 3)
    assert torus.coords.tolist() == [list(c) for c in coords]
    both = [(*c, core) for c in coords for core in range(2)]
    torus = placement.tpu(Ranks(3, [[0, 1] * 8, both]), both[3][:3], 1, True)
    assert (torus.dims, torus.wrap) == ((2, 4, 1, 2), (True, True, True, False))


def test_nothing_of_a_machine_is_imported():
    code = "import sys, swing.placement; print([m for m in ('mpi4py', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
