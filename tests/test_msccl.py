"""MSCCL XML from other tools: production programs of every collective, and what is refused."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

import netsim
import swing
from swing.formats import msccl, msccl_reader
from swing.formats.earliest import Constraints, ContradictionError
from swing.schedules.step import Op, Step
from tests.test_formats import run_msccl

BUFFERS = ("i", "o", "s")


def program(coll, n, gpus, sizes, inplace=1, more="", element=""):
    """Make a document.

    Args:
        coll, n, inplace: attributes of the program; n chunks per loop.
        gpus: for each rank, its thread blocks: (send, recv, channel, steps). A step is written
            "type source target count tb.step", as in "s i0 s0 1 2.1"; the last two may be left out.
        sizes: chunks of the input, output and scratch buffer.
        more: further attributes of the program.
        element: elements to put in front of the thread blocks.
    """
    lines = [
        f'<algo name="mine" proto="Simple" nchannels="1" nchunksperloop="{n}" ngpus="{len(gpus)}" '
        f'coll="{coll}" inplace="{inplace}" {more}>'
    ]
    for rank, blocks in enumerate(gpus):
        chunks = " ".join(f'{b}_chunks="{k}"' for b, k in zip(BUFFERS, sizes, strict=True))
        lines.append(f'<gpu id="{rank}" {chunks}>{element}')
        for t, (send, recv, channel, steps) in enumerate(blocks):
            lines.append(f'<tb id="{t}" send="{send}" recv="{recv}" chan="{channel}">')
            lines += [element_of(s, *words.split()) for s, words in enumerate(steps)]
            lines.append("</tb>")
        lines.append("</gpu>")
    return "\n".join([*lines, "</algo>"]).encode()


def element_of(s, kind, source="i-1", target="i-1", count="1", after="-1.-1"):
    depid, deps = after.split(".")
    return (
        f'<step s="{s}" type="{kind}" srcbuf="{source[0]}" srcoff="{source[1:]}" '
        f'dstbuf="{target[0]}" dstoff="{target[1:]}" cnt="{count}" depid="{depid}" '
        f'deps="{deps}" hasdep="1"/>'
    )


def read(data):
    """Read a program that must be right."""
    schedule = msccl_reader.read(data)
    swing.verify(schedule)
    return schedule


def others(p, rank):
    return [(rank + k) % p for k in range(1, p)]


def one_pass(p):
    """Every rank sends its vector to all others, and one thread block adds what has come."""
    gpus = []
    for rank in range(p):
        blocks = [
            (peer, peer, 0, [f"s i0 s{rank}", f"r i0 s{peer}"]) for peer in sorted(others(p, rank))
        ]
        adds = [f"nop i-1 o-1 0 {t}.1" for t in range(p - 1)]
        adds += [f"re s{peer} i0" for peer in others(p, rank)]
        gpus.append([*blocks, (-1, -1, 0, adds)])
    return program("allreduce", 1, gpus, (1, 0, p))


def two_steps(p):
    """Rank r adds chunk r of all ranks, and sends the sum to all."""
    gpus = []
    for rank in range(p):
        blocks = [
            (
                peer,
                peer,
                0,
                [
                    f"s i{peer} s{rank}",
                    f"r i{rank} s{peer}",
                    f"s i{rank} i{rank} 1 {p - 1}.{2 * p - 3}",
                    f"r i{peer} i{peer}",
                ],
            )
            for peer in sorted(others(p, rank))
        ]
        adds = [f"nop i-1 o-1 0 {t}.1" for t in range(p - 1)]
        adds += [f"re s{peer} i{rank}" for peer in others(p, rank)]
        gpus.append([*blocks, (-1, -1, 0, adds)])
    return program("allreduce", p, gpus, (p, 0, p))


def pairs(p):
    src = np.repeat(np.arange(p), p - 1)
    return src, np.concatenate([others(p, rank) for rank in range(p)])


def all_pairs(p, nsteps):
    """Return our own schedule of the same messages."""
    src, dst = pairs(p)
    if nsteps == 1:
        return swing.Schedule(
            "ours", swing.Torus(p), 1, 1, lambda s: Step(Op.REDUCE, src, dst, [[0]] * len(src))
        )
    each = [Step(Op.REDUCE, src, dst, dst[:, None]), Step(Op.COPY, src, dst, src[:, None])]
    return swing.Schedule("ours", swing.Torus(p), p, 2, each.__getitem__)


@pytest.mark.parametrize("p", range(2, 17))
@pytest.mark.parametrize(("make", "nsteps"), [(one_pass, 1), (two_steps, 2)])
def test_all_pairs_takes_as_many_steps_as_our_own_schedule_of_its_messages(make, nsteps, p):
    ours, theirs = all_pairs(p, nsteps), read(make(p))
    assert messages(theirs) == messages(ours)
    assert swing.verify(theirs).same_bits
    network = netsim.paper_network(f"hyperx:{p}")
    for model in ("analytic", "flow"):
        times = [netsim.simulate(s, network, 2**20, model).seconds for s in (ours, theirs)]
        assert times[0] == pytest.approx(times[1], rel=1e-12)


def messages(schedule):
    """Every message of every step, in an order that does not depend on the file's."""
    return [
        sorted(
            (m.src, m.dst, np.r_[m.blocks].tolist(), m.op.value)
            for m in map(step.message, range(len(step)))
        )
        for step in schedule
    ]


