"""A collective is two columns: broadcast, reduce, scatter, gather and all-to-all, proven."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest

import netsim
import swing
from swing.build.combine import chain
from swing.build.reversal import reverse
from swing.formats import native_json
from swing.schedules.collectives import ALL, RankColumn
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Torus
from swing.verification.outcome import ScheduleError
from swing.verification.proof import verify


def binomial_broadcast(torus: Torus, root: int = 0) -> Schedule:
    """In step s, the ranks up to 2^s places behind the root send on what they have."""
    p = torus.size

    def step(s: int) -> Step:
        have = np.arange(min(2**s, p - 2**s))
        src, dst = (root + have) % p, (root + have + 2**s) % p
        return Step(Op.COPY, src, dst, [slice(0, 1)] * len(have))

    nsteps = (p - 1).bit_length()
    return Schedule("binomial", torus, 1, nsteps, step, origin=root)


def linear_scatter(torus: Torus, root: int) -> Schedule:
    others = np.delete(torus.ranks, root)

    def step(s: int) -> Step:
        dst = others[s : s + 1]
        return Step(Op.COPY, np.full(1, root), dst, [slice(int(dst[0]), int(dst[0]) + 1)])

    return Schedule("linear", torus, torus.size, len(others), step, origin=root, home=torus.ranks)


def all_to_all(p: int, nsteps: int | None = None) -> Schedule:
    """Block s·p + t goes from rank s to rank t, in step k to the rank k places on."""

    def step(k: int) -> Step:
        src = np.arange(p)
        dst = (src + k + 1) % p
        first = src * p + dst
        return Step(Op.COPY, src, dst, [slice(b, b + 1) for b in first.tolist()])

    return Schedule(
        "direct", Torus(p), p * p, p - 1 if nsteps is None else nsteps, step,
        origin=lambda block: block // p, home=lambda block: block % p,
    )  # fmt: skip


@pytest.mark.parametrize("p", [1, 2, 3, 5, 8, 13])
def test_a_binomial_broadcast_and_its_reverse_a_reduce(p):
    broadcast = binomial_broadcast(Torus(p), root=p // 2)
    assert verify(broadcast).messages == p - 1
    reduce = reverse(broadcast)
    assert verify(reduce).same_bits
    if p > 1:
        assert (broadcast.collective, reduce.collective) == ("broadcast", "reduce")
        with pytest.raises(ScheduleError, match="ends without the contribution of rank"):
            verify(Schedule("none", Torus(p), 1, 0, broadcast.step, origin=0))
    both = chain(reduce, broadcast)
    assert both.is_allreduce
    assert verify(both).same_bits


def test_a_broadcast_and_its_reverse_take_the_same_time():
    # In lockstep, for otherwise only the broadcast has messages of later steps on their way beside
    # those of earlier ones; and with one way each, since packets choose by what they meet.
    network = netsim.paper_network("torus:4x4", ties="positive")
    broadcast = binomial_broadcast(network.topology.torus)
    for model in netsim.MODELS:
        there = netsim.simulate(broadcast, network, 2**20, model, sync="step")
        back = netsim.simulate(reverse(broadcast), network, 2**20, model, sync="step")
        assert back.seconds == pytest.approx(there.seconds, rel=1e-9)
        assert back.link_bytes.sum() == there.link_bytes.sum()


def test_scatter_gather_and_all_to_all():
    scatter = linear_scatter(Torus((2, 3)), root=4)
    for schedule, name in (
        (scatter, "scatter"),
        (reverse(scatter), "gather"),
        (all_to_all(6), "alltoall"),
        (reverse(all_to_all(6)), "alltoall"),
    ):
        assert schedule.collective == name
        assert verify(schedule).same_bits
        assert reverse(reverse(schedule)).table() == schedule.table()
        for rank in range(6):
            assert [str(turn) for turn in schedule.rank(rank)] == [
                str(turn) for turn in reverse(reverse(schedule)).rank(rank)
            ]


def test_columns_are_arrays_that_may_be_computed():
    p = 5
    home, origin = all_to_all(p).home, all_to_all(p).origin
    blocks = np.arange(p * p)
    assert (home == blocks % p).all()
    assert (origin[:] == blocks // p).all()
    assert home[3:9:2].tolist() == [3, 0, 2]
    assert home[-1] == 4
    assert home[[1, 6]].tolist() == [1, 1]
    assert (len(home), home.shape, home.max(), list(home)[:3]) == (25, (25,), 4, [0, 1, 2])
    assert np.bincount(home).tolist() == [p] * p
    with pytest.raises(IndexError):
        home[25]
    ring = swing.schedule("ring", Torus(4))
    assert ring.home.tolist() == ring.origin.tolist() == [ALL] * 4
    assert repr(ring.home) == "<4 blocks: ALL>"
    assert repr(binomial_broadcast(Torus(4), 3).origin) == "<1 block: 3>"


@pytest.mark.parametrize("name", ["swing", "bucket", "recursive_doubling", "windows"])
def test_a_slice_of_a_column_is_computed_alone(name):
    schedule = swing.schedule(name, Torus((3, 4)), collective="reduce_scatter")
    whole = np.asarray(schedule.home)
    for lo in range(0, schedule.nblocks, 7):
        assert (schedule.home[lo : lo + 5] == whole[lo : lo + 5]).all()


def test_nothing_asks_for_a_whole_column(monkeypatch):
    """verify, bounds and simulate read slices: here at most as many as the proof's batches."""
    asked = []

    def watched(column):
        def find(blocks):
            asked.append(len(blocks))
            return column.find(blocks)

        return RankColumn(column.nblocks, find)

    schedule = all_to_all(12)
    schedule = Schedule(
        "watched", schedule.torus, schedule.nblocks, schedule.nsteps, schedule.step,
        origin=watched(schedule.origin), home=watched(schedule.home),
    )  # fmt: skip
    monkeypatch.setattr("swing.verification.proof.TOKENS", 24)
    monkeypatch.setattr("swing.verification.rows.CHUNK", 24)
    verify(schedule)
    network = netsim.paper_network("torus:12")
    for model in netsim.MODELS:
        netsim.simulate(schedule, network, 144 * 100, model)
    netsim.lower_bound(network, 144 * 100)
    assert 0 < max(asked) <= 24


