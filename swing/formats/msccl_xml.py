"""Strict parser of MSCCL XML: the steps of each rank's thread blocks and their dependencies.

Elements and attributes that are not read are ignored, as they are by MSCCL and RCCL. Document types
and entities are refused, and numbers are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from xml.parsers import expat

from swing.formats import limits
from swing.formats.msccl_collectives import Layout, layout

MAX_CHUNKS = 2**15 - 1
MAX_TAGS = 2**20
MAX_CELLS = 2**21  # chunks in all operations together, and in the output buffers together
MAX_SCHEDULE_STEP = 2**13
SCHEDULE_STEP, SCHEDULE_PHASE, SCHEDULE_ROW = "schedule_step", "schedule_phase", "schedule_row"
"""Attributes of our own: the step of the schedule that a send belongs to, its phase and row."""
_KNOWN = {
    "algo": "name nchunksperloop ngpus coll inplace",
    "gpu": "id i_chunks o_chunks s_chunks",
    "tb": "id send recv chan",
    "step": "s type srcbuf srcoff dstbuf dstoff cnt depid deps",
}
"""The elements, from the outermost one to the innermost one, and the attributes that are read."""
_WORDS = {"name", "coll", "type", "srcbuf", "dstbuf"}
_OPTIONAL = {
    "step": {
        SCHEDULE_STEP: MAX_SCHEDULE_STEP,
        SCHEDULE_PHASE: MAX_SCHEDULE_STEP,
        SCHEDULE_ROW: MAX_TAGS,
    }
}
"""Attributes that may be missing, and their largest values."""


class Kind(NamedTuple):
    """What a type of step does: it computes the sum of all it reads, then stores and sends it.

    Args:
        receives: it reads a message.
        source, target: it reads the chunks at its source, or those at its target.
        stores: it writes the result to its target.
        sends: it sends the result.
    """

    receives: bool = False
    source: bool = False
    target: bool = False
    stores: bool = False
    sends: bool = False


KINDS = {
    "s": Kind(source=True, sends=True),
    "r": Kind(receives=True, stores=True),
    "rcs": Kind(receives=True, stores=True, sends=True),
    "rrs": Kind(receives=True, source=True, sends=True),
    "rrc": Kind(receives=True, source=True, stores=True),
    "rrcs": Kind(receives=True, source=True, stores=True, sends=True),
    "cpy": Kind(source=True, stores=True),
    "re": Kind(source=True, target=True, stores=True),
    "nop": Kind(),
}
"""All types of steps: s sends, r receives, a second r or e reduces, c or cpy copies."""


@dataclass(eq=False)
class Node:
    """A step of a thread block.

    Args:
        rank: the rank.
        tag: attributes of the ``step`` element.
        block: attributes of the ``tb`` element around it.
        line: the line of the file that it is on.
    """

    rank: int
    tag: dict[str, str]
    block: dict[str, str]
    line: int

    def number(self, key: str) -> int:
        """Return a numeric attribute of the step."""
        return int(self.tag[key])

    @property
    def kind(self) -> Kind:
        """What the step does."""
        return KINDS[self.tag["type"]]

    def chunks(self, side: str) -> range:
        """Return the chunks at its source ("src") or target ("dst")."""
        first = self.number(f"{side}off")
        return range(first, first + self.number("cnt"))

    def error(self, what: str) -> ValueError:
        """Make an error that names the line and the rank."""
        return ValueError(f"line {self.line}: gpu {self.rank} {what}")


class Program(NamedTuple):
    """The contents of a document.

    Args:
        name: name of the algorithm.
        layout: the collective, and where its blocks are in the buffers.
        nodes: the steps of all thread blocks.
        after: for each node, the indices of the nodes of the same rank that it waits for.
        lines: the line of each rank's ``gpu`` element.
    """

    name: str
    layout: Layout
    nodes: list[Node]
    after: list[list[int]]
    lines: dict[int, int]

    def error(self, rank: int, what: str) -> ValueError:
        """Make an error about a rank that no single step of its causes."""
        return ValueError(f"line {self.lines[rank]}: gpu {rank} {what}")


class _Element(NamedTuple):
    name: str
    attributes: dict[str, str]
    line: int


def parse(data: bytes) -> Program:
    """Parse a document.

    Raises:
        ValueError: the document is not MSCCL XML, or its collective is not one of
            `swing.formats.msccl_collectives.COLLECTIVES`.
    """
    elements = _elements(data)
    head = next(elements)
    p, nchunks = int(head.attributes["ngpus"]), int(head.attributes["nchunksperloop"])
    if not (1 <= nchunks <= MAX_CHUNKS and p >= 1):
        raise ValueError(
            f"the file has {p} ranks and {nchunks} chunks: 1 to {MAX_CHUNKS} chunks are allowed"
        )
    try:
        cells = layout(head.attributes["coll"], p, nchunks, head.attributes["inplace"] != "0")
    except ValueError as error:
        raise ValueError(f"line {head.line}: {error}") from None
    limits.check_ranks(p, cells.nblocks)
    if p * cells.outputs > MAX_CELLS:
        raise ValueError(f"{p} ranks with {cells.outputs} chunks each are too many to read")
    return Program(head.attributes["name"], cells, *_program(elements, cells))


def _elements(data: bytes) -> Iterator[_Element]:
    """Return the elements in document order, after checking their nesting and attributes."""
    # Entities can expand exponentially; comments are the only markup allowed besides elements.
    if re.search(rb"<![^-]|<!-[^-]|<\?", data):
        raise ValueError("document types, entities and processing instructions are not allowed")
    if data.count(b"<") > 2 * MAX_TAGS:
        raise ValueError(f"the file has more than {MAX_TAGS} elements: too many")
    elements: list[_Element] = []
    order = [*_KNOWN, ""]
    depth = ignored = 0  # of the elements that are open: those that are read, and those inside
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, ignored
        line = parser.CurrentLineNumber
        if not ignored and name == order[depth]:
            depth += 1
            elements.append(_Element(name, _checked(name, attributes, f"line {line}"), line))
        elif name in order or not depth:
            raise ValueError(f"line {line}: {limits.short(name)} is out of place")
        else:
            ignored += 1

    def end(name: str) -> None:
        nonlocal depth, ignored
        if ignored:
            ignored -= 1
        else:
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
    """Return the attributes that are read, after checking them."""
    known = _KNOWN[name].split()
    for key in known:
        if key not in attributes:
            raise ValueError(f"{where}: {name} has no attribute {key}")
        if key in _WORDS:
            limits.name(attributes[key], f"{where}: {key}")
        else:
            limits.whole(attributes[key], f"{where}: {key}", -1, 2**16)
    optional = {k: most for k, most in _OPTIONAL.get(name, {}).items() if k in attributes}
    for key, most in optional.items():
        limits.whole(attributes[key], f"{where}: {key}", 0, most)
    return {key: attributes[key] for key in (*known, *optional)}


def _program(
    elements: Iterator[_Element], cells: Layout
) -> tuple[list[Node], list[list[int]], dict[int, int]]:
    """Return all steps, those of the same rank that each waits for, and the line of each rank."""
    nodes: list[Node] = []
    positions: dict[tuple[int, int, int], int] = {}
    after: list[list[int]] = []
    lines: dict[int, int] = {}
    connections: set[tuple[int, str, str, str]] = set()
    block: dict[str, str] = {}
    count = work = 0
    for name, tag, line in elements:
        if name == "gpu":
            rank, sizes = int(tag["id"]), cells.sizes(tag)
            if rank in lines or not 0 <= rank < cells.p:
                raise ValueError(f"line {line}: gpu {rank} occurs twice or is not below {cells.p}")
            if sizes is None:
                raise ValueError(
                    f"line {line}: gpu {rank} has {tag['i_chunks']} input and {tag['o_chunks']} "
                    f"output chunks, but the {cells.collective} has {cells.inputs} and "
                    f"{cells.outputs}"
                )
            lines[rank] = line
        elif name == "tb":
            block, count = tag, 0
            for direction in ("send", "recv"):
                peer, key = int(tag[direction]), (rank, direction, tag[direction], tag["chan"])
                where = f"line {line}: gpu {rank} has {direction}={peer}"
                if not -1 <= peer < cells.p or peer == rank:
                    raise ValueError(f"{where}, which is not another gpu below {cells.p}")
                if peer >= 0 and key in connections:
                    raise ValueError(f"{where} twice on channel {tag['chan']}")
                connections.add(key)
        else:
            node = Node(rank, tag, block, line)
            if node.number("s") != count:
                raise node.error(f"has step {tag['s']} of a thread block at position {count}")
            _check_step(node, sizes or {})
            work += max(0, node.number("cnt"))
            if (rank, int(block["id"]), count) in positions or work > MAX_CELLS:
                raise node.error(f"has two thread blocks {block['id']}, or too many chunks")
            positions[rank, int(block["id"]), count] = len(nodes)
            after.append([len(nodes) - 1] if count else [])
            nodes.append(node)
            count += 1
    if len(lines) < cells.p:
        raise ValueError(f"the file has {len(lines)} of {cells.p} gpus")
    # Dependencies can point to thread blocks further down, so they wait until all are read.
    for i, node in enumerate(nodes):
        block_id = node.number("depid")
        if block_id >= 0:
            dependency = node.rank, block_id, node.number("deps")
            if dependency not in positions:
                raise node.error(f"has no step {node.number('deps')} in thread block {block_id}")
            after[i].append(positions[dependency])
    return nodes, after, lines


def _check_step(node: Node, sizes: dict[str, int]) -> None:
    if node.tag["type"] not in KINDS:
        raise node.error(f"has a step of the unknown type {limits.short(node.tag['type'])}")
    kind = node.kind
    if any(kind) and node.number("cnt") < 1:
        raise node.error("has a step without chunks: cnt must be 1 or more")
    for side, used in (("src", kind.source), ("dst", kind.target or kind.stores)):
        buffer = node.tag[f"{side}buf"]
        if used and buffer not in sizes:
            raise node.error(f"has no buffer {limits.short(buffer)}: buffers are i, o and s")
        chunks = node.chunks(side)
        if used and not 0 <= chunks.start < chunks.stop <= sizes[buffer]:
            what = f"has no chunks {chunks.start} to {chunks.stop - 1} in buffer {buffer}"
            raise node.error(f"{what}, which has {sizes[buffer]}")
    for does, peer, what in ((kind.sends, "send", "to"), (kind.receives, "recv", "from")):
        if does and int(node.block[peer]) < 0:
            raise node.error(f"has a thread block without a peer to {peer} {what}")
