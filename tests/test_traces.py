"""Traces of programs: the step of each message, and the bytes that an action stands for."""

from __future__ import annotations

import numpy as np
import pytest

import netsim
import swing
from swing.build.parallel import parallel
from swing.formats import chakra, goal, native_json, protobuf, read, smpi, steps, write
from swing.formats.event_order import JOIN, RECV, SEND, Event
from swing.formats.event_trace import recover
from swing.formats.trace_header import Header
from tests.cases import every_schedule, restepped, schedules
from tests.test_formats import whole

LATENCY = 913.68  # ns to a neighbour on the paper's torus, for a message without bytes


def sent(schedule):
    """The messages of each step, as (src, dst, bytes)."""
    return [
        sorted(zip(*(c.tolist() for c in (step.src, step.dst, step.blocks.counts)), strict=True))
        for step in schedule
    ]


def program(text):
    """Events in a short form: ``s1`` sends to rank 1, ``r1`` receives, one after the other.

    With a bar, events on its left are not waited for by each other, and a join waits for them all.
    """
    events: list[Event] = []
    last: list[int] = []
    for group in text.split(";"):
        first = len(events)
        for word in group.split():
            kind, peer, nbytes = word[0], word[1:].partition(":")[0], word.partition(":")[2]
            events.append(
                Event({"s": SEND, "r": RECV}[kind], int(peer), int(nbytes or 8), after=last)
            )
        last = list(range(first, len(events)))
        if len(last) > 1:
            events.append(Event(JOIN, after=last))
            last = [len(events) - 1]
    return events


CASES = {
    # name: programs of all ranks, steps without a limit, steps under rendezvous; None: a deadlock
    "one message": (["s1", "r0"], [[(0, 1)]], [[(0, 1)]]),
    "send, then receive": (["s1;r1", "s0;r0"], [[(0, 1), (1, 0)]], None),
    "receive, then send": (["r1;s1", "r0;s0"], None, None),
    "both at once": (["s1 r1", "s0 r0"], [[(0, 1), (1, 0)]], [[(0, 1), (1, 0)]]),
    "a chain of shifts": (
        ["s1", "s2;r0", "s3;r1", "r2"],
        [[(0, 1), (1, 2), (2, 3)]],
        [[(2, 3)], [(1, 2)], [(0, 1)]],
    ),
    "a relay": (["s1", "r0;s2", "r1"], [[(0, 1)], [(1, 2)]], [[(0, 1)], [(1, 2)]]),
    "there and back": (["s1;r1", "r0;s0"], [[(0, 1)], [(1, 0)]], [[(0, 1)], [(1, 0)]]),
    "two sends in a row": (["s1;s2", "r0", "r0"], [[(0, 1), (0, 2)]], [[(0, 1)], [(0, 2)]]),
    # The receive of rank 2 depends on nothing: its message comes when rank 1 has heard of rank 0.
    "an early receive": (
        ["s1", "r0;s2", "r1 s3", "r2"],
        [[(0, 1), (2, 3)], [(1, 2)]],
        [[(0, 1), (2, 3)], [(1, 2)]],
    ),
    # Rank 2 posts its receive late, but the message was sent long before.
    "a late receive": (
        ["s1;s2", "r0;s2", "r1;r0;s3", "r2"],
        [[(0, 1), (0, 2)], [(1, 2)], [(2, 3)]],
        [[(0, 1)], [(1, 2)], [(0, 2)], [(2, 3)]],
    ),
    "a join of sends only": (
        ["s1 s2;s3", "r0", "r0", "r0"],
        [[(0, 1), (0, 2), (0, 3)]],
        [[(0, 1), (0, 2)], [(0, 3)]],
    ),
    "a ring of three": (["s1;r2", "s2;r0", "s0;r1"], [[(0, 1), (1, 2), (2, 0)]], None),
    "crossed exchanges": (
        ["s1 r1;s2 r2", "s0 r0", "s0 r0"],
        [[(0, 1), (1, 0), (2, 0)], [(0, 2)]],
        [[(0, 1), (1, 0)], [(0, 2), (2, 0)]],
    ),
}


