"""Every algorithm in every format: it comes back with its steps and times, or is refused in words.

Formats with blocks bring back the messages themselves; the others bring back who sends how many
bytes to whom in each step, which is what simulated times depend on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import prod

import numpy as np
import pytest

import netsim
import swing
from swing import formats
from swing.schedules.collectives import COLLECTIVES
from tests.cases import SHAPES, every_schedule, schedules

WITH_BLOCKS = ("json", "msccl")
READABLE = [*WITH_BLOCKS, "steps", "goal", "smpi", "chakra"]
TORI = [(1,), (3,), (2, 4)]
CANNOT_HOLD = {
    **dict.fromkeys(["steps", "goal", "smpi", "chakra"], "this format has no messages of 0 bytes"),
    "msccl": ("MSCCL XML cannot name a root", "MSCCL XML is written for one buffer per rank",
              "MSCCL's chunks are of equal size"),
}  # fmt: skip
"""How a writer refuses what its format cannot hold, by format."""
MODELS = ("analytic", "flow")


def contents(schedule, nbytes, with_blocks):
    """The messages of each step, in an order that does not depend on the file's."""
    sizes = np.diff(schedule.ends(nbytes))  # of all vectors
    found = []
    for step in schedule:
        messages = [step.message(i) for i in range(len(step))]
        carried = [np.r_[m.blocks] for m in messages]
        ends = [(m.src, m.dst, int(sizes[b].sum())) for m, b in zip(messages, carried, strict=True)]
        if with_blocks:
            more = [(m.part, m.op, b.tobytes()) for m, b in zip(messages, carried, strict=True)]
            ends = [(*end, *rest) for end, rest in zip(ends, more, strict=True)]
        found.append(Counter(ends))
    return found


def check(schedule, format, folder):
    """Write and read a schedule; return whether the format holds it."""
    nbytes = schedule.nblocks * 2**10
    total = nbytes * schedule.vectors
    path = folder / "schedule"
    refused = ""
    try:
        formats.write(schedule, path, format, nbytes)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(CANNOT_HOLD.get(format, ())), (format, schedule)
        return False
    back = formats.read(path, format, schedule.torus)
    # MSCCL numbers the blocks of a reduce-scatter or allgather by their ranks.
    exact = format == "json" or (format == "msccl" and schedule.is_allreduce)
    assert contents(back, total, exact) == contents(schedule, total, exact), (format, schedule)
    if format in WITH_BLOCKS:
        assert sorted(back.origin) == sorted(schedule.origin)
        assert sorted(back.home) == sorted(schedule.home)
        ours, theirs = (swing.verify(s) for s in (schedule, back))
        for fact in ("same_bits", "nsteps", "messages", "ports"):
            assert getattr(theirs, fact) == getattr(ours, fact), (format, schedule)
        assert (theirs.blocks_sent == ours.blocks_sent).all()
    if format not in WITH_BLOCKS:
        # A trace has whole bytes, so what its messages have is compared with blocks of whole bytes.
        schedule = replace(schedule, shares=np.diff(schedule.ends(total)) / nbytes)
    network = netsim.paper_network(schedule.torus.name)
    for model in MODELS:
        times = [
            netsim.simulate(s, network, total if s.is_traffic else nbytes, model).seconds
            for s in (back, schedule)
        ]
        # Sums over the same messages in another order may differ in the last digits.
        assert times[0] == pytest.approx(times[1], rel=1e-12, abs=0), (format, schedule)
    return True


def cases(dims):
    torus = swing.Torus(dims)
    yield from schedules(torus)
    for collective in COLLECTIVES[1:]:
        yield swing.schedule("swing", torus, collective=collective)
    yield swing.schedule("linear", torus, collective="alltoall")
    yield swing.schedule("bucket", torus, segments=2)


@pytest.mark.parametrize("format", READABLE)
@pytest.mark.parametrize("dims", TORI, ids=str)
def test_what_is_written_comes_back_with_its_steps_and_times(dims, format, tmp_path):
    held = [check(schedule, format, tmp_path) for schedule in cases(dims)]
    assert sum(held) > len(held) / 2


@pytest.mark.nightly
@pytest.mark.parametrize("format", READABLE)
@pytest.mark.parametrize("dims", [d for d in SHAPES if prod(d) <= 16], ids=str)
def test_every_schedule_comes_back_with_its_steps_and_times(dims, format, tmp_path):
    for schedule in every_schedule(swing.Torus(dims)):
        check(schedule, format, tmp_path)


def test_the_formats_of_this_test_are_all_that_are_read():
    assert set(READABLE) == set(formats.SUFFIXES.values())
    assert set(formats.FORMATS) - set(READABLE) == {"simgrid-platform", "simgrid-hosts"}


@pytest.mark.parametrize("format", ["steps", "goal", "smpi", "chakra"])
@pytest.mark.parametrize(("name", "nbytes"), [("linear", 1600), ("swing", 320), ("linear", 6400)])
def test_a_trace_of_an_alltoall_has_the_bytes_that_are_simulated(name, nbytes, format, tmp_path):
    schedule = swing.schedule(name, swing.Torus(4), collective="alltoall")
    formats.write(schedule, tmp_path / "trace", format, nbytes)
    trace = formats.read(tmp_path / "trace", format, schedule.torus)
    network = netsim.paper_network("torus:4")
    runs = netsim.simulate(schedule, network, nbytes), netsim.simulate(trace, network, 4 * nbytes)
    assert trace.nblocks == 4 * nbytes
    assert runs[0].link_bytes.tolist() == runs[1].link_bytes.tolist()


def test_a_message_of_an_alltoall_has_a_pth_of_a_vector():
    schedule = swing.schedule("linear", swing.Torus(4), collective="alltoall")
    lines = "".join(formats.text(schedule, "steps", 1600)).splitlines()
    assert {line.split()[3] for line in lines if not line.startswith("#")} == {"400"}


@pytest.mark.parametrize("weights", [[1] * 9, [0, 2, 1] * 3, [0, 1, 2, 2, 0, 1, 1, 2, 0]])
def test_json_holds_an_alltoall_with_blocks_of_any_sizes(weights, tmp_path):
    schedule = swing.schedule("linear", swing.Torus(3), collective="alltoall")
    unequal = replace(schedule, shares=np.array(weights) / 3)
    formats.write(unequal, tmp_path / "alltoall.json")
    back = formats.read(tmp_path / "alltoall.json")
    assert back.shares.tolist() == unequal.shares.tolist()
    assert back.vectors == 3
