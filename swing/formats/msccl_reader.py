"""Reader of MSCCL XML: recovers an in-place allreduce schedule from the operations of each rank.

Sends and receives on a channel match in order. The dependencies between thread blocks give an order
in which each rank reads and writes its chunks. A message gets a step after the messages that wrote
the chunks it reads or writes, and no earlier than the messages that read the chunks it overwrites.
Any such program gives a schedule; use `swing.verify` to check that it is a correct allreduce.

Loses: the steps as written. A message without dependencies may come earlier, and the pieces of a
split message can end up in different steps.

Refused: chunks that are received at another position than they were sent from, output buffers,
scratch memory except to receive into, and messages whose source changes while they are in flight.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from swing.formats.msccl_xml import LOCAL, RECEIVES, SENDS, Node, parse
from swing.schedules.blocks import Blocks
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Array, Torus

_Queues = defaultdict[tuple[int, int, str], list[int]]  # (src, dst, channel) → steps


class Sent(NamedTuple):
    """A message between two ranks.

    Args:
        src: the sending rank.
        dst: the receiving rank.
        channel: the MSCCL channel.
        op: how the chunks enter the receiver's buffer.
        chunks: the chunks carried.
        taken: index of the operation that reads them at the source.
        put: index of the operation that writes them into the receiver's buffer.
    """

    src: int
    dst: int
    channel: int
    op: Op
    chunks: range
    taken: int
    put: int


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """Read the allreduce of a document.

    Args:
        data: the XML.
        torus: the torus of the ranks; a ring by default.

    Raises:
        ValueError: the document is not MSCCL XML, or contains something listed above as refused.
    """
    title, p, nblocks, nodes, after = parse(data)
    ranks = torus or Torus(p)
    if ranks.size != p:
        raise ValueError(f"the file has {p} ranks, but the torus {ranks} has {ranks.size}")
    pairs = _matched(nodes)
    order = _order(nodes, after, pairs)
    sent = _messages(nodes, pairs, order)
    level = _levels(sent, order)
    parts, part_of = _parts(sent, nblocks)
    steps = [_step(messages, part_of) for messages in _by_level(sent, level)]
    name = re.sub(r"[^\w.+-]", "_", title, flags=re.ASCII)
    return Schedule(name[:100], ranks, nblocks, len(steps), steps.__getitem__, parts=parts)


def _matched(nodes: Sequence[Node]) -> dict[int, int]:
    """Return the send of each receive: the k-th ones on a channel between two ranks match."""
    sends, recvs = _Queues(list), _Queues(list)
    for i, node in enumerate(nodes):
        if node.kind in SENDS:
            sends[node.rank, int(node.block["send"]), node.block["chan"]].append(i)
        if node.kind in RECEIVES:
            recvs[int(node.block["recv"]), node.rank, node.block["chan"]].append(i)
    pairs: dict[int, int] = {}
    for key in sends.keys() | recvs.keys():
        if len(sends[key]) != len(recvs[key]):
            src, dst, channel = key
            what = f"{len(sends[key])} sends and {len(recvs[key])} receives"
            raise ValueError(f"there are {what} from gpu {src} to {dst} on channel {channel}")
        pairs |= dict(zip(recvs[key], sends[key], strict=True))
    return pairs


def _order(
    nodes: Sequence[Node], after: Sequence[Sequence[int]], pairs: dict[int, int]
) -> list[int]:
    """Return (steps,) the position of each step in an order that respects all dependencies.

    A receive also waits for its send.
    """
    # All nodes come first, so that the order does not depend on who waits for whom.
    sorter = TopologicalSorter[int](dict.fromkeys(range(len(nodes)), ()))
    for i, before in enumerate(after):
        sorter.add(i, *before, *([pairs[i]] if i in pairs else []))
    try:
        order = list(sorter.static_order())
    except CycleError:
        raise ValueError("the steps wait for each other in a cycle: a deadlock") from None
    position: list[int] = np.argsort(order).tolist()
    return position


def _messages(nodes: Sequence[Node], pairs: dict[int, int], order: Sequence[int]) -> list[Sent]:
    """Return all messages, in the order in which they enter the receivers' buffers."""
    sent: list[Sent] = []
    # For each rank and scratch chunk in use: the receive that filled it, and the chunk's origin.
    landed: dict[tuple[int, int], tuple[int, int]] = {}
    for i in sorted(range(len(nodes)), key=order.__getitem__):
        node = nodes[i]
        where = f"gpu {node.rank}, thread block {node.block['id']}, step {node.tag['s']}"
        if node.kind in SENDS and node.tag["srcbuf"] != "i":
            raise ValueError(f"{where} sends from a buffer other than its input buffer")
        if node.kind in RECEIVES:
            taken = nodes[pairs[i]]
            # A step that both receives and sends on (rcs, rrcs) sends the chunks of its target.
            chunks = taken.chunks("dst" if taken.kind in ("rcs", "rrcs") else "src")
            if len(chunks) != node.number("cnt"):
                raise ValueError(f"{where} receives {node.number('cnt')} of {len(chunks)} chunks")
            if node.tag["dstbuf"] == "s" and node.kind == "r":
                slots = zip(node.chunks("dst"), chunks, strict=True)
                landed |= {(node.rank, slot): (i, chunk) for slot, chunk in slots}
                continue
            if node.tag["dstbuf"] != "i" or node.chunks("dst") != chunks:
                raise ValueError(f"{where} writes chunks to another position than they come from")
            own = node.tag["srcbuf"] == "i" and node.chunks("src") == chunks
            if RECEIVES[node.kind] is Op.REDUCE and not own:
                raise ValueError(f"{where} adds chunks to chunks of another position")
            op, recv = RECEIVES[node.kind], i
        elif node.kind in LOCAL:
            origin = [landed.pop((node.rank, slot), (-1, -1)) for slot in node.chunks("src")]
            chunks = node.chunks("dst")
            fits = [chunk for _, chunk in origin] == list(chunks)
            if (node.tag["srcbuf"], node.tag["dstbuf"]) != ("s", "i") or not fits:
                raise ValueError(f"{where} does not move received chunks to their own position")
            if len({i for i, _ in origin}) > 1:
                raise ValueError(f"{where} moves chunks of several messages at once")
            op, recv = LOCAL[node.kind], origin[0][0]
        else:
            continue
        src, channel = nodes[pairs[recv]].rank, int(nodes[recv].block["chan"])
        sent.append(Sent(src, node.rank, channel, op, chunks, pairs[recv], i))
    if landed:
        raise ValueError("chunks are left in scratch memory: add or copy them to the input buffer")
    return sent