@pytest.mark.parametrize("limit", [None, 8, 7, 0])
@pytest.mark.parametrize("name", CASES)
def test_a_send_is_done_when_it_is_handed_over_unless_it_is_above_the_eager_limit(name, limit):
    texts, eager, rendezvous = CASES[name]
    right = eager if limit in (None, 8) else rendezvous
    programs = [program(text) for text in texts]
    if right is None:
        with pytest.raises(ValueError, match="wait for each other in a cycle"):
            recover(programs, None, None, limit)
        return
    found = sent(recover(programs, None, None, limit))
    assert [[row[:2] for row in step] for step in found] == [sorted(step) for step in right]


def test_each_send_is_measured_by_itself():
    """Only the message of 9 bytes is above the limit of 8."""
    programs = [program("s1:9;s1:8;s1:8"), program("r0:9;r0:8;r0:8")]
    assert [len(step) for step in sent(recover(programs, None, None, 8))] == [1, 2]
    assert [len(step) for step in sent(recover(programs, None, None, 9))] == [3]


def shift(format, p, folder):
    """A file in which each rank sends 100 B to the right, and then receives from the left."""
    rows = [(r, r + 1, r - 1) for r in range(p)]
    if format == "goal":
        lines = [f"num_ranks {p}"]
        for r, right, left in rows:
            lines += [f"rank {r} {{", *([f"s: send 100b to {right}"] if right < p else [])]
            lines += [f"r: recv 100b from {left}"] if left >= 0 else []
            lines += ["r requires s"] if right < p and left >= 0 else []
            lines += ["}"]
        (folder / "shift.goal").write_text("\n".join(lines) + "\n")
    elif format == "smpi":
        lines = [f"{r} init" for r in range(p)]
        lines += [f"{r} send {right} 0 100" for r, right, _ in rows if right < p]
        lines += [f"{r} recv {left} 0 100" for r, _, left in rows if left >= 0]
        (folder / "shift.ti").write_text("\n".join([*lines, *(f"{r} finalize" for r in range(p))]))
    else:
        for r, right, left in rows:
            nodes = [protobuf.varint(0)]
            if right < p:
                nodes.append(node(0, 5, comm_dst=right, comm_size=100))
            if left >= 0:
                after = [0] if right < p else []
                nodes.append(node(1, 6, after, comm_src=left, comm_size=100))
            (folder / f"shift.{r}.et").write_bytes(b"".join(nodes))
    return folder / {"goal": "shift.goal", "smpi": "shift.ti", "chakra": "shift.et"}[format]


def node(ident, kind, after=(), field=9, **numbers):
    """A node with attributes of one type, framed as in a Chakra trace."""
    data = protobuf.number(1, ident) + protobuf.number(3, kind) + protobuf.packed(5, after)
    for key, value in numbers.items():
        encoded = value if isinstance(value, bytes) else protobuf.number(field, value)
        data += protobuf.block(10, protobuf.block(1, key.encode()) + encoded)
    return protobuf.varint(len(data)) + data


@pytest.mark.parametrize("format", ["goal", "smpi", "chakra"])
def test_a_shift_takes_one_step_whatever_the_format(format, tmp_path):
    path = shift(format, 8, tmp_path)
    network = netsim.paper_network("torus:8")
    for limit, nsteps in ((None, 1), (100, 1), (99, 7), (0, 7)):
        trace = read(path, eager_limit=limit)
        assert trace.nsteps == nsteps
        seconds = netsim.simulate(trace, network, trace.nblocks).seconds
        assert seconds == pytest.approx(nsteps * (LATENCY + 2) * 1e-9)


def test_an_eager_limit_is_a_number_of_bytes(tmp_path):
    path = shift("goal", 2, tmp_path)
    with pytest.raises(ValueError, match="0 bytes or more"):
        read(path, eager_limit=-1)
    with pytest.raises(TypeError, match="whole number of bytes"):
        read(path, eager_limit="64KiB")


# Bytes and actions.


def trace(*lines, ranks=2):
    ends = [f"{r} finalize" for r in range(ranks)]
    return "\n".join([*lines, *ends]).encode()


