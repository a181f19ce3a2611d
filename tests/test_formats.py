"""Schedules as files: what comes back is what was written, as far as a format carries it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from importlib import resources

import numpy as np
import pytest

import netsim
import swing
from swing import formats
from swing.build.combine import with_allgather
from swing.build.parallel import parallel
from swing.formats import (
    chakra,
    goal,
    mpich,
    msccl,
    msccl_reader,
    native_json,
    nccl,
    openmpi,
    protobuf,
    read,
    rules,
    smpi,
    steps,
    write,
)
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from tests.cases import SHAPES, restepped, schedules

DIMS = [(8,), (16,), (4, 4), (6, 10)]
WAYS = {
    "swing": ("swing", {}),
    "bucket": ("bucket", {}),
    "hybrid": ("swing", {"variant": "hybrid", "k": 2}),
}
CASES = [pytest.param(d, w, id=f"{'x'.join(map(str, d))}-{w}") for d in DIMS for w in WAYS]
SLOW = {"6x10-swing", "6x10-bucket"}
QUICK_CASES = [
    pytest.param(*c.values, marks=[pytest.mark.nightly] * (c.id in SLOW), id=c.id) for c in CASES
]
NBYTES = 10_007  # no multiple of anything


@cache
def made(dims, way):
    name, options = WAYS[way]
    return swing.schedule(name, swing.Torus(dims), **options)


def whole(pieces):
    return "".join(pieces).encode()


def rows(schedule):
    """Every message of every step, whatever their order."""
    return [
        Counter(
            (m.src, m.dst, tuple(np.r_[m.blocks].tolist()), m.op, m.part)
            for m in map(step.message, range(len(step)))
        )
        for step in schedule
    ]


@cache
def sizes(schedule, nbytes):
    """Source, destination and bytes of every message of every step, those without bytes aside."""
    each = np.diff(schedule.ends(nbytes))
    found = []
    for step in schedule:
        messages = map(step.message, range(len(step)))
        ends = [(m.src, m.dst, int(each[np.r_[m.blocks]].sum())) for m in messages]
        found.append(Counter(e for e in ends if e[2]))
    return found


# Our own format.


def odd_schedules():
    """What a schedule can have besides messages."""
    torus = swing.Torus((2, 3), coords=np.stack(np.unravel_index(range(6), (2, 3), "F"), axis=1))
    two = [swing.schedule("ring", torus, ports=1), swing.schedule("bucket", torus, ports=1)]
    yield replace(parallel(two, weights=[1, 3]), name="a name, of mine")
    yield swing.schedule("bucket", swing.Torus((2, 5), wrap=(True, False)))
    for collective in ("reduce_scatter", "allgather"):
        yield swing.schedule("swing", swing.Torus((3, 4)), collective=collective)
    yield restepped(two[0], two[0].step, 0)


def every_schedule():
    yield from odd_schedules()
    for dims in SHAPES:
        if np.prod(dims) <= 12:
            yield from schedules(swing.Torus(dims))


def same(a, b):
    """Whether two schedules are the same table of messages, with the same phases and patterns."""

    def head(found):
        lists = [
            None if v is None else v.tolist() for v in (found.shares, found.origin, found.home)
        ]
        return found.name, found.collective, found.variant, found.torus, found.parts, lists

    def steps(found):
        phase, pattern = (
            native_json.Numbers(found.sync_phase),
            native_json.Numbers(found.signature),
        )
        return [(messages_of(step), phase(s), pattern(s)) for s, step in enumerate(found)]

    return head(a) == head(b) and steps(a) == steps(b)


def messages_of(step):
    messages = [step.message(i) for i in range(len(step))]
    return [(m.src, m.dst, native_json.ranges(m.blocks), m.op, m.part) for m in messages]


def test_our_own_format_keeps_everything():
    for schedule in every_schedule():
        data = whole(native_json.write(schedule))
        back = native_json.read(data)
        assert same(schedule, back), schedule
        assert whole(native_json.write(back)) == data


@pytest.mark.parametrize(("dims", "way"), CASES[:9])
def test_what_is_read_is_verified_and_simulated_alike(dims, way, tmp_path):
    schedule = made(dims, way)
    (path,) = write(schedule, tmp_path / "schedule.json")
    back = read(path)
    assert str(swing.verify(back)) == str(swing.verify(schedule))
    network = netsim.paper_network(schedule.torus.name)
    for model in ("analytic", "flow"):
        ours, theirs = (netsim.simulate(s, network, 2**20, model) for s in (schedule, back))
        assert theirs.seconds == pytest.approx(ours.seconds, rel=1e-12)


def schema():
    return json.loads(resources.files("swing.formats").joinpath("schema.json").read_text())


def test_what_we_write_fits_the_schema():
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    for schedule in odd_schedules():
        validator.validate(json.loads(whole(native_json.write(schedule))))


def without(document, key):
    return {k: v for k, v in document.items() if k != key}


def test_what_the_schema_refuses_is_refused():
    validator = pytest.importorskip("jsonschema").Draft202012Validator(schema())
    good = json.loads(whole(native_json.write(swing.schedule("swing", swing.Torus(6)))))
    step = good["steps"][0]
    bad = [without(good, key) for key in good]
    bad += [good | {"steps": [without(step, key)]} for key in step]
    bad += [good | {key: value} for key in good for value in (None, -1, {}, "x\n", 1.5)]
    bad += [good | {"steps": [step | {key: value}]} for key in step for value in (None, -1, ["+"])]
    bad += [good | {"more": 1}, good | {"steps": [step | {"more": 1}]}]
    refused = [document for document in bad if not validator.is_valid(document)]
    # Right are -1 as origin and home, an operation per message, and a name or variant that ends its
    # line.
    assert len(bad) - len(refused) == 5
    for document in refused:
        with pytest.raises(ValueError, match=r"\w"):
            native_json.read(json.dumps(document).encode())


# Formats that have bytes only.

TEXTS = {"steps": steps, "goal": goal, "smpi": smpi}


def traffic(format, schedule, nbytes):
    if format == "chakra":
        return chakra.read(list(chakra.write(schedule, nbytes)))
    return TEXTS[format].read(whole(TEXTS[format].write(schedule, nbytes)))


@pytest.mark.parametrize(("dims", "way"), QUICK_CASES)
@pytest.mark.parametrize("format", [*TEXTS, "chakra"])
def test_torus_name_steps_and_bytes_survive(format, dims, way):
    schedule = made(dims, way)
    back = traffic(format, schedule, NBYTES)
    assert (back.torus, back.name, back.variant) == (
        schedule.torus,
        schedule.name,
        schedule.variant,
    )
    assert sizes(back, NBYTES) == sizes(schedule, NBYTES)


def test_traffic_is_not_verified():
    with pytest.raises(ValueError, match="traffic"):
        swing.verify(traffic("steps", made((4, 4), "hybrid"), 1000))


def log_gp(programs):
    """Nanoseconds of GOAL programs under LogGP with LogGOPSim's defaults, without congestion.

    A rank's processor is busy for o with each side of a message; the last byte of one arrives
    L + (size - 1)·G after the send's o.
    """
    latency, overhead, per_byte = 2500, 1500, 6
    ends, arrived, free = {}, {}, [0] * len(programs)
    todo = {(rank, i): e for rank, events in enumerate(programs) for i, e in enumerate(events)}

    def begin(rank, i, event):
        found = [ends.get((rank, j), np.inf) for j in event.after]
        if event.kind == "recv":
            found.append(arrived.get((event.peer, rank, event.tag), np.inf))
        return max([*found, 0 if event.kind == "join" else free[rank]])

    while todo:
        start, (rank, i) = min((begin(*at, event), at) for at, event in todo.items())
        event = todo.pop((rank, i))
        ends[rank, i] = start
        if event.kind != "join":
            ends[rank, i] = free[rank] = start + overhead
        if event.kind == "send":
            key = rank, event.peer, event.tag
            arrived[key] = free[rank] + latency + (event.nbytes - 1) * per_byte
    return max(ends.values())


@pytest.mark.parametrize("name", ["swing", "recursive_doubling"])
@pytest.mark.parametrize("dims", [(16,), (4, 4)])
def test_without_congestion_log_gp_knows_no_difference(name, dims):
    # LogGOPSim says 11,840,432 ns of both on 16 ranks: 8 steps, 15/16 MiB out and back.
    schedule = swing.schedule(name, swing.Torus(dims), ports=1, variant="bandwidth")
    assert log_gp(goal.parse(whole(goal.write(schedule, 2**20)))) == 11_840_432


FOREIGN = {
    "goal": b"""num_ranks 2
    // recorded elsewhere
    rank 1 { /* waits
    here */
    l1: recv 10b from 0 cpu 1
    calc 100 cpu 2
    l2 : send 20b to 0 tag 7 cpu 0 nic 1
    l2 requires l1
    l2 irequires l1
    }
    rank 0 {
    a: send 10b to 1
    b: recv 20b from 1 tag 7
    }
    """,
    "smpi": b"""0 init
