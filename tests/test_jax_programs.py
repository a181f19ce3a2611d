"""Programs for JAX compute what their schedules promise, run by a few lines of numpy instead.

The programs are what `swing.integrations.jax.lowering` makes of schedules; nothing here needs JAX.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swing
from swing.integrations.jax.lowering import lower
from swing.integrations.jax.permutations import _alternating_paths, permutations
from swing.integrations.jax.program import ABSENT
from swing.schedules.collectives import ALL
from tests.cases import options_of

SHAPES = [
    (4,), (2, 3),
    *(pytest.param(dims, marks=pytest.mark.nightly) for dims in (
        (1,), (2,), (3,), (6,), (8,), (15,), (16,), (2, 2), (2, 4), (3, 5), (4, 4), (2, 8),
        (2, 2, 2), (2, 2, 2, 2),
    )),
]  # fmt: skip
ROOTED = ("broadcast", "reduce", "gather", "scatter")
NOTHING = np.iinfo(np.int64).min // 4
"""A value that spoils every sum it gets into."""


def rows_of(rows, rank, nrows):
    """The row numbers of a rank; those beyond the buffer are no rows."""
    if rows.table.ndim == 1:
        return rows.table[rank] + np.arange(rows.length)
    return rows.table[rank]


def run_step(step, buffers):
    """Run one step of one part; ``buffers[r]`` are the rows of rank r."""
    p, nrows = len(buffers), len(buffers[0])

    def read(rows, rank):
        return buffers[rank][np.minimum(rows_of(rows, rank, nrows), nrows - 1)]

    arrived = [[np.zeros(rows.length, np.int64) for rows in step.sent] for _ in range(p)]
    for k, (rows, pairs) in enumerate(zip(step.sent, step.pairs, strict=True)):
        assert len({src for src, _ in pairs}) == len({dst for _, dst in pairs}) == len(pairs)
        for src, dst in pairs:
            arrived[dst][k] = read(rows, src)
    results = []
    for rank in range(p):
        own = read(step.target, rank)
        if step.operands.ndim == 2:
            values = np.stack([own, *arrived[rank]])[step.operands[rank]]
            there = step.operands[rank][:, None] != ABSENT
        else:
            values = np.concatenate([own, *arrived[rank]])[step.operands[rank]].T
            there = step.operands[rank].T != ABSENT
        results.append(np.where(there, values, 0).sum(axis=0))
    for rank, result in enumerate(results):
        index = rows_of(step.target, rank, nrows)
        assert len(set(index.tolist())) == len(index)
        buffers[rank][index[index < nrows]] = result[index < nrows]


def run(schedule):
    """Run a program on one number per block; return what ranks passed in and what they got."""
    program, p = lower(schedule, True), schedule.torus.size
    random = np.random.default_rng(0)
    given_ = [
        [random.integers(0, 100, rows.shape[1]) for rows in program.entry.rows] for _ in range(p)
    ]
    buffers = [[np.full(n, NOTHING) for _ in range(p)] for n in program.nrows]
    for j, part in enumerate(buffers):
        for rank in range(p):
            if program.entry.only in (None, rank):
                part[rank][program.entry.rows[j][rank]] = given_[rank][j]
    for each in program.runs:
        for step in each.steps:
            for part, buffer in zip(step, buffers, strict=True):
                if part is not None:
                    run_step(part, buffer)
    got = [
        [part[rank][rows[rank]] for rows, part in zip(program.exit.rows, buffers, strict=True)]
        for rank in range(p)
    ]
    return program, given_, got


def by_piece(values, pieces):
    """Join the blocks of all parts, piece by piece."""
    return np.concatenate([part.reshape(pieces, -1) for part in values], axis=1)


def check(schedule):
    program, given_, got = run(schedule)
    x = np.stack([by_piece(each, program.entry.pieces) for each in given_])  # (p, pieces, blocks)
    y = np.stack([by_piece(each, program.exit.pieces) for each in got])
    origin, home = schedule.origin.constant, schedule.home.constant
    if origin is None:  # from every rank a piece, for each rank or for all
        wanted = x.swapaxes(0, 1) if home is None else x[:, 0]
    else:  # one vector: the sum, or that of the root; whole for all, or a piece for each
        vector = x.sum(axis=0) if origin == ALL else x[origin]
        wanted = vector[:, None] if home is None else vector
    assert (np.broadcast_to(wanted, y.shape) == y)[
        slice(None) if home in (None, ALL) else home
    ].all()


@pytest.mark.parametrize("dims", SHAPES, ids=str)
def test_programs_compute_every_collective(dims):
    torus = swing.Torus(dims)
    for name, algorithm in swing.ALGORITHMS.items():
        for options in options_of(name, torus):
            check(swing.schedule(name, torus, **options))
        for collective in algorithm.collectives:
            if collective in ("allreduce", "barrier"):
                continue
            roots = [0, torus.size - 1] if collective in ROOTED else [None]
            for root in roots:
                rooted = {} if root is None else {"root": root}
                try:
                    schedule = swing.schedule(name, torus, collective=collective, **rooted)
                except ValueError:  # no such cycles on this torus
                    continue
                check(schedule)


ENDS = st.integers(0, 7)
MESSAGES = st.lists(st.tuples(ENDS, ENDS), min_size=1, max_size=40)


@given(MESSAGES)
@pytest.mark.parametrize("split", [permutations, _alternating_paths])
def test_as_many_permutations_as_the_busiest_rank_has_messages(split, messages):
    src, dst = np.array(messages).T
    number = split(src, dst)
    for ends in (src, dst):  # no rank has two messages in a permutation
        assert len(set(zip(ends.tolist(), number.tolist(), strict=True))) == len(messages)
    assert number.max() < max(np.bincount(ends).max() for ends in (src, dst))