@pytest.mark.parametrize(
    ("action", "nbytes"),
    [
        ("1e6 6", 10**6), ("1.5e3 6", 1500), ("2E2", 1600), ("1000", 8000), ("0", 0), ("0 6", 0),
        ("3 7", 24), ("3 8", 3), ("3 10", 6), ("3 14", 48), ("3 18", 6), ("3 24", 24), ("3 27", 96),
        ("3 31", 48), ("3 33", 24), ("3 49", 48), ("3 57", 3), ("3 59", 24), ("3 56", 0),
        ("1000.0 1", 4000), ("25e-1", None), ("1e99", None), ("0 60", None), ("0 -1", None),
        ("1.5", None), ("1e17", None),
    ],
)  # fmt: skip
def test_a_count_is_a_number_of_elements(action, nbytes):
    data = trace("0 init 1", "1 init 1", f"0 send 1 3 {action}", "1 recv 0 3 1e9 0")
    if nbytes is None:
        with pytest.raises(ValueError, match=r"line 3: a (count|datatype) is a whole number"):
            smpi.read(data)
    else:
        assert sent(smpi.read(data)) == [[(0, 1, nbytes)]]


@pytest.mark.parametrize(
    "words",
    ["5 {} 5 {}", "5 {} 5 {} 6 6", "40 {} 1e2 {} 6 2", "10 {} 40 {} 1 6"],
)
def test_an_exchange_is_a_send_and_a_receive_at_once(words):
    lines = [f"{r} sendRecv {words.format(1 - r, 1 - r)}" for r in range(2)]
    nbytes = {"5": 5, "40": 40, "10": 40}[words.split()[0]]
    for limit in (None, 0):
        assert sent(smpi.read(trace(*lines), eager_limit=limit)) == [
            [(0, 1, nbytes), (1, 0, nbytes)]
        ]
    ring = [f"{r} sendRecv 8 {(r + 1) % 3} 8 {(r + 2) % 3}" for r in (0, 1, 2, 0, 1, 2)]
    assert [len(step) for step in smpi.read(trace(*ring, ranks=3))] == [3, 3]


def test_actions_that_move_nothing_are_passed_over():
    idle = ["0 comm_size 2", "0 location a.c 3", "0 compute 1e9", "0 sleep 1", "1 test 0 1 0"]
    lines = ["1 irecv 0 0 -1", *idle, "0 isend 1 0 7", "1 wait 0 1 0", "0 waitall"]
    assert sent(smpi.read(trace(*lines))) == [[(0, 1, 7)]]


@pytest.mark.parametrize(
    "action",
    ["barrier", "bcast 5e4", "reduce 5 5 0", "allreduce 5 5", "alltoall 5 5", "alltoallv 5 1 1 5",
     "gather 5 5 0 0 0", "gatherv 5 5 5", "scatter 5 5 0 0 0", "allgather 5 5", "allgatherv 5 5 5",
     "reducescatter 5 5 9", "scan 5 5", "exscan 5 5", "put 1 5"],
)  # fmt: skip
def test_a_collective_action_is_refused_with_its_name_and_line(action):
    with pytest.raises(ValueError, match=f"line 2: .* '{action.split()[0]}'"):
        smpi.read(trace("0 init", f"0 {action}"))


def test_a_trace_may_have_one_file_per_rank(tmp_path, monkeypatch):
    parts = [trace("0 init", "0 send 1 0 5", ranks=1), trace("1 init", "1 recv 0 0 5", ranks=0)]
    (tmp_path / "files").mkdir()
    for rank, data in enumerate((parts[0], parts[1] + b"\n1 finalize")):
        (tmp_path / "files" / f"rank-{rank}.txt").write_bytes(data)
    names = [f"files/rank-{rank}.txt" for rank in range(2)]
    listed = tmp_path / "list.ti"
    listed.write_text("# written by a tracer\n" + "\n".join(names) + "\n")
    for folder in (tmp_path, tmp_path.parent):  # beside the list, and from anywhere
        monkeypatch.chdir(folder)
        assert sent(read(listed)) == [[(0, 1, 5)]]
    for rank, name in enumerate(names):
        (tmp_path / f"run.{rank}.ti").write_bytes((tmp_path / name).read_bytes())
    for name in ("run.ti", "run.0.ti", "run.1.ti"):
        assert sent(read(tmp_path / name)) == [[(0, 1, 5)]]
    with pytest.raises(OSError, match=r"none\.ti"):
        read(tmp_path / "none.ti")
    listed.write_text("\n".join(reversed(names)))
    with pytest.raises(ValueError, match="rank 0's file, line 1 is an action of rank 1"):
        read(listed)
    listed.write_text("files")
    with pytest.raises(ValueError, match="does not name a file"):
        read(listed)
    listed.write_text("files/rank-7.txt")
    with pytest.raises(OSError, match=r"No such file.*rank-7\.txt"):
        read(listed)
    with pytest.raises(OSError, match=r"No such file.*none\.0\.et"):
        read(tmp_path / "none.et")
    (tmp_path / "all.ti").write_bytes(parts[0] + b"\n" + parts[1] + b"\n1 finalize")
    listed.write_text("all.ti")  # as smpirun takes a trace of all ranks
    assert sent(read(listed)) == [[(0, 1, 5)]]


