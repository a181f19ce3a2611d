"""Chakra execution traces, a file a rank: ``prefix.0.et``, ``prefix.1.et`` and so on.

A file is a sequence of messages of protocol buffers, each after its length: the metadata, then a
node for every side of a message, which depends on all the rank did in its step before. ASTRA-sim
takes such a set as a collective of the user's own; sizes are baked in.

Loses: blocks and what is done with them (reductions take no time), parts, phases, owners and how
ranks are placed. Torus and size are in the metadata, steps in an attribute of every node.

Source: mlcommons/chakra, schema/protobuf/et_def.proto; src/feeder/et_feeder_node.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from swing.formats import limits, protobuf
from swing.formats.event_trace import JOIN, RECV, SEND, About, Event, messages, recover
from swing.schedules.schedule import Schedule
from swing.torus import Torus

SCHEMA = "1.0.2-chakra.0.0.4"
MAX_NODE_BYTES = 2**20  # bytes of one
_METADATA, _COMP, _SEND, _RECV = 1, 4, 5, 6
_ID, _NAME, _TYPE, _CTRL_DEPS, _DATA_DEPS, _ATTR = 1, 2, 3, 4, 5, 10
_INT32, _INT64, _UINT64, _BOOL, _STRING = 7, 9, 13, 27, 29  # which field of an attribute


def write(schedule: Schedule, nbytes: int) -> Iterator[bytes]:
    """The files of rank 0, 1 and so on, for a vector of some bytes."""
    about = About.of(schedule, nbytes)
    attributes = _text("schema", SCHEMA) + _text("torus_swing", str(about))
    head = _framed(protobuf.block(1, b"0.0.4") + attributes)
    steps = list(messages(schedule, nbytes))
    copies = 1 + max((m.copy for sent in steps for m in sent), default=0)
    files = [[head] for _ in schedule.torus.ranks]
    before: list[list[int]] = [[] for _ in files]
    for sent in steps:
        new: dict[int, list[int]] = {}
        for m in sent:
            tag = m.step * copies + m.copy
            for rank, kind, what in ((m.src, _SEND, "send"), (m.dst, _RECV, "recv")):
                ident = len(files[rank]) - 1
                node = (
                    protobuf.number(_ID, ident)
                    + protobuf.block(_NAME, f"{what}_{m.step}_{m.src}_{m.dst}".encode())
                    + protobuf.number(_TYPE, kind)
                    + protobuf.packed(_DATA_DEPS, before[rank])
                    + _attribute("is_cpu_op", _BOOL, 0)
                    + _attribute("comm_size", _INT64, m.nbytes)
                    + _attribute("comm_src", _INT32, m.src)
                    + _attribute("comm_dst", _INT32, m.dst)
                    + _attribute("comm_tag", _INT32, tag)
                    + _attribute("step", _INT64, m.step)
                )
                files[rank].append(_framed(node))
                new.setdefault(rank, []).append(ident)
        for rank, idents in new.items():
            before[rank] = idents
    yield from (b"".join(found) for found in files)


def read(files: Sequence[bytes], torus: Torus | None = None) -> Schedule:
    """The traffic of the files of all ranks, in order."""
    limits.check_ranks(len(files))
    about: About | None = None
    programs, steps, total = [], [], 0
    for rank, data in enumerate(files):
        head, *frames = _frames(data)
        about = about or _about(head)
        total += len(frames)
        if total > limits.MAX_EVENTS:
            raise ValueError(f"there are more than {limits.MAX_EVENTS} nodes: too many")
        nodes = [_node(frame, f"rank {rank}, node {i}") for i, frame in enumerate(frames)]
        programs.append(_events(nodes, rank))
        steps.append([node.step for node in nodes])
    return recover(programs, about, torus, steps)


class _Node(NamedTuple):
    ident: int
    kind: int
    after: list[int]
    numbers: dict[str, int]
    step: int | None


def _events(nodes: list[_Node], rank: int) -> list[Event]:
    index = {node.ident: i for i, node in enumerate(nodes)}
    if len(index) < len(nodes):
        raise ValueError(f"rank {rank} has two nodes of the same id")
    events = []
    for node in nodes:
        for other in node.after:
            if other not in index:
                raise ValueError(f"rank {rank}: node {node.ident} depends on {other}: no such node")
        after = [index[other] for other in node.after]
        if node.kind in (_COMP, _METADATA):
            events.append(Event(JOIN, after=after))
            continue
        if node.kind not in (_SEND, _RECV):
            what = f"rank {rank}: node {node.ident} is of type {node.kind}"
            raise ValueError(f"{what}: only messages between two ranks can be read")
        src, dst, size = (node.numbers.get(k, 0) for k in ("comm_src", "comm_dst", "comm_size"))
        own, peer = (src, dst) if node.kind == _SEND else (dst, src)
        if own != rank or not 0 < size <= limits.MAX_INTEGER:
            raise ValueError(f"rank {rank}: node {node.ident} is another rank's, or has no bytes")
        tag = node.numbers.get("comm_tag", 0)
        events.append(Event(SEND if node.kind == _SEND else RECV, peer, size, tag, after))
    return events


def _frames(data: bytes) -> Iterator[bytes]:
    at = count = 0
    while at < len(data) or not count:
        if count > limits.MAX_EVENTS:
            raise ValueError(f"there are more than {limits.MAX_EVENTS} nodes: too many")
        length, at = protobuf.read_varint(data, at)
        if length > min(len(data) - at, MAX_NODE_BYTES):
            raise ValueError(f"a message of {length} bytes, at {at}: it is cut off or too long")
        yield data[at : at + length]
        at += length
        count += 1


def _node(data: bytes, where: str) -> _Node:
    ident, kind, after, found = 0, 0, [], {}
    for field, value in protobuf.fields(data):
        if field in (_ID, _TYPE):
            if not isinstance(value, int):
                raise ValueError(f"{where}: a number is missing")
            ident, kind = (value, kind) if field == _ID else (ident, value)
        elif field in (_CTRL_DEPS, _DATA_DEPS):
            after += protobuf.numbers(value)
        elif field == _ATTR:
            name, number, _ = _read_attribute(value, where)
            found[name] = number
    step = found.get("step")
    if step is not None and not 0 <= step <= limits.MAX_ROWS:
        raise ValueError(f"{where}: step is a number from 0 up, not {step}")
    return _Node(ident, kind, after, found, step)


def _read_attribute(value: int | bytes, where: str) -> tuple[str, int, str]:
    """Name, number and string of an attribute; those that are none of ours are 0 and empty."""
    if isinstance(value, int):
        raise ValueError(f"{where}: an attribute is a message, not a number")
    name, number, word = "", 0, ""
    for field, found in protobuf.fields(value):
        if field == 1 and isinstance(found, bytes):
            name = found.decode("utf-8", "replace")
        elif field in (_INT32, _INT64, _UINT64, _BOOL) and isinstance(found, int):
            number = protobuf.signed(found)
        elif field == _STRING and isinstance(found, bytes):
            word = found.decode("utf-8", "replace")
    return name, number, word


def _about(head: bytes) -> About | None:
    for field, value in protobuf.fields(head):
        if field == 2:
            name, _, word = _read_attribute(value, "metadata")
            if name == "torus_swing":
                return About.parse(word)
    return None


def _framed(message: bytes) -> bytes:
    return protobuf.varint(len(message)) + message


def _attribute(name: str, field: int, value: int) -> bytes:
    return protobuf.block(_ATTR, protobuf.block(1, name.encode()) + protobuf.number(field, value))


def _text(name: str, value: str) -> bytes:
    return protobuf.block(
        2, protobuf.block(1, name.encode()) + protobuf.block(_STRING, value.encode())
    )