1 init
0 compute 1e9
0 send 1 0 10 6
1 irecv 0 0 10 6
1 wait 0 1 0
1 isend 0 3 5 1
0 irecv 1 3 5 1
0 wait 1 0 3
1 waitall
0 finalize
1 finalize
""",
    "steps": b"0 0 1 10\n\n1 1 0 20\n",
}


@pytest.mark.parametrize("format", FOREIGN)
def test_files_of_others_are_read(format):
    back = TEXTS[format].read(FOREIGN[format])
    assert [list(found) for found in sizes(back, back.nblocks)] == [[(0, 1, 10)], [(1, 0, 20)]]
    assert back.torus == swing.Torus(2)
    mesh = swing.Torus((1, 2), wrap=False)
    assert TEXTS[format].read(FOREIGN[format], mesh).torus == mesh


# MSCCL.


@pytest.mark.parametrize(
    ("dims", "way"),
    QUICK_CASES,
)
def test_msccl_xml_keeps_who_sends_which_blocks(dims, way):
    schedule = made(dims, way)
    back = msccl_reader.read(whole(msccl.write(schedule)), schedule.torus)
    assert back.parts == schedule.parts
    assert blocks_moved(back) == blocks_moved(schedule)
    ours, theirs = swing.verify(schedule), swing.verify(back)
    assert (theirs.same_bits, theirs.blocks_sent.tolist()) == (
        ours.same_bits,
        ours.blocks_sent.tolist(),
    )


def blocks_moved(schedule):
    return Counter(
        (src, dst, block, op, part)
        for step in rows(schedule)
        for src, dst, blocks, op, part in step
        for block in blocks
    )


def run_msccl(text, seed, slots=1):
    """Run a document on numbers as GPUs would: thread blocks in any order, `slots` a connection.

    Every chunk of the input buffer of rank g is 4^g; so is rank g's share of the output buffer.
    Returns the buffer that the program uses on each rank; AssertionError if all thread blocks wait.
    """
    from xml.etree import ElementTree

    random = np.random.default_rng(seed)
    memory, blocks, done = {}, [], defaultdict(int)
    document = ElementTree.fromstring(text)
    for gpu in document:
        g = int(gpu.get("id"))
        memory[g, "i"] = np.full(int(gpu.get("i_chunks")), 4.0**g)
        memory[g, "o"] = np.full(int(gpu.get("o_chunks")), np.nan)
        share = len(memory[g, "o"]) // int(document.get("ngpus"))
        memory[g, "o"][g * share : (g + 1) * share] = 4.0**g
        memory[g, "s"] = np.full(int(gpu.get("s_chunks")), np.nan)
        blocks += [(g, tb, list(tb)) for tb in gpu]
    wires = defaultdict(list)
    while any(left for _, _, left in blocks):
        moved = False
        for k in random.permutation(len(blocks)):
            g, tb, left = blocks[k]
            if not left:
                continue
            step = {key: value if not value.lstrip("-").isdigit() else int(value)
                    for key, value in left[0].attrib.items()}  # fmt: skip
            if step["depid"] >= 0 and done[g, step["depid"]] <= step["deps"]:
                continue
            sent = wires[g, int(tb.get("send")), tb.get("chan")]
            come = wires[int(tb.get("recv")), g, tb.get("chan")]
            kind = step["type"]
            receives = kind in ("r", "rrc")
            if (kind == "s" and len(sent) >= slots) or (receives and not come):
                continue
            n = step["cnt"]
            source = slice(step["srcoff"], step["srcoff"] + n)
            target = slice(step["dstoff"], step["dstoff"] + n)
            if kind == "s":
                sent.append(memory[g, step["srcbuf"]][source].copy())
            elif kind != "nop":
                new = come.pop(0) if receives else memory[g, step["srcbuf"]][source]
                assert len(new) == n
                if kind in ("rrc", "re"):
                    memory[g, step["dstbuf"]][target] += new
                else:
                    memory[g, step["dstbuf"]][target] = new
            del left[0]
            done[g, int(tb.get("id"))] += 1
            moved = True
        assert moved, "all thread blocks wait"
    return [np.append(memory[g, "i"], memory[g, "o"]) for g in range(len(memory) // 3)]


@pytest.mark.parametrize("way", [*WAYS, "latency", "several peers"])
@pytest.mark.parametrize("dims", [(8,), (4, 4), (3, 5)])
def test_msccl_xml_runs_in_any_order_with_one_slot_a_connection(dims, way):
    if way in ("latency", "several peers"):
        name = "swing" if way == "latency" else "recursive_multiplying"
        schedule = swing.schedule(name, swing.Torus(dims), variant="latency")
    else:
        schedule = made(dims, way)
    text = "".join(msccl.write(schedule))
    total = sum(4.0**g for g in range(schedule.torus.size))  # no two sums of some are equal
    for seed in range(3):
        assert all((found == total).all() for found in run_msccl(text, seed))


def test_limits_of_msccl_are_named():
    ring = swing.schedule("ring", swing.Torus(2), ports=1)
    with pytest.raises(ValueError, match="256 steps in a thread block"):
        whole(msccl.write(restepped(ring, lambda s: ring.step(s % 2), 600)))
    many = parallel([swing.schedule("ring", swing.Torus(2), ports=1)] * 33)
    with pytest.raises(ValueError, match="32 channels"):
        whole(msccl.write(many))
    weighted = parallel([swing.schedule("ring", swing.Torus(4), ports=1)] * 2, weights=[1, 2])
    with pytest.raises(ValueError, match="equal size"):
        whole(msccl.write(weighted))
    halves = Blocks(np.array([100, 100]), np.array([100, 0]))
    swap = Step(Op.REDUCE, np.arange(2), np.array([1, 0]), halves)
    long = with_allgather(Schedule("long", swing.Torus(2), 200, 1, lambda s: swap))
    text = "".join(msccl.write(long))
    assert {int(n) for n in re.findall(r'cnt="(\d+)"', text)} == {71, 29}
    assert swing.verify(msccl_reader.read(text.encode())).same_bits


PIPELINE = """<algo name="mine" proto="LL" nchannels="1" nchunksperloop="2" ngpus="2"
 coll="allreduce" inplace="1">