EXCHANGES = trace(
    "0 init 1", "1 init 1", "2 init", "0 sendRecv 5 1 5e0 1 6 6", "1 sendRecv 5.0 0 5 0 6 6",
    "2 irecv 0 7 -1", "0 isend 2 7 3 11", "1 test 1 0 0", "2 wait 0 2 7", "0 waitall",
    ranks=3,
)  # fmt: skip
EMPTY = {
    "goal": b"num_ranks 2\nrank 0 {\na: send 0b to 1\nb: recv 0b from 1\nb requires a\n}\n"
            b"rank 1 {\na: recv 0b from 0\nb: send 0b to 0\nb requires a\n}\n",
    "smpi": trace("0 send 1 0 0", "1 recv 0 0 0", "1 send 0 0 0", "0 recv 1 0 0"),
    "steps": b"0 0 1 0\n1 1 0 0\n",
}  # fmt: skip


@pytest.mark.parametrize("format", EMPTY)
def test_messages_without_bytes_take_their_latency(format, tmp_path):
    path = tmp_path / "trace"
    path.write_bytes(EMPTY[format])
    back = read(path, format)
    network = netsim.paper_network("torus:2")
    for other in ("goal", "smpi", "steps", "chakra", "json"):
        write(back, tmp_path / f"copy-{other}", other, back.nblocks)
        copy = read(tmp_path / f"copy-{other}", other)
        assert sent(copy) == sent(back) == [[(0, 1, 0)], [(1, 0, 0)]]
        for model in netsim.MODELS:
            seconds = netsim.simulate(copy, network, 1, model).seconds
            assert seconds == netsim.simulate(back, network, 1, model).seconds
            # The packet model adds the header's time at the door and the crossbars, below 1 ns.
            assert seconds == pytest.approx(netsim.simulate(copy, network, 1).seconds, abs=1e-9)
    assert str(back) == "0 =  0→1:-\n1 =  1→0:-"


@pytest.mark.parametrize(
    ("field", "encode"),
    [(7, None), (9, None), (11, None), (13, None), (15, lambda n: 2 * n), (17, lambda n: 2 * n),
     (19, 4), (21, 8), (23, 4), (25, 8)],
)  # fmt: skip
def test_attributes_may_have_any_type_of_whole_number(field, encode):
    def attributes(**numbers):
        if isinstance(encode, int):
            wire = {4: 5, 8: 1}[encode]
            return {
                key: protobuf.varint(field << 3 | wire) + value.to_bytes(encode, "little")
                for key, value in numbers.items()
            }
        return {key: encode(value) if encode else value for key, value in numbers.items()}

    head = protobuf.varint(0)
    send = node(4, 5, field=field, **attributes(comm_dst=0, comm_size=1000, comm_tag=3))
    receive = node(2, 6, field=field, **attributes(comm_src=1, comm_size=1000, comm_tag=3))
    assert sent(chakra.read([head + receive, head + send])) == [[(1, 0, 1000)]]


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 8, 9, 10])
def test_nodes_of_one_rank_only_order_its_messages(kind):
    head = protobuf.varint(0)
    one = (
        node(0, 5, comm_dst=1, comm_size=9)
        + node(1, kind, [0])
        + node(2, 6, [1], comm_src=1, comm_size=9)
    )
    two = (
        node(0, 6, comm_src=0, comm_size=9)
        + node(7, kind, [0])
        + node(2, 5, [7], comm_dst=0, comm_size=9)
    )
    assert sent(chakra.read([head + one, head + two])) == [[(0, 1, 9)], [(1, 0, 9)]]


