"""Strict parser of MSCCL XML: the steps of each rank's thread blocks and their dependencies.

Unknown elements and attributes, document types and entities are refused, numbers are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from xml.parsers import expat

from swing.formats import limits
from swing.schedules.step import Op

MAX_CHUNKS = 2**15 - 1
MAX_TAGS = 2**20
MAX_CELLS = 2**22  # chunks in all operations together
# In the types of steps, r is receive, s send, c copy, and a second r before c or s reduce.
SENDS = {"s", "rcs", "rrcs"}
RECEIVES = {"r": Op.COPY, "rcs": Op.COPY, "rrc": Op.REDUCE, "rrcs": Op.REDUCE}
LOCAL = {"re": Op.REDUCE, "cpy": Op.COPY}
_KNOWN = {
    "algo": "name proto nchannels nchunksperloop ngpus coll inplace outofplace minBytes maxBytes",
    "gpu": "id i_chunks o_chunks s_chunks",
    "tb": "id send recv chan",
    "step": "s type srcbuf srcoff dstbuf dstoff cnt depid deps hasdep",
}
_WORDS = {"name", "proto", "coll", "type", "srcbuf", "dstbuf"}
_OPTIONAL = {"outofplace", "minBytes", "maxBytes"}  # msccl-tools leaves them out


@dataclass(eq=False)
class Node:
    """A step of a thread block.

    Args:
        rank: the rank.
        tag: attributes of the ``step`` element.
        block: attributes of the ``tb`` element around it.
    """

    rank: int
    tag: dict[str, str]
    block: dict[str, str]

    def number(self, key: str) -> int:
        """Return a numeric attribute of the step."""
        return int(self.tag[key])

    @property
    def kind(self) -> str:
        """The type of the step, such as "rrc"."""
        return self.tag["type"]

    def chunks(self, side: str) -> range:
        """Return the chunks at its source ("src") or destination ("dst")."""
        first = self.number(f"{side}off")
        return range(first, first + self.number("cnt"))


class Program(NamedTuple):
    """The contents of a document.

    Args:
        name: name of the algorithm.
        ranks: number of ranks.
        nblocks: number of chunks that the vector has.
        nodes: the steps of all thread blocks.
        after: for each node, the indices of the nodes of the same rank that it waits for.
    """

    name: str
    ranks: int
    nblocks: int
    nodes: list[Node]
    after: list[list[int]]


def parse(data: bytes) -> Program:
    """Parse a document.

    Raises:
        ValueError: the document is not MSCCL XML, or not an allreduce.
    """
    tags = _tags(data)
    head = next(tags)[1]
    if head["coll"] != "allreduce":
        raise ValueError(f"only an allreduce can be read, not {limits.short(head['coll'])}")
    p, nblocks = int(head["ngpus"]), int(head["nchunksperloop"])
    if not (1 <= nblocks <= MAX_CHUNKS and p >= 1):
        raise ValueError(
            f"the file has {p} ranks and {nblocks} chunks: 1 to {MAX_CHUNKS} chunks are allowed"
        )
    limits.check_ranks(p, nblocks)
    return Program(head["name"], p, nblocks, *_program(tags, p, nblocks))


def _tags(data: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the elements in document order, with their attributes, after checking both."""
    # Entities can expand exponentially; comments are the only markup allowed besides elements.
    if re.search(rb"<![^-]|<!-[^-]|<\?", data):
        raise ValueError("document types, entities and processing instructions are not allowed")
    if data.count(b"<") > 2 * MAX_TAGS:
        raise ValueError(f"the file has more than {MAX_TAGS} elements: too many")
    elements: list[tuple[str, dict[str, str]]] = []
    depth = 0
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        where = f"line {parser.CurrentLineNumber}"
        if depth > 4 or name != list(_KNOWN)[depth - 1]:
            raise ValueError(f"{where}: {limits.short(name)} is out of place")
        elements.append((name, _checked(name, attributes, where)))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    def characters(text: str) -> None:
        if text.strip():
            raise ValueError(f"line {parser.CurrentLineNumber}: there is text between elements")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise ValueError(f"the file is not XML: {error}") from None
    return iter(elements)