<gpu id="0" i_chunks="2" o_chunks="0" s_chunks="0"><tb id="0" send="1" recv="1" chan="0">
{a}</tb></gpu>
<gpu id="1" i_chunks="2" o_chunks="0" s_chunks="0"><tb id="0" send="0" recv="0" chan="0">
{b}</tb></gpu>
</algo>"""


def element(s, kind, off=0, dst=None, cnt=1):
    return (
        f'<step s="{s}" type="{kind}" srcbuf="i" srcoff="{off}" dstbuf="i" '
        f'dstoff="{off if dst is None else dst}" cnt="{cnt}" depid="-1" deps="-1" hasdep="0"/>'
    )


def test_msccl_xml_of_others_is_read_with_fused_steps():
    a = element(0, "s", cnt=2) + element(1, "r", cnt=2)
    b = element(0, "rrcs", cnt=2)
    back = msccl_reader.read(PIPELINE.format(a=a, b=b).encode())
    assert str(back) == "0 +  0→1:0-1\n1 =  1→0:0-1"
    assert swing.verify(back).same_bits


def test_a_wrong_program_is_read_and_found_wrong():
    a = element(0, "s", cnt=2) + element(1, "rrc", cnt=2)
    b = element(0, "rrcs", cnt=2)
    with pytest.raises(swing.ScheduleError, match="a second time"):
        swing.verify(msccl_reader.read(PIPELINE.format(a=a, b=b).encode()))


# Selection tables.

CHOICES = [rules.Rule(0, "swing latency"), rules.Rule(4096, "swing hybrid"),
           rules.Rule(2**24, "bucket")]  # fmt: skip
GENERIC = json.dumps(
    {f"collective={name}": {f"algorithm=MPIR_{name}_linear": {}} for name in mpich._COLLECTIVES}
    | {
        "collective=bcast": {"comm_type=intra": {"algorithm=MPIR_Bcast_intra_binomial": {}}},
        "collective=allreduce": {
            "comm_type=intra": {
                "avg_msg_size<=8": {"algorithm=MPIR_Allreduce_intra_recursive_doubling": {}},
                "avg_msg_size=any": {"algorithm=MPIR_Allreduce_intra_ring": {}},
            },
            "comm_type=inter": {"algorithm=MPIR_Allreduce_inter_reduce_exchange_bcast": {}},
        },
    }
).encode()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("collective=barrier", "collective=other", "no collective=barrier"),
        ("algorithm=MPIR_Bcast_intra_binomial", "algorithm=MPIDI_POSIX_mpi_bcast", "another layer"),
        ("algorithm=MPIR_scan_linear", "composition=MPIDI_Scan_intra_alpha", "another layer"),
        ("algorithm=MPIR_scan_linear", "algorithm=MPIR_Exscan_linear", "another collective"),
        ("collective=barrier", "collective=barrier2", "no collective=barrier"),
        ("avg_msg_size<=8", "weather=fine", "unknown key 'weather=fine'"),
        ("avg_msg_size<=8", "avg_msg_size<=2147483648", "the bound in"),
        ("avg_msg_size=any", "avg_msg_size<=99", "another key"),
        ("avg_msg_size<=8", "total_msg_size=any", "no further key"),
        ('{"algorithm=MPIR_scan_linear": {}}', '{"comm_type=intra": {}}', "no key"),
        ('{"algorithm=MPIR_scan_linear": {}}', "[]", "no key"),
        (
            '{"algorithm=MPIR_scan_linear": {}}',
            '{"algorithm=MPIR_scan_linear": {}}, "collective=dance": {}',
            "unknown",
        ),
    ],
)
def test_a_base_that_would_abort_mpich_is_refused(old, new, words):
    """Its posix and ch4 tables lack collectives, or name algorithms of other layers."""
    assert old.encode() in GENERIC
    with pytest.raises(ValueError, match=words):
        whole(mpich.write(CHOICES, 16, GENERIC.replace(old.encode(), new.encode())))


def test_tables_come_back_with_the_librarys_names():
    firsts = [rule.first for rule in CHOICES]
    for format, names in {
        openmpi: ["recursive_doubling", "rabenseifner", "ring"],
        nccl: ["tree", "ring"],
    }.items():
        back = format.read(whole(format.write(CHOICES, 16)), 16)
        assert [rule.algorithm for rule in back] == names
        assert [rule.first for rule in back] == firsts[: len(names)]
        assert whole(format.write(back, 16)) == whole(format.write(CHOICES, 16))
    table = whole(mpich.write(CHOICES, 16, GENERIC))
    back = mpich.read(table, 16)
    assert [rule.algorithm for rule in back] == ["recursive_doubling", "reduce_scatter_allgather",
                                                 "ring"]  # fmt: skip
    assert [rule.first for rule in back] == firsts
    assert whole(mpich.write(back, 16, GENERIC)) == table


def test_tables_leave_other_communicators_and_collectives_alone():
    table = whole(mpich.write(CHOICES, 16, GENERIC))
    for ranks in (15, 17):
        assert mpich.read(table, ranks) == mpich.read(GENERIC, ranks)
    assert json.loads(table)["collective=bcast"] == json.loads(GENERIC)["collective=bcast"]
    assert openmpi.read(whole(openmpi.write(CHOICES, 16)), 15) == []
    assert openmpi.read(whole(openmpi.write(CHOICES, 16)), 17) == [(0, "default")]
    assert nccl.read(whole(nccl.write(CHOICES, 16)), 17) == []


def test_rules_are_what_is_chosen():
    torus = swing.Torus((8, 8))
    found = rules.chosen(torus)
    for nbytes in (1, 2**12, 2**29):
        choice = swing.choose(torus, nbytes)
        name = [r.algorithm for r in found if r.first <= nbytes][-1]
        assert name == f"{choice.algorithm} {choice.options.get('variant', '')}".strip()


# Files from strangers.

BAD = {
    ("steps", b"0 0 1\n"): "line 1 is not",
    ("steps", b"0 0 1 1e3\n"): "whole number",
    ("steps", b"0 1 1 5\n"): "another rank",
    ("steps", b"9999999 0 1 5\n"): "jump",
    ("steps", b"0 0 70000 5\n"): "too many",
    ("steps", b"0 0 1 5\x00\n"): "control character",
    ("steps", b"\xff\xfe"): "UTF-8",
    ("goal", b"num_ranks 1\n"): "0 of 1 ranks",
    ("goal", b"num_ranks 2\nrank 0 {\nsend 5b to 1\n"): "too early",
    ("goal", b"num_ranks 1\nrank 0 {\n}\nrank 0 {\n}\n"): "twice",
    ("goal", b"num_ranks 1\nrank 0 {\na: calc 0\na: calc 1\n}\n"): "twice",
    ("goal", b"num_ranks 1\nrank 0 {\na requires b\n}\n"): "no label",
    ("goal", b"num_ranks 1\nrank 0 {\nsend b to 1\n}\n"): "expected",
    ("goal", b"num_ranks 1 /* no end"): "has no end",
    ("goal", b"num_ranks 2\nrank 0 {\nrecv 5b from -1\n}\nrank 1 {\n}\n"): "wildcard rank or tag",
    ("goal", b"num_ranks 2\nrank 0 {\nsend 5b to 1\n}\nrank 1 {\nrecv 4b from 0\n}\n"): "5 bytes",
    ("goal", b"num_ranks 2\nrank 0 {\nsend 5b to 1\n}\nrank 1 {\n}\n"): "must be equal",
    ("goal", b"num_ranks 1\nrank 0 {\na: calc 0\nb: calc 0\na requires b\nb requires a\n}\n"):
        "cycle",
    ("goal", b"num_ranks 99999999\n"): "too many",
    ("smpi", b"0 init\n"): "finalize",
    ("smpi", b"0 init\n0 bcast 5\n0 finalize\n"): "only messages",
    ("smpi", b"0 init\n0 finalize\n0 init\n"): "after its finalize",
    ("smpi", b"1 init\n1 finalize\n"): "numbered 0 to",
    ("smpi", b"0 init\n0 wait 0 1 0\n0 finalize\n"): "no request",
    ("smpi", b"0 recv 1 0 5 6\n0 send 1 0 5 6\n0 finalize\n"
             b"1 recv 0 0 5 6\n1 send 0 0 5 6\n1 finalize\n"): "cycle",
    ("json", b"[" * 10**6): "nested",
    ("json", b'"' + b'\\"' * 10**6): "JSON",
    ("json", b"{}"): "not a schedule",
    ("json", b'{"format": "torus-swing schedule", "version": 3}'): "version 3",
    ("json", b'{"format": 1, "format": 1}'): "twice",
    ("json", b'{"format": NaN}'): "not a JSON number",
    ("json", b'{"format": 1e999}'): "out of bounds",
    ("json", b'{"format": 123456789012345678901234567890}'): "out of bounds",
    ("json", b'{"format": '): "not JSON",
    ("xml", b"<!DOCTYPE algo><algo/>"): "not allowed",
    ("xml", b'<!DOCTYPE a [<!ENTITY b "bbbb">]><algo name="&b;"/>'): "not allowed",
    ("xml", b"<algo>"): "no attribute",
    ("xml", b"<step/>"): "out of place",
    ("xml", b"nonsense"): "not XML",
    ("xml", PIPELINE.format(a="", b=element(0, "s")).encode()): "1 sends and 0 receives",
    ("xml", PIPELINE.format(a=element(0, "s"), b=element(0, "r", 0, 1)).encode()): "ends with",
    ("xml", PIPELINE.format(a=element(0, "r") + element(1, "s"),
                            b=element(0, "r") + element(1, "s")).encode()): "cycle",
    ("xml", PIPELINE.format(a=element(1, "s"), b="").encode()): "at position 0",
    ("xml", PIPELINE.format(a=element(0, "s", 5), b="").encode()): "has no chunks 5",
}  # fmt: skip
READERS = {
    "steps": steps.read, "goal": goal.read, "smpi": smpi.read, "json": native_json.read,
    "xml": msccl_reader.read,
}  # fmt: skip


@pytest.mark.parametrize(("case", "why"), BAD.items(), ids=lambda x: str(x)[:40])
def test_what_is_no_such_file_is_refused_in_one_line(case, why):
    format, data = case
    with pytest.raises(ValueError, match=why) as error:
        READERS[format](data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_truncated_traces_are_refused():
    files = list(chakra.write(made((8,), "swing"), 4096))
    for cut in range(1, len(files[0]), 7):
        with pytest.raises(ValueError, match=r"\w"):
            chakra.read([files[0][:-cut], *files[1:]])
    long = b"\xff\xff\xff\xff\x0f"  # a length of four gigabytes
    with pytest.raises(ValueError, match="cut off"):
        chakra.read([long])


BAD_TABLES = {
    (openmpi, b"1 2 1 16 1 4 3 0 0"): "begin at 0",
    (openmpi, b"1 2 1 16 1 0 99 0 0"): "no algorithm 99",
    (openmpi, b"1 2 1 16"): "ends before",
    (openmpi, b"0 7"): "after its last rule",
    (nccl, b"allreduce,0,5,tree,simple,-1,-1"): "8 to 10 fields",
    (nccl, b"allreduce,0,5,TREE,simple,-1,-1,-1"): "'TREE' is not in",
    (nccl, b"allreduce,5,1,tree,simple,-1,-1,-1"): "max_bytes is a whole number from 5",
    (mpich, b"{}"): "not a table",
    (mpich, GENERIC.replace(b"avg_msg_size<=8", b"weather=fine")): "unknown key",
    (mpich, b"\x7fELF nothing"): "no selection table",
}


@pytest.mark.parametrize(("case", "why"), BAD_TABLES.items(), ids=lambda x: str(x)[-40:])
def test_what_is_no_table_is_refused(case, why):
    format, data = case
    with pytest.raises(ValueError, match=why):
        format.read(data, 16)


def chakra_node(ident, kind, **numbers):
    """A node with integer attributes, framed as in a trace."""
    fields = protobuf.number(1, ident) + protobuf.number(3, kind)
    for key, value in numbers.items():
        attribute = protobuf.block(1, key.encode()) + protobuf.number(9, value)
        fields += protobuf.block(10, attribute)
    return protobuf.varint(len(fields)) + fields


@pytest.mark.parametrize("both", [False, True])
def test_a_chakra_node_may_leave_its_own_side_out(both):
    """As the examples of ASTRA-sim do: a send has comm_dst, a receive comm_src."""
    head = protobuf.varint(0)
    own = ({"comm_src": 1}, {"comm_dst": 0}) if both else ({}, {})
    send = chakra_node(1, 5, comm_dst=0, comm_size=1000, **own[0])
    receive = chakra_node(1, 6, comm_src=1, comm_size=1000, **own[1])
    (step,) = chakra.read([head + receive, head + send])
    assert (step.src.tolist(), step.dst.tolist(), step.blocks.counts.tolist()) == ([1], [0], [1000])
    for wrong, words in (
        (chakra_node(1, 5, comm_size=1000), "node 1 has no comm_dst"),
        (chakra_node(4, 7, comm_size=1000), r"node 4 is a collective \(COMM_COLL_NODE\)"),
    ):
        with pytest.raises(ValueError, match=words):
            chakra.read([head + receive, head + wrong])


@pytest.mark.parametrize(
    ("init", "count", "nbytes"),
    [("", "1000", 1000), (" 1", "1000", 8000), ("", "1e6", 10**6), (" 1", "2.0e3 6", 2000),
     ("", "10 1", 40)],
)  # fmt: skip
def test_counts_of_a_trace_are_of_its_default_type(init, count, nbytes):
    lines = [f"0 init{init}", f"1 init{init}", f"0 send 1 0 {count}", f"1 recv 0 0 {count}"]
    text = "\n".join([*lines, "0 finalize", "1 finalize"])
    (step,) = smpi.read(text.encode())
    assert step.blocks.counts.tolist() == [nbytes]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("run.2024", "run.2024"), ("run.0.et", "run"), ("run.et", "run"), ("v1.5", "v1.5"),
     ("run.2024.et", "run"), ("run", "run")],
)  # fmt: skip
def test_only_before_the_suffix_is_a_number_that_of_a_rank(path, prefix, tmp_path):
    schedule = swing.schedule("swing", swing.Torus(2))
    files = formats.write(schedule, tmp_path / path, "chakra", 64)
    assert [file.name for file in files] == [f"{prefix}.0.et", f"{prefix}.1.et"]
    assert formats.read(tmp_path / path, "chakra").torus.size == 2