def test_an_all_to_all_of_16384_ranks_needs_no_table_of_its_blocks():
    p = 2**14  # with 2^28 blocks, a column would take two gigabytes

    def step(k: int) -> Step:
        src = np.arange(p)
        dst = (src + k + 1) % p
        one = swing.Step(Op.COPY, src[:1], dst[:1], [slice(0, 1)]).blocks
        return Step(Op.COPY, src, dst, type(one).ranges(src * p + dst, 1))

    tracemalloc.start()
    schedule = Schedule(
        "direct", Torus(p), p * p, 3, step,
        origin=lambda block: block // p, home=lambda block: block % p,
    )  # fmt: skip
    assert schedule.collective == "alltoall"
    assert schedule.home[-3:].tolist() == [p - 3, p - 2, p - 1]
    run = netsim.simulate(schedule, netsim.paper_network(f"torus:{p}"), 2**28)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert run.seconds > 0
    assert peak < 64 * 2**20


def counted(schedule: Schedule) -> bool:
    """Whether a schedule is right, by counting the contributions in every value."""
    p = schedule.torus.size
    for b in range(schedule.nblocks):
        origin, home = int(schedule.origin[b]), int(schedule.home[b])
        value = {r: Counter([r]) for r in range(p) if origin in (ALL, r)}
        for step in schedule:
            before, after, written = dict(value), dict(value), Counter()
            for m in map(step.message, range(len(step))):
                if b not in np.r_[m.blocks]:
                    continue
                written[m.dst] += 1 if m.op is Op.REDUCE else 1000
                if m.op is Op.REDUCE:
                    if m.src not in before or m.dst not in after:
                        return False
                    after[m.dst] = after[m.dst] + before[m.src]
                    if max(after[m.dst].values()) > 1:
                        return False
                elif m.src in before:
                    after[m.dst] = before[m.src]
                else:
                    after.pop(m.dst, None)  # a copy of nothing leaves nothing
            if any(n > 1000 for n in written.values()):
                return False
            value = after
        complete = Counter(range(p) if origin == ALL else [origin])
        if any(value.get(r) != complete for r in (range(p) if home == ALL else [home])):
            return False
    return True