def _checked(name: str, attributes: dict[str, str], where: str) -> dict[str, str]:
    known = _KNOWN[name].split()
    for key in attributes:
        if key not in known:
            raise ValueError(f"{where}: {name} has an unknown attribute {limits.short(key)}")
    for key in known:
        if key in attributes:
            if key in _WORDS:
                limits.name(attributes[key], f"{where}: {key}")
            else:
                most = limits.MAX_INTEGER if key.endswith("Bytes") else 2**16
                limits.whole(attributes[key], f"{where}: {key}", -1, most)
        elif key not in _OPTIONAL:
            raise ValueError(f"{where}: {name} has no attribute {key}")
    return attributes


def _program(
    tags: Iterator[tuple[str, dict[str, str]]], p: int, nblocks: int
) -> tuple[list[Node], list[list[int]]]:
    """Return all steps, and for each the steps of the same rank that it waits for."""
    nodes: list[Node] = []
    positions: dict[tuple[int, int, int], int] = {}
    after: list[list[int]] = []
    ranks: set[int] = set()
    connections: set[tuple[int, str, str, str]] = set()
    gpu: dict[str, str] = {}
    block: dict[str, str] = {}
    count = cells = 0
    for name, tag in tags:
        if name == "gpu":
            gpu, rank = tag, int(tag["id"])
            if rank in ranks or not 0 <= rank < p or int(tag["i_chunks"]) != nblocks:
                raise ValueError(
                    f"gpu {rank} occurs twice, is not below {p}, or does not have {nblocks} chunks"
                )
            ranks.add(rank)
        elif name == "tb":
            block, count = tag, 0
            for direction in ("send", "recv"):
                peer = int(tag[direction])
                key = rank, direction, tag[direction], tag["chan"]
                if not -1 <= peer < p or peer == rank or (peer >= 0 and key in connections):
                    what = f"gpu {rank}: the peer {peer} of a thread block is itself, not below {p}"
                    raise ValueError(f"{what}, or has another thread block on this channel")
                connections.add(key)
        else:
            node = Node(rank, tag, block)
            if int(tag["s"]) != count:
                raise ValueError(
                    f"gpu {rank}: step {tag['s']} of a thread block is at position {count}"
                )
            _check_step(node, nblocks, int(gpu["s_chunks"]))
            cells += max(0, node.number("cnt"))
            if (rank, int(block["id"]), count) in positions or cells > MAX_CELLS:
                raise ValueError(f"gpu {rank}: two thread blocks {block['id']}, or too many chunks")
            positions[rank, int(block["id"]), count] = len(nodes)
            after.append([len(nodes) - 1] if count else [])
            nodes.append(node)
            count += 1
    if len(ranks) < p:
        raise ValueError(f"the file has {len(ranks)} of {p} gpus")
    # Dependencies can point to thread blocks further down, so they wait until all are read.
    for i, node in enumerate(nodes):
        block_id = node.number("depid")
        if block_id >= 0:
            dependency = node.rank, block_id, node.number("deps")
            if dependency not in positions:
                step = node.number("deps")
                raise ValueError(f"gpu {node.rank}: thread block {block_id} has no step {step}")
            after[i].append(positions[dependency])
    return nodes, after


def _check_step(node: Node, nblocks: int, scratch: int) -> None:
    where, kind = f"gpu {node.rank}", node.kind
    if kind not in SENDS | RECEIVES.keys() | LOCAL.keys() | {"nop"}:
        raise ValueError(f"{where}: steps of type {limits.short(kind)} cannot be read")
    if kind != "nop" and node.number("cnt") < 1:
        raise ValueError(f"{where}: a step needs at least one chunk")
    sides = {"dst"} if kind == "r" else {"src"} if kind == "s" else {"src", "dst"}
    for side in sides if kind != "nop" else ():
        size = {"i": nblocks, "s": scratch}.get(node.tag[f"{side}buf"])
        chunks = node.chunks(side)
        if size is None or chunks.start < 0 or chunks.stop > size:
            raise ValueError(f"{where}: {chunks} is outside of buffers i and s")
    if kind in SENDS and int(node.block["send"]) < 0:
        raise ValueError(f"{where}: a thread block sends but has no peer to send to")
    if kind in RECEIVES and int(node.block["recv"]) < 0:
        raise ValueError(f"{where}: a thread block receives but has no peer to receive from")