def test_only_sums_that_are_sent_are_steps():
    """Ranks 0 and 2 send to rank 1. If it sends the sum with rank 0's on, rank 2's comes later."""
    leaf = [(1, -1, 0, ["s i0 i0"]), (-1, 1, 0, ["r i0 i0 1 0.0"])]
    middle = [(-1, 0, 0, ["rrc i0 i0"]), (-1, 2, 0, ["rrc i0 i0 1 0.0"]),
              (0, -1, 0, ["s i0 i0 1 1.0"]), (2, -1, 0, ["s i0 i0 1 1.0"])]  # fmt: skip
    star = program("allreduce", 1, [leaf, middle, leaf], (1, 0, 0))
    assert str(read(star)) == "0 +  0→1:0  2→1:0\n1 =  1→0:0  1→2:0"
    middle[1], middle[3] = (-1, 2, 0, ["rrc i0 i0 1 3.0"]), (2, -1, 0, ["s i0 i0 1 0.0"])
    adds = [leaf[0], (-1, 1, 0, ["rrc i0 i0 1 0.0"])]
    chain = program("allreduce", 1, [leaf, middle, adds], (1, 0, 0))
    assert str(read(chain)) == "0 +  0→1:0\n1 +  2→1:0  1→2:0\n2 =  1→0:0"


def ring_allreduce(p, add):
    """Chunk c goes round the ring from rank c on, added in every rank, then copied round."""
    gpus = []
    for rank in range(p):
        steps = [f"s i{rank} i{rank}"]
        steps += [f"{add} i{(rank - k) % p} i{(rank - k) % p}" for k in range(1, p - 1)]
        steps.append(f"rrcs i{(rank + 1) % p} i{(rank + 1) % p}")
        steps += [f"rcs i{(rank - k) % p} i{(rank - k) % p}" for k in range(p - 2)]
        steps.append(f"r i{(rank + 2) % p} i{(rank + 2) % p}")
        gpus.append([((rank + 1) % p, (rank - 1) % p, 0, steps)])
    return program("allreduce", p, gpus, (p, 0, 0), more='maxBytes="9223372036854775807"')


@pytest.mark.parametrize("p", [3, 4, 7])
@pytest.mark.parametrize("add", ["rrs", "rrcs"])
def test_a_ring_of_fused_steps_is_the_ring(p, add):
    back = read(ring_allreduce(p, add))
    counts = [step.blocks.counts.tolist() for step in back]
    assert counts == [[1] * p] * (2 * p - 2)
    assert messages(back) == messages(read(ring_allreduce(p, "rrs")))