@pytest.mark.parametrize("seed", range(8))
def test_verify_agrees_with_a_count_for_every_origin_and_home(seed):
    rng = random.Random(seed)
    verdicts = Counter()
    for _ in range(150):
        p = rng.randint(2, 4)
        origin, home = ([rng.choice([ALL, ALL, *range(p)]) for _ in range(2)] for _ in range(2))
        # Start from messages that go the right way, so that many schedules are right.
        steps = [messages_towards(rng, p, origin, home) for _ in range(rng.randint(1, 3))]
        schedule = Schedule(
            "random", Torus(p), 2, len(steps), steps.__getitem__,
            origin=np.array(origin), home=np.array(home),
        )  # fmt: skip
        right = counted(schedule)
        verdicts[right] += 1
        if right:
            verify(schedule)
        else:
            with pytest.raises(ScheduleError):
                verify(schedule)
    assert min(verdicts[True], verdicts[False]) > 5


def messages_towards(rng, p, origin, home):
    rows = {}
    for b in rng.sample(range(2), rng.randint(1, 2)):
        target = home[b] if home[b] != ALL else rng.randrange(p)
        sources = [r for r in range(p) if r != target and origin[b] in (ALL, r)]
        op = Op.REDUCE if origin[b] == ALL and rng.random() < 0.9 else Op.COPY
        if home[b] == ALL and origin[b] != ALL:
            rows |= {(origin[b], r, b): Op.COPY for r in range(p) if r != origin[b]}
        elif sources:
            rows |= {(r, target, b): op for r in rng.sample(sources, rng.randint(1, len(sources)))}
    src, dst, block = (
        (np.array(c, dtype=np.int64) for c in zip(*rows, strict=True))
        if rows
        else [np.zeros(0, np.int64)] * 3
    )
    ops = np.array(list(rows.values()), dtype=object)
    return Step(ops, src, dst, [slice(b, b + 1) for b in block.tolist()])


def test_json_keeps_origin_and_home():
    for schedule in (binomial_broadcast(Torus(6), 2), linear_scatter(Torus(5), 1), all_to_all(4)):
        back = native_json.read("".join(native_json.write(schedule)).encode())
        assert back.collective == schedule.collective
        assert (back.origin == schedule.origin).all()
        assert (back.home == schedule.home).all()
        assert back.table() == schedule.table()


def test_steps_are_not_replaced():
    from dataclasses import replace

    ring = swing.schedule("ring", Torus(4))
    with pytest.raises(TypeError, match=r"make a new swing\.Schedule"):
        replace(ring, step=ring.step)
    with pytest.raises(TypeError, match="nsteps and step, or a body"):
        Schedule("nothing", Torus(4), 4)
    with pytest.raises(ValueError, match="pass origin= and home="):
        replace(ring, collective="reduce_scatter")
    assert replace(ring, name="mine", sync_phase=lambda s: 0).sync_phase(3) == 0


@pytest.mark.parametrize("wrong", ["root", 1.5, [[0]]])
def test_origin_and_home_are_ranks(wrong):
    for column in ("origin", "home"):
        with pytest.raises(ValueError, match=r"are a rank, swing\.ALL or one of these"):
            Schedule("nothing", Torus(4), 1, 0, lambda s: Step.empty(), **{column: wrong})


@pytest.mark.parametrize("wrong", ["=", None, ["+"], [swing.Op.COPY, None]])
def test_reduces_is_a_bool_or_an_op(wrong):
    with pytest.raises(TypeError, match=r"must be True, False or a swing\.Op"):
        Step(wrong, [0, 1], [1, 0], [[0], [0]])


def test_messages_of_a_rank_are_printed_step_by_step():
    ring = swing.schedule("ring", Torus(7))
    lines = str(ring.rank(3)).splitlines()
    assert lines[:2] == [" 0 +  3→4:2  2→3:1", " 1 +  3→4:1  2→3:0"]
    assert len(lines) == ring.nsteps