@pytest.mark.parametrize(
    ("comm_type", "name"), [(0, "ALL_REDUCE"), (2, "ALL_GATHER"), (7, "REDUCE_SCATTER"), (99, "99")]
)
def test_a_collective_node_is_refused_with_its_number_and_kind(comm_type, name):
    head = protobuf.varint(0)
    with pytest.raises(ValueError, match=rf"rank 0: node 12 is .*COMM_COLL_NODE.* {name}"):
        chakra.read([head + node(12, 7, comm_type=comm_type, comm_size=8), head])


# Our own schedules.

BYTES = {"steps": steps, "goal": goal, "smpi": smpi}


def there_and_back(format, schedule, nbytes):
    if format == "chakra":
        return chakra.read(list(chakra.write(schedule, nbytes)))
    return BYTES[format].read(whole(BYTES[format].write(schedule, nbytes)))


def table(schedule, unit=1):
    """Everything that decides the time of a schedule whose blocks have ``unit`` bytes."""
    phases, runs = (
        [key(s) == key(s + 1) for s in range(schedule.nsteps - 1)]
        for key in (schedule.sync_phase, schedule.signature)
    )
    columns = [(step.src, step.dst, unit * step.blocks.counts, step.part) for step in schedule]
    return phases, runs, [[c.tolist() for c in step] for step in columns]


def compare(schedule, models, unit=2):
    """Write a schedule in each format and read it: what comes back takes the same time."""
    torus = schedule.torus
    nbytes = schedule.nblocks * unit
    first, *others = (there_and_back(format, schedule, nbytes) for format in (*BYTES, "chakra"))
    assert all(table(back) == table(first) for back in others), schedule
    if schedule.shares is not None:  # blocks of unequal size are rounded to whole bytes
        assert first.nsteps == schedule.nsteps
        return
    assert table(first) == table(schedule, unit), schedule
    network = netsim.paper_network(torus.name)
    for model in models:
        ours, theirs = (netsim.simulate(s, network, nbytes, model) for s in (schedule, first))
        # A trace has no lines: its latencies are added link by link, and round in their own way.
        assert theirs.step_seconds == pytest.approx(ours.step_seconds, rel=1e-12), (schedule, model)


@pytest.mark.parametrize(
    ("dims", "models"),
    [((5,), netsim.MODELS), ((2, 5), ("analytic", "flow")), ((20,), ("analytic",))],
)  # fmt: skip
def test_every_schedule_comes_back_with_its_steps_and_its_time(dims, models):
    """Parts, phases, idle steps and the order of messages in a step are kept, to the last bit."""
    for schedule in schedules(swing.Torus(dims)):
        compare(schedule, models)


@pytest.mark.parametrize("wrap", [True, (True, False), (False, True), False])
def test_ranks_come_back_where_they_were(wrap):
    """On a torus that wraps in some dimensions, with ranks in any order: it comes back equal."""
    places = np.random.default_rng(3).permutation(6)
    coords = np.stack(np.unravel_index(places, (2, 3)), axis=1)
    for torus in (swing.Torus((2, 3), wrap), swing.Torus((2, 3), wrap, coords)):
        schedule = swing.schedule("swing", torus)
        for format in (*BYTES, "chakra"):
            assert there_and_back(format, schedule, 960).torus == torus
        compare(schedule, ["analytic"])


@pytest.mark.nightly
@pytest.mark.parametrize("dims", [(2,), (5,), (4, 4), (2, 5), (3, 4), (20,)])
def test_every_collective_comes_back_with_its_time_in_every_model(dims):
    for schedule in every_schedule(swing.Torus(dims)):
        compare(schedule, netsim.MODELS if schedule.nsteps <= 40 else ())


@pytest.mark.parametrize("format", [*BYTES, "chakra"])
def test_an_eager_limit_changes_nothing_in_a_trace_that_numbers_its_steps(format, tmp_path):
    schedule = swing.schedule("bucket", swing.Torus((2, 5)))
    write(schedule, tmp_path / "trace", format, 1000)
    assert sent(read(tmp_path / "trace", format, eager_limit=0)) == sent(
        read(tmp_path / "trace", format)
    )