def test_elements_and_attributes_that_are_not_read_are_ignored():
    plain = one_pass(3)
    other = plain.replace(b'inplace="1"', b'inplace="1" outofplace="1" redop="sum" maxcount="2"')
    other = other.replace(b'inplace="1"', b'nthreadblocks="x" minBytes="0" inplace="1"')
    other = other.replace(b'proto="Simple"', b"").replace(
        b"<tb ", b'<copy i_off="0"><x/></copy><tb '
    )
    assert str(msccl_reader.read(other)) == str(msccl_reader.read(plain))


def direct(p, source, target, own=""):
    """All ranks send to all others: the chunks that two functions name, from rank to peer."""
    gpus = []
    for rank in range(p):
        blocks = [
            (peer, peer, 0, [f"s {source(rank, peer)}", f"r i-1 {target(peer, rank)}"])
            for peer in sorted(others(p, rank))
        ]
        gpus.append([*blocks, (-1, -1, 0, [own.format(rank)])] if own else blocks)
    return gpus


@pytest.mark.parametrize("p", [1, 2, 3, 5, 8])
def test_allgather(p):
    outside = program(
        "allgather", p, direct(p, lambda r, q: "i0", lambda q, r: f"o{q}", "cpy i0 o{}"),
        (1, p, 0), inplace=0,
    )  # fmt: skip
    inside = program(
        "allgather", p, direct(p, lambda r, q: f"o{r}", lambda q, r: f"o{q}"), (0, p, 0)
    )
    for back in map(read, (outside, inside)):
        assert back.origin.tolist() == list(range(p))
        assert back.nsteps == min(1, p - 1)
    if p > 1:
        assert back.collective == "allgather"


@pytest.mark.parametrize("p", [2, 3, 5, 8])
@pytest.mark.parametrize("coll", ["reducescatter", "reduce_scatter"])
def test_reduce_scatter(p, coll):
    inside = direct(p, lambda r, q: f"i{q}", lambda q, r: f"s{q}")
    outside = direct(p, lambda r, q: f"i{q}", lambda q, r: f"s{q}")
    for rank in range(p):
        waits = [f"nop i-1 o-1 0 {t}.1" for t in range(p - 1)]
        adds = [*waits, *(f"re s{peer} i{rank}" for peer in others(p, rank))]
        inside[rank].append((-1, -1, 0, adds))
        outside[rank].append(
            (-1, -1, 0, [f"cpy i{rank} o0", *(a.replace(f"i{rank}", "o0") for a in adds)])
        )
    for back in (
        read(program(coll, p, inside, (p, 0, p))),
        read(program(coll, p, outside, (p, 1, p), inplace=0)),
    ):
        assert (back.collective, back.home.tolist()) == ("reduce_scatter", list(range(p)))
        assert back.nsteps == 1


