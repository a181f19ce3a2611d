"""What an MSCCL program computes: the data that every message carries and every buffer ends with.

The program is run on symbols instead of numbers. A `Value` is data of one block: the contribution
of the rank itself, pieces of messages that it has received, or the sum of some of these. Buffers do
not matter afterwards: it makes no difference through how many of them a piece has passed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from swing.formats.msccl_collectives import OUTPUT, Cell, Layout
from swing.formats.msccl_xml import Node, Program

MAX_TERMS = 2**24
"""Limit on the terms of all sums that a program computes."""


class Value(NamedTuple):
    """Data of one block on one rank: the sum of its own contribution and of pieces it received.

    Args:
        block: the block.
        own: whether the rank's own contribution is part of the sum.
        pieces: the numbers of the pieces that are part of it.
    """

    block: int
    own: bool
    pieces: frozenset[int]


class Piece(NamedTuple):
    """One chunk of a message.

    Args:
        message: the step that sends it, as an index of `Program.nodes`.
        src, dst: the ranks that send and receive it.
        value: the data that it carries, a value of rank ``src``.
    """

    message: int
    src: int
    dst: int
    value: Value


@dataclass
class Trace:
    """The result of a run.

    Args:
        pieces: the pieces of all messages.
        received: for each piece, when it is received.
        ends: for each rank and block of an output buffer, the value there at the end.
    """

    pieces: list[Piece] = field(default_factory=list)
    received: dict[int, int] = field(default_factory=dict)
    ends: dict[tuple[int, int], Value] = field(default_factory=dict)


def run(program: Program) -> Trace:
    """Run a program on symbols.

    Raises:
        ValueError: steps that wait for each other in a cycle, sends and receives that do not match,
            chunks that are read while they are empty, or sums of different blocks.
    """
    nodes, layout = program.nodes, program.layout
    pairs = _matched(nodes)
    memory: dict[Cell, Value] = {}
    inbox: dict[int, list[int]] = {}  # the pieces of each message that has been sent
    trace = Trace()
    terms = 0

    def read(node: Node, side: str) -> list[Value]:
        return [_load(memory, layout, node, cell) for cell in _cells(layout, node, side)]

    for time, i in enumerate(_order(nodes, program.after, pairs)):
        node, kind = nodes[i], nodes[i].kind
        operands: list[list[Value]] = []
        if kind.receives:
            come = inbox.pop(pairs[i])
            if len(come) != node.number("cnt"):
                raise node.error(f"receives {node.number('cnt')} chunks of {len(come)}")
            trace.received |= dict.fromkeys(come, time)
            blocks = (trace.pieces[n].value.block for n in come)
            operands.append(
                [Value(b, False, frozenset((n,))) for b, n in zip(blocks, come, strict=True)]
            )
        operands += [read(node, "src")] if kind.source else []
        operands += [read(node, "dst")] if kind.target else []
        results = [_sum(node, values) for values in zip(*operands, strict=True)]
        terms += sum(len(value.pieces) for value in results)
        if terms > MAX_TERMS:
            raise node.error(f"makes the sums of the program too long: more than {MAX_TERMS} terms")
        if kind.sends:
            dst, first = int(node.block["send"]), len(trace.pieces)
            trace.pieces += [Piece(i, node.rank, dst, value) for value in results]
            inbox[i] = list(range(first, len(trace.pieces)))
        if kind.stores:
            memory.update(zip(_cells(layout, node, "dst"), results, strict=True))
    trace.ends = _ends(program, memory)
    return trace


def _matched(nodes: Sequence[Node]) -> dict[int, int]:
    """Return the send of each receive: the k-th ones on a channel between two ranks match."""
    sends, receives = (defaultdict[tuple[int, int, str], list[int]](list) for _ in range(2))
    for i, node in enumerate(nodes):
        channel = node.block["chan"]
        if node.kind.sends:
            sends[node.rank, int(node.block["send"]), channel].append(i)
        if node.kind.receives:
            receives[int(node.block["recv"]), node.rank, channel].append(i)
    pairs: dict[int, int] = {}
    for key in sends.keys() | receives.keys():
        if len(sends[key]) != len(receives[key]):
            src, dst, channel = key
            first = nodes[min(sends[key] + receives[key])]
            what = f"{len(sends[key])} sends and {len(receives[key])} receives"
            raise ValueError(
                f"line {first.line}: there are {what} from gpu {src} to {dst} on channel {channel}"
            )
        pairs |= dict(zip(receives[key], sends[key], strict=True))
    return pairs


def _order(
    nodes: Sequence[Node], after: Sequence[Sequence[int]], pairs: dict[int, int]
) -> list[int]:
    """Return the steps in an order that respects all dependencies, with sends before receives."""
    # All nodes come first, so that the order does not depend on who waits for whom.
    sorter = TopologicalSorter[int](dict.fromkeys(range(len(nodes)), ()))
    for i, before in enumerate(after):
        sorter.add(i, *before, *([pairs[i]] if i in pairs else []))
    try:
        return list(sorter.static_order())
    except CycleError as error:
        first = nodes[min(error.args[1])]
        raise first.error(
            "waits in a cycle of steps that wait for each other: a deadlock"
        ) from None


def _cells(layout: Layout, node: Node, side: str) -> list[Cell]:
    buffer = node.tag[f"{side}buf"]
    return [layout.cell(node.rank, buffer, chunk) for chunk in node.chunks(side)]


def _load(memory: dict[Cell, Value], layout: Layout, node: Node, cell: Cell) -> Value:
    value = memory.get(cell) or _start(layout, cell)
    if value is None:
        raise node.error(f"reads chunk {cell.chunk} of buffer {cell.buffer}, which is still empty")
    return value


def _start(layout: Layout, cell: Cell) -> Value | None:
    block = layout.start(cell)
    return None if block is None else Value(block, True, frozenset())


def _sum(node: Node, values: Sequence[Value]) -> Value:
    first, *others = values
    for other in others:
        if other.block != first.block:
            raise node.error(f"adds blocks {first.block} and {other.block}, which are not the same")
        if (first.own and other.own) or first.pieces & other.pieces:
            raise node.error(f"adds the same data of block {first.block} twice")
        first = Value(first.block, first.own or other.own, first.pieces | other.pieces)
    return first


def _ends(program: Program, memory: dict[Cell, Value]) -> dict[tuple[int, int], Value]:
    """Return the values in the output buffers, after checking that each has its block."""
    layout = program.layout
    ends: dict[tuple[int, int], Value] = {}
    for rank in range(layout.p):
        for chunk in range(layout.outputs):
            cell = layout.cell(rank, OUTPUT, chunk)
            value, block = memory.get(cell) or _start(layout, cell), layout.end(rank, chunk)
            if value is None or value.block != block:
                holds = "nothing" if value is None else f"block {value.block}"
                raise program.error(
                    rank,
                    f"ends with {holds} in chunk {cell.chunk} of buffer {cell.buffer}, where the "
                    f"{layout.collective} needs block {block}",
                )
            ends[rank, block] = value
    return ends
