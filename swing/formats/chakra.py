"""Chakra execution traces, one file per rank: ``prefix.0.et``, ``prefix.1.et`` and so on.

A file is a sequence of length-prefixed protocol buffer messages: the metadata, then one node per
send and per receive. A node depends on all the nodes of the rank's previous step. ASTRA-sim accepts
such a set of files as a user-defined collective; the sizes are fixed when the files are written.

Loses: blocks and their reductions (which take no time), origins and homes. An attribute of the
metadata has everything else, see `swing.formats.trace_header`. ASTRA-sim does not read it: there a
rank waits for its messages of all parts in every step, also in a phase in which the parts run on
their own.

Source: mlcommons/chakra, schema/protobuf/et_def.proto; src/feeder/et_feeder_node.cpp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from swing.formats import limits, protobuf
from swing.formats.event_order import JOIN, RECV, SEND, Event
from swing.formats.event_trace import numbered, recover
from swing.formats.trace_header import Header
from swing.schedules.schedule import Schedule
from swing.torus import Torus

SCHEMA = "1.0.2-chakra.0.0.4"
MAX_NODE_BYTES = 2**20  # of one length-prefixed message
# Field numbers, node types and collectives of et_def.proto.
_SEND, _RECV, _COLLECTIVE = 5, 6, 7
_OF_ONE_RANK = (1, 2, 3, 4, 8, 9, 10)  # metadata, memory, computation, storage, batch, checkpoint
_COLLECTIVES = (
    "ALL_REDUCE", "REDUCE", "ALL_GATHER", "GATHER", "SCATTER", "BROADCAST", "ALL_TO_ALL",
    "REDUCE_SCATTER", "REDUCE_SCATTER_BLOCK", "BARRIER",
)  # fmt: skip
_ID, _NAME, _TYPE, _CTRL_DEPS, _DATA_DEPS, _ATTR = 1, 2, 3, 4, 5, 10
# Field numbers of an attribute's value.
_INT32, _INT64, _BOOL, _STRING = 7, 9, 27, 29
_VARINTS, _ZIGZAG, _FIXED = (_INT32, _INT64, 11, 13, _BOOL), (15, 17), (19, 21, 23, 25)


def write(schedule: Schedule, nbytes: int) -> Iterator[bytes]:
    """Yield the contents of the files of rank 0, 1 and so on, for a vector of ``nbytes`` bytes."""
    header, steps = numbered(schedule, nbytes)
    attributes = _text("schema", SCHEMA) + _text("torus_swing", str(header))
    head = _framed(protobuf.block(1, b"0.0.4") + attributes)
    files = [[head] for _ in schedule.torus.ranks]
    before: list[list[int]] = [[] for _ in files]
    for sent in steps:
        new: dict[int, list[int]] = {}
        for m, tag in sent:
            for rank, kind, what in ((m.src, _SEND, "send"), (m.dst, _RECV, "recv")):
                ident = len(files[rank]) - 1  # entry 0 is the metadata, so nodes count from 0
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
                )
                files[rank].append(_framed(node))
                new.setdefault(rank, []).append(ident)
        # A rank idle in this step keeps its dependencies on the last step in which it was active.
        for rank, idents in new.items():
            before[rank] = idents
    yield from (b"".join(frames) for frames in files)


def read(
    files: Sequence[bytes], torus: Torus | None = None, eager_limit: int | None = None
) -> Schedule:
    """Read a "traffic" schedule from the contents of the files of all ranks, in rank order.

    Computation and access to memory only order the messages here: they take no time.

    Args:
        files: the contents of each rank's file.
        torus: the torus of the ranks; by default the one in the metadata, else a ring.
        eager_limit: a send of more bytes is done when its receive is; None for no limit.

    Raises:
        ValueError: the files are not such traces, or their sends and receives do not match.
    """
    limits.check_ranks(len(files))
    header: Header | None = None
    programs, total = [], 0
    for rank, data in enumerate(files):
        metadata, *frames = _frames(data)
        header = header or _header(metadata)
        total += len(frames)
        if total > limits.MAX_EVENTS:
            raise ValueError(f"the files have more than {limits.MAX_EVENTS} nodes: too many")
        nodes = [_node(frame, f"rank {rank}, node {i}") for i, frame in enumerate(frames)]
        programs.append(_events(nodes, rank))
    return recover(programs, header, torus, eager_limit)


class _Node(NamedTuple):
    ident: int
    kind: int
    after: list[int]
    numbers: dict[str, int]


def _events(nodes: list[_Node], rank: int) -> list[Event]:
    # Ids need not be consecutive or in order, so dependencies are translated to positions.
    index = {node.ident: i for i, node in enumerate(nodes)}
    if len(index) < len(nodes):
        raise ValueError(f"rank {rank} has two nodes with the same id")
    events = []
    for node in nodes:
        where = f"rank {rank}: node {node.ident}"
        for other in node.after:
            if other not in index:
                raise ValueError(f"{where} depends on node {other}, which does not exist")
        after = [index[other] for other in node.after]
        if node.kind in _OF_ONE_RANK:  # takes no time here: only its order counts
            events.append(Event(JOIN, after=after))
            continue
        if node.kind not in (_SEND, _RECV):
            raise ValueError(
                f"{where} is {_kind(node)}: only messages between two ranks can be read"
            )
        sends = node.kind == _SEND
        own_key, peer_key = ("comm_src", "comm_dst") if sends else ("comm_dst", "comm_src")
        # A node may name only its peer; the other end is the rank whose file it is in.
        own, peer = node.numbers.get(own_key, rank), node.numbers.get(peer_key)
        size = node.numbers.get("comm_size")
        if peer is None or size is None:
            raise ValueError(f"{where} has no {peer_key if peer is None else 'comm_size'}")
        if own != rank or not 0 <= size <= limits.MAX_INTEGER:
            raise ValueError(
                f"{where} belongs to another rank, or has a size that is not from 0 to "
                f"{limits.MAX_INTEGER} bytes"
            )
        tag = node.numbers.get("comm_tag", 0)
        events.append(Event(SEND if sends else RECV, peer, size, tag, after))
    return events


def _kind(node: _Node) -> str:
    if node.kind != _COLLECTIVE:
        return f"of type {node.kind}"
    number = node.numbers.get("comm_type")
    if number is None:
        return "a collective (COMM_COLL_NODE)"
    name = _COLLECTIVES[number] if 0 <= number < len(_COLLECTIVES) else number
    return f"a collective (COMM_COLL_NODE) of type {name}"


def _frames(data: bytes) -> Iterator[bytes]:
    """Split a file into its length-prefixed messages; an empty file raises ValueError."""
    at = count = 0
    while at < len(data) or not count:
        if count > limits.MAX_EVENTS:
            raise ValueError(f"the file has more than {limits.MAX_EVENTS} nodes: too many")
        length, at = protobuf.read_varint(data, at)
        if length > min(len(data) - at, MAX_NODE_BYTES):
            raise ValueError(f"the message of {length} bytes at byte {at} is cut off or too long")
        yield data[at : at + length]
        at += length
        count += 1


def _node(data: bytes, where: str) -> _Node:
    ident, kind, after, numbers = 0, 0, [], {}
    for field, value in protobuf.fields(data):
        if field in (_ID, _TYPE):
            if not isinstance(value, int):
                raise ValueError(f"{where}: its id or type is not a number")
            ident, kind = (value, kind) if field == _ID else (ident, value)
        elif field in (_CTRL_DEPS, _DATA_DEPS):
            after += protobuf.numbers(value)
        elif field == _ATTR:
            name, number, _ = _read_attribute(value, where)
            numbers[name] = number
    return _Node(ident, kind, after, numbers)


def _read_attribute(value: int | bytes, where: str) -> tuple[str, int, str]:
    """Return an attribute's name, number and string; types that we do not write give 0 and ""."""
    if isinstance(value, int):
        raise ValueError(f"{where}: an attribute is a number instead of a message")
    name, number, string = "", 0, ""
    for field, content in protobuf.fields(value):
        if field == 1 and isinstance(content, bytes):
            name = content.decode("utf-8", "replace")
        elif field in _VARINTS and isinstance(content, int):
            number = protobuf.signed(content)
        elif field in _ZIGZAG and isinstance(content, int):
            number = content >> 1 ^ -(content & 1)
        elif field in _FIXED and isinstance(content, bytes):
            number = int.from_bytes(content, "little", signed=True)
        elif field == _STRING and isinstance(content, bytes):
            string = content.decode("utf-8", "replace")
    return name, number, string


def _header(metadata: bytes) -> Header | None:
    for field, value in protobuf.fields(metadata):
        if field == 2:
            name, _, word = _read_attribute(value, "metadata")
            if name == "torus_swing":
                return Header.parse(word)
    return None


def _framed(message: bytes) -> bytes:
    return protobuf.varint(len(message)) + message


def _attribute(name: str, field: int, value: int) -> bytes:
    return protobuf.block(_ATTR, protobuf.block(1, name.encode()) + protobuf.number(field, value))


def _text(name: str, value: str) -> bytes:
    return protobuf.block(
        2, protobuf.block(1, name.encode()) + protobuf.block(_STRING, value.encode())
    )