@pytest.mark.parametrize("p", [2, 3, 5, 8])
def test_all_to_all_directly(p):
    gpus = direct(p, lambda r, q: f"i{q}", lambda q, r: f"o{q}", "cpy i{0} o{0}")
    back = read(program("alltoall", p, gpus, (p, p, 0), inplace=0))
    assert (back.collective, back.nblocks, back.nsteps) == ("alltoall", p * p, 1)
    b = np.arange(p * p)
    assert (back.origin == b // p).all()
    assert (back.home == b % p).all()


def all_to_all_by_relay():
    """On a ring of three, what goes two places on passes through the scratch memory between."""
    gpus = [
        [
            ((r + 1) % 3, (r - 1) % 3, 0,
             [f"s i{(r + 1) % 3} o{r}", f"s i{(r + 2) % 3} s0", f"r i-1 o{(r - 1) % 3}", "r i-1 s0",
              "s s0 o-1", f"r i-1 o{(r + 1) % 3}", f"cpy i{r} o{r}"]),
        ]
        for r in range(3)
    ]  # fmt: skip
    return program("alltoall", 3, gpus, (3, 3, 1), inplace=0)


def test_all_to_all_through_another_rank():
    back = read(all_to_all_by_relay())
    assert back.nsteps == 2
    assert swing.verify(back).messages == 6  # two blocks travel together


def test_our_steps_are_read_from_the_file_and_checked():
    schedule = swing.schedule("bucket", swing.Torus((2, 4)))  # parts wait for longer ones
    text = "".join(msccl.write(schedule))
    back = msccl_reader.read(text.encode(), schedule.torus)
    assert messages(back) == messages(schedule)
    order = [[(step.src.tolist(), step.dst.tolist()) for step in s] for s in (back, schedule)]
    assert order[0] == order[1]
    phases = [[s.sync_phase(i) == s.sync_phase(i - 1) for i in range(1, s.nsteps)]
              for s in (back, schedule)]  # fmt: skip
    assert phases[0] == phases[1]
    earlier = re.sub(r' schedule_\w+="\d+"', "", text)
    assert read(earlier.encode()).nsteps < schedule.nsteps
    late = text.replace('schedule_step="3"', 'schedule_step="0"')
    with pytest.raises(ValueError, match=r"line \d+: gpu \d sends in schedule_step 0, but"):
        msccl_reader.read(late.encode())


@pytest.mark.parametrize("name", ["trivance", "bruck", "linear", "swing"])
@pytest.mark.parametrize("dims", [(8,), (4, 4)])
def test_our_programs_have_the_times_of_packets_that_they_had(name, dims):
    schedule = swing.schedule(name, swing.Torus(dims))
    back = msccl_reader.read("".join(msccl.write(schedule)).encode(), schedule.torus)
    network = netsim.paper_network(schedule.torus.name)
    times = [netsim.simulate(s, network, 2**16, "packet").seconds for s in (back, schedule)]
    assert times[0] == times[1]


@pytest.mark.parametrize("dims", [(3,), (8,), (2, 5)])
@pytest.mark.parametrize("name", ["swing", "ring", "recursive_multiplying"])
def test_what_we_write_puts_the_chunks_of_each_rank_side_by_side(name, dims):
    torus = swing.Torus(dims)
    each = 4.0 ** np.arange(torus.size)  # no two sums of some of them are equal
    for collective in ("reduce_scatter", "allgather"):
        schedule = swing.schedule(name, torus, ports=1, collective=collective)
        share = schedule.nblocks // torus.size
        for rank, buffer in enumerate(run_msccl("".join(msccl.write(schedule)), seed=1)):
            if collective == "allgather":
                assert (buffer == np.repeat(each, share)).all()
            else:
                assert (buffer[rank * share : (rank + 1) * share] == each.sum()).all()


TWO = [[(1, 1, 0, ["s i0 i0", "r i0 i0"])], [(0, 0, 0, ["rrcs i0 i0"])]]


def two(*edits, coll="allreduce", n=1, sizes=(1, 0, 1), inplace=1):
    """A right program on two ranks, with edits: (rank, its steps)."""
    gpus = [list(blocks) for blocks in TWO]
    for rank, steps in edits:
        gpus[rank] = [(1 - rank, 1 - rank, 0, steps)]
    return program(coll, n, gpus, sizes, inplace)


REFUSED = {
    "broadcast": (two(coll="broadcast"), "line 1: the collective 'broadcast' cannot be read"),
    "share": (two(coll="alltoall", n=1), "line 1: the 1 chunks of the alltoall cannot be divided"),
    "sizes": (two(n=2), "line 2: gpu 0 has 1 input and 0 output chunks, but the allreduce has 2"),
    "output": (two((0, ["s o0 i0", "r i0 i0"])),
               "line 4: gpu 0 has no chunks 0 to 0 in buffer o, which has 0"),
    "buffer": (two((0, ["s x0 i0", "r i0 i0"])), "line 4: gpu 0 has no buffer 'x'"),
    "empty": (two((0, ["s s0 i0", "r i0 i0"])),
              "line 4: gpu 0 reads chunk 0 of buffer s, which is still empty"),
    "output empty": (two(sizes=(1, 1, 0), inplace=0),
                     "line 2: gpu 0 ends with nothing in chunk 0 of buffer o, where the"),
    "dropped": (two((0, ["s i0 i0", "r i0 s0"])),
                "line 10: gpu 1 sends block 0 to gpu 0, which neither keeps nor sends on"),
    "twice": (two((0, ["s i0 i0", "r i0 i0", "cpy i0 s0", "re s0 i0"])),
              "line 7: gpu 0 adds the same data of block 0 twice"),
    "mixed": (two((0, ["s i0 i0 2", "r i0 i0 2", "cpy i0 s0", "re s0 i1"]), (1, ["rrcs i0 i0 2"]),
                  n=2, sizes=(2, 0, 1)), "line 7: gpu 0 adds blocks 0 and 1, which"),
    "moved": (two((0, ["s i0 i0 2", "r i0 s0", "r i0 i0", "cpy s0 i1"]),
                  (1, ["rrc i0 i0 2", "s i0 i0", "s i1 i1"]), n=2, sizes=(2, 0, 1)),
              "line 2: gpu 0 ends with block 1 in chunk 0 of buffer i, where the allreduce needs"),
    "unknown type": (two((0, ["x i0 i0"])), "line 4: gpu 0 has a step of the unknown type 'x'"),
    "two sums": (two((0, ["s i0 i0", "r i0 s0", "s s0 i0", "re s0 i0"]),
                     (1, ["rrcs i0 i0", "r i0 i0"])),
                 "line 2: gpu 0 uses two values of block 0 of the allreduce at once"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_schedule_is_refused_with_its_line(case):
    data, words = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        msccl_reader.read(data)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


def test_the_program_that_the_refused_ones_come_from_is_right():
    assert str(read(two())) == "0 +  0→1:0\n1 =  1→0:0"


def test_a_message_is_split_if_a_part_of_it_is_older_than_the_rest():
    """Rank 0 receives two chunks, adds one of them, sends both, and adds the other one."""
    gpus = [
        [(1, 1, 0, ["r i-1 s0 2", "re s1 i1", "s i0 i0 2", "re s0 i0"])],
        [(0, 0, 0, ["s i0 i0 2", "r i-1 s0 2", "re s0 i0", "cpy s1 i1"])],
    ]
    back = read(program("allreduce", 2, gpus, (2, 0, 2)))
    assert str(back) == "0 +  1→0:0-1  0→1:0\n1 =  0→1:1"


def test_a_value_that_changes_in_flight_has_no_step():
    """Rank 0's own value arrives after rank 1 has received and sent a sum that contains it."""
    gpus = [
        [(1, -1, 1, ["s i0 i0"]), (1, 1, 0, ["rrcs i0 i0 1 0.0", "r i0 i0"])],
        [(-1, 0, 1, ["rrc i0 i0 1 1.1"]), (0, 0, 0, ["s i0 i0", "rrcs i0 i0"])],
    ]
    with pytest.raises(
        ValueError, match=r"line \d+: gpu \d sends data that changes while it is in flight"
    ):
        msccl_reader.read(program("allreduce", 1, gpus, (1, 0, 0)))


def contribution(rank, block):
    return 3 ** (2 * rank + block)  # no two sums of some of them are equal


def random_program(dice, p=3):
    """Make a program of operations at random, which run one after the other on each rank.

    Returns:
        The document, and what each rank has of blocks 0 and 1 at the end.
    """
    memory = {(r, f"i{b}"): contribution(r, b) for r in range(p) for b in (0, 1)}
    gpus = [{} for _ in range(p)]
    last = [None] * p

    def add(rank, block, words):
        steps = gpus[rank].setdefault(block, [])
        place = list(gpus[rank]).index(block)
        wait = f" {last[rank][0]}.{last[rank][1]}" if last[rank] and last[rank][0] != place else ""
        steps.append(words + wait)
        last[rank] = place, len(steps) - 1

    for _ in range(dice.randrange(2, 12)):
        src, dst = dice.sample(range(p), 2) if dice.random() < 0.8 else [dice.randrange(p)] * 2
        first, count = dice.choice([(0, 1), (1, 1), (0, 2)])
        source, target = (f"{dice.choice('iiis')}{first}" for _ in range(2))
        cells = [(source[0] + str(b), target[0] + str(b)) for b in range(first, first + count)]
        adds = dice.random() < 0.6
        if any((src, a) not in memory or (adds and (dst, b) not in memory) for a, b in cells):
            continue
        new = {(dst, b): memory[src, a] + (memory[dst, b] if adds else 0) for a, b in cells}
        memory |= new
        if src == dst:
            add(src, (-1, -1, 0), f"{'re' if adds else 'cpy'} {source} {target} {count}")
        else:
            add(src, (dst, -1, 0), f"s {source} {source} {count}")
            add(dst, (-1, src, 0), f"{'rrc' if adds else 'r'} {target} {target} {count}")
    blocks = [[(*block, steps) for block, steps in gpu.items()] for gpu in gpus]
    data = program("allreduce", 2, blocks, (2, 0, 2))
    return data, {(r, b): memory[r, f"i{b}"] for r in range(p) for b in (0, 1)}


def results(schedule):
    """Run a schedule on the contributions."""
    state = {(r, b): contribution(r, b) for r in schedule.torus.ranks for b in (0, 1)}
    for step in schedule:
        messages = [step.message(i) for i in range(len(step))]
        sent = [(m, b, state[m.src, b]) for m in messages for b in np.r_[m.blocks].tolist()]
        for m, b, value in sorted(sent, key=lambda row: row[0].op is Op.REDUCE):
            state[m.dst, b] = value + (state[m.dst, b] if m.op is Op.REDUCE else 0)
    return state


def test_a_schedule_computes_what_its_program_computes():
    """Even if that is no allreduce: a program that is read is neither mended nor broken."""
    dice, taken = random.Random(0), 0
    for _ in range(2000):
        data, expected = random_program(dice)
        try:
            schedule = msccl_reader.read(data)
        except ValueError:
            continue
        taken += 1
        assert results(schedule) == expected, data
    assert taken > 200


def test_a_contradiction_of_times_names_an_event():
    """Events 1 and 2 may not be later than each other, but 2 must be one step later."""
    constraints = Constraints(3)
    for a, b, steps in ((0, 1, 1), (1, 2, 1), (2, 1, 0)):
        constraints.add(a, b, steps)
    with pytest.raises(ContradictionError, match="event 1 would have to be later than itself"):
        constraints.earliest([0, 0, 0])


def test_earliest_times_are_the_least_that_satisfy_all_constraints():
    dice, possible = random.Random(1), 0
    for _ in range(300):
        count = dice.randrange(1, 8)
        rules = [
            (dice.randrange(count), dice.randrange(count), dice.random() < 0.3)
            for _ in range(dice.randrange(2 * count))
        ]
        least = [dice.choice([0, 0, 2]) for _ in range(count)]
        constraints, expected = Constraints(count), list(least)
        for a, b, steps in rules:
            constraints.add(a, b, steps)
        for _ in range(count * count):  # relax until nothing changes, or a cycle pushes times up
            for a, b, steps in rules:
                expected[b] = max(expected[b], expected[a] + steps)
        if any(expected[b] < expected[a] + steps for a, b, steps in rules):
            with pytest.raises(ContradictionError):
                constraints.earliest(least)
        else:
            possible += 1
            assert constraints.earliest(least) == expected
    assert 100 < possible < 300