def _levels(sent: Sequence[Sent], order: Sequence[int]) -> list[int]:
    """Return (messages,) the earliest step of each message.

    The constraints "b comes at least n steps after a" are relaxed until nothing changes
    (Bellman-Ford): at most one round per message, each linear in the number of constraints.
    """
    uses = []  # ((rank, chunk), time, whether it writes, message)
    for m, message in enumerate(sent):
        for chunk in message.chunks:
            # A step that receives chunks and sends them on writes them before it reads them.
            uses.append(((message.src, chunk), 2 * order[message.taken] + 1, False, m))
            uses.append(((message.dst, chunk), 2 * order[message.put], True, m))
    rules: dict[tuple[int, int], int] = {}  # at [a, b]: the steps from message a to b, at least
    current, wrote, reads = None, -1, list[int]()
    for cell, _, writes, m in sorted(uses):
        if cell != current:
            current, wrote, reads = cell, -1, []
        if wrote >= 0:
            rules[wrote, m] = 1
        if writes:
            for other in reads:
                # All messages of a step carry the state before it, so the same step is allowed.
                if other != m:
                    rules.setdefault((other, m), 0)
            wrote, reads = m, []
        else:
            reads.append(m)
    level = [0] * len(sent)
    for _ in range(len(sent) + 1):
        changed = False
        for (a, b), further in rules.items():
            if level[b] < level[a] + further:
                level[b], changed = level[a] + further, True
        if not changed:
            return level
        if max(level) > len(sent):  # a cycle of constraints
            break
    raise ValueError(
        "the source of a message changes while it is in flight: no schedule of steps does that"
    )


def _by_level(sent: Sequence[Sent], level: Sequence[int]) -> list[list[Sent]]:
    steps: list[list[Sent]] = [[] for _ in range(max(level, default=-1) + 1)]
    for message, s in zip(sent, level, strict=True):
        steps[s].append(message)
    return steps


def _parts(sent: Sequence[Sent], nblocks: int) -> tuple[tuple[int, ...], dict[int, int]]:
    """Return the number of blocks of each part, and the part of each channel.

    Each channel is a part if their ranges of blocks are disjoint and ascend; otherwise there is
    one part.
    """
    ends: dict[int, tuple[int, int]] = {}
    for message in sent:
        lo, hi = ends.get(message.channel, (nblocks, 0))
        ends[message.channel] = min(lo, message.chunks.start), max(hi, message.chunks.stop)
    channels = sorted(ends)
    first = [ends[c][0] for c in channels] or [0]
    disjoint = all(ends[a][1] <= ends[b][0] for a, b in pairwise(channels))
    if not disjoint:
        return (nblocks,), dict.fromkeys(channels, 0)
    cuts = [0, *first[1:], nblocks]
    parts = tuple(b - a for a, b in pairwise(cuts))
    return parts, {channel: j for j, channel in enumerate(channels)}


def _step(messages: Sequence[Sent], part_of: dict[int, int]) -> Step:
    """Build a step, and merge pieces of a message that was split."""
    rows: defaultdict[tuple[int, int, int, bool], list[range]] = defaultdict(list)
    for m in messages:
        rows[part_of[m.channel], m.src, m.dst, m.op is Op.REDUCE].append(m.chunks)
    blocks = [np.unique(np.concatenate([np.r_[c] for c in pieces])) for pieces in rows.values()]
    part, src, dst, reduces = zip(*rows, strict=True)
    source, target, parts = (np.array(c, dtype=np.int64) for c in (src, dst, part))
    return Step(np.array(reduces), source, target, _blocks(blocks), parts)


def _blocks(members: Sequence[Array]) -> Blocks:
    first, last, count = (
        np.array(column, dtype=np.int64)
        for column in zip(*((m[0], m[-1], len(m)) for m in members), strict=True)
    )
    if (last - first + 1 == count).all():
        return Blocks(count, first)
    return Blocks.sets(count, members.__getitem__)