def test_what_a_trace_cannot_hold_is_refused_when_it_is_written():
    ring = swing.schedule("ring", swing.Torus(3), ports=1)
    torn = swing.Schedule("torn", ring.torus, 3, 4, ring.step, sync_phase=lambda s: s % 2)
    many = parallel([swing.schedule("ring", swing.Torus(2), ports=1)] * 300)
    with pytest.raises(ValueError, match="256 network cards"):
        whole(goal.write(many, 600))
    for format in (smpi, steps, goal):
        with pytest.raises(ValueError, match="phase that is interrupted"):
            whole(format.write(torn, 600))
    header = Header.of(restepped(ring, ring.step), 9, rows=2**20)
    with pytest.raises(ValueError, match="tags"):
        header.tag(2**11, 0, 0)


HEADER = "torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("parts=8 rows=2 phases=2*1 runs=3*1", "contradicts itself"),
        ("parts=4 rows=2 phases=2*1 runs=2*1", "contradicts itself"),
        ("parts= rows=2 phases=2*1 runs=2*1", "contradicts itself"),
        ("parts=8 rows=x phases=2*1 runs=2*1", "rows is a whole number"),
        ("parts=8 rows=2 phases=9999999999*1 runs=2*1", "phases: a number"),
        ("parts=8 rows=2 phases=2*9007199254740992 runs=2*9007199254740992", "too many"),
        ("parts=8 rows=2 phases=1*1 runs=1*1", "tag 3 is beyond the 1 steps"),
        ("nodes=0,0 parts=8 rows=2 phases=2*1 runs=2*1", "each of 2 nodes once"),
        ("nodes=2*1 parts=8 rows=2 phases=2*1 runs=2*1", "each of 2 nodes once"),
        ("nodes=0 parts=8 rows=2 phases=2*1 runs=2*1", "each of 2 nodes once"),
        ("nodes=1,0 parts=2*4 rows=2 phases=2*1 runs=2*1", None),
        ("parts=2*4 rows=1 phases=9*1 runs=9*1", "does not fit into part 1"),
    ],
)
def test_a_header_that_is_wrong_is_refused(more, why):
    lines = [f"# {HEADER} {more}", "0 send 1 0 4", "1 recv 0 0 4"]
    lines += (
        ["0 recv 1 3 4", "1 send 0 3 4"]
        if "does not" not in str(why)
        else ["0 send 1 1 8", "1 recv 0 1 8"]
    )
    if why is None:
        assert smpi.read(trace(*lines)).parts == (4, 4)
        return
    with pytest.raises(ValueError, match=why):
        smpi.read(trace(*lines))


def test_a_short_header_names_the_torus_only():
    lines = f"# {HEADER}", "0 send 1 0 4", "1 recv 0 0 4", "1 send 0 3 4", "0 recv 1 3 4"
    back = smpi.read(trace(*lines))
    assert (back.name, back.torus, back.nblocks, back.nsteps) == ("swing", swing.Torus(2), 8, 2)


def test_a_message_is_no_earlier_than_what_it_waits_for_whatever_its_number():
    """Rank 1 answers in the step after, though both messages have numbers of step 0."""
    lines = f"# {HEADER} parts=8 rows=2 phases=2*1 runs=2*1", "0 send 1 0 4", "1 recv 0 0 4"
    back = smpi.read(trace(*lines, "1 send 0 1 4", "0 recv 1 1 4"))
    assert sent(back) == [[(0, 1, 4)], [(1, 0, 4)]]


def test_a_trace_is_written_with_the_bytes_that_it_was_read_with(tmp_path):
    back = steps.read(b"0 0 1 10\n1 1 0 20\n")
    for format in (*BYTES, "chakra"):
        write(back, tmp_path / format, format)
        assert sent(read(tmp_path / format, format)) == [[(0, 1, 10)], [(1, 0, 20)]]
        write(back, tmp_path / format, format, 60)  # a vector twice as long
        assert sent(read(tmp_path / format, format)) == [[(0, 1, 20)], [(1, 0, 40)]]
    with pytest.raises(ValueError, match="nbytes=2"):
        write(swing.schedule("swing", swing.Torus(2)), tmp_path / "trace.goal")


def test_a_trace_without_a_header_has_the_bytes_of_all_its_messages():
    back = steps.read(b"0 0 1 10\n0 1 0 5\n1 0 1 20\n")
    assert back.nblocks == 35
    assert np.array_equal(back.step(0).blocks.counts, [10, 5])
    assert native_json.read(whole(native_json.write(back))).nblocks == 35
