"""MSCCL XML read back: an allreduce in place, from the operations of every rank.

Sends and receives match in their order on a channel. Of what thread blocks wait for follows an
order in which ranks read and write their chunks; a message comes one step after those that wrote
what it reads or writes, and not before those that read what it writes. Any such program gives a
schedule, for `swing.verify` to judge.

Loses: steps may differ from those written: what does not wait comes earlier, and the pieces of a
message can come apart. Refused: chunks that change their place on the way,
output buffers, scratch memory but as a landing place, and messages that wait under way while
their source changes.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from swing.formats.msccl_xml import LOCAL, RECEIVES, SENDS, Node, parse
from swing.schedules.blocks import BlockRange, Blocks, BlockSets
from swing.schedules.schedule import Schedule
from swing.schedules.step import Op, Step
from swing.torus import Array, Torus


class Sent(NamedTuple):
    """A message: ``taken`` reads it at its source, ``put`` brings it into the receiver's blocks."""

    src: int
    dst: int
    channel: int
    op: Op
    chunks: range
    taken: int
    put: int


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """The allreduce of a document; ranks are on a ring unless ``torus`` says otherwise."""
    title, p, nblocks, nodes, after = parse(data)
    place = torus or Torus(p)
    if place.size != p:
        raise ValueError(f"it has {p} ranks, and the torus {place} {place.size}")
    pairs = _matched(nodes)
    order = _order(nodes, after, pairs)
    sent = _messages(nodes, pairs, order)
    level = _levels(sent, order)
    parts, part_of = _parts(sent, nblocks)
    steps = [_step(some, part_of) for some in _by_level(sent, level)]
    name = re.sub(r"[^\w.+-]", "_", title, flags=re.ASCII)
    return Schedule(name[:100], place, nblocks, len(steps), steps.__getitem__, parts=parts)


def _matched(nodes: Sequence[Node]) -> dict[int, int]:
    """The send of every receive: the k-th on a channel between two ranks match."""
    sends: defaultdict[tuple[int, int, str], list[int]] = defaultdict(list)
    recvs: defaultdict[tuple[int, int, str], list[int]] = defaultdict(list)
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
    """(steps,) when each runs, in an order that keeps to what waits for what."""
    later: list[list[int]] = [[] for _ in nodes]
    waits = [0] * len(nodes)
    for i, before in enumerate(after):
        for j in (*before, *([pairs[i]] if i in pairs else [])):
            later[j].append(i)
            waits[i] += 1
    ready = deque(i for i, n in enumerate(waits) if not n)
    order, done = [0] * len(nodes), 0
    while ready:
        i = ready.popleft()
        order[i], done = done, done + 1
        for j in later[i]:
            waits[j] -= 1
            if not waits[j]:
                ready.append(j)
    if done < len(nodes):
        raise ValueError("steps wait for each other in a circle: it never ends")
    return order


def _messages(nodes: Sequence[Node], pairs: dict[int, int], order: Sequence[int]) -> list[Sent]:
    """Every message, by the time it comes in."""
    sent: list[Sent] = []
    landed: dict[tuple[int, int], tuple[int, int]] = {}  # scratch chunks: receive, chunk
    for i in sorted(range(len(nodes)), key=order.__getitem__):
        node = nodes[i]
        where = f"gpu {node.rank}, thread block {node.block['id']}, step {node.tag['s']}"
        if node.kind in SENDS and node.tag["srcbuf"] != "i":
            raise ValueError(f"{where} does not send what lies in its input buffer")
        if node.kind in RECEIVES:
            taken = nodes[pairs[i]]
            chunks = taken.chunks("dst" if taken.kind in ("rcs", "rrcs") else "src")
            if len(chunks) != node.number("cnt"):
                raise ValueError(f"{where} receives another number of chunks than are sent")
            if node.tag["dstbuf"] == "s" and node.kind == "r":
                found = zip(node.chunks("dst"), chunks, strict=True)
                landed |= {(node.rank, at): (i, chunk) for at, chunk in found}
                continue
            if node.tag["dstbuf"] != "i" or node.chunks("dst") != chunks:
                raise ValueError(f"{where} puts chunks where they do not come from")
            own = node.tag["srcbuf"] == "i" and node.chunks("src") == chunks
            if RECEIVES[node.kind] is Op.REDUCE and not own:
                raise ValueError(f"{where} adds chunks to others than their own")
            sent.append(_sent(nodes, pairs[i], i, RECEIVES[node.kind], chunks, node))
        elif node.kind in LOCAL:
            origin = [landed.pop((node.rank, at), (-1, -1)) for at in node.chunks("src")]
            chunks = node.chunks("dst")
            fits = [chunk for _, chunk in origin] == list(chunks)
            if (node.tag["srcbuf"], node.tag["dstbuf"]) != ("s", "i") or not fits:
                raise ValueError(f"{where} does not add what has just come in to its own chunk")
            if len({i for i, _ in origin}) > 1:
                raise ValueError(f"{where} adds several messages at the same time")
            come = origin[0][0]
            sent.append(_sent(nodes, pairs[come], i, LOCAL[node.kind], chunks, nodes[come]))
    if landed:
        raise ValueError("something stays in scratch memory: it is neither added nor copied")
    return sent


def _sent(
    nodes: Sequence[Node], taken: int, put: int, op: Op, chunks: range, receive: Node
) -> Sent:
    src, channel = nodes[taken].rank, int(receive.block["chan"])
    return Sent(src, receive.rank, channel, op, chunks, taken, put)


def _levels(sent: Sequence[Sent], order: Sequence[int]) -> list[int]:
    """(messages,) the step of each."""
    uses = []  # rank and chunk, time, message, does it write
    for m, message in enumerate(sent):
        for chunk in message.chunks:
            # What one step receives and sends on is written before it is read.
            uses.append(((message.src, chunk), 2 * order[message.taken] + 1, False, m))
            uses.append(((message.dst, chunk), 2 * order[message.put], True, m))
    rules: dict[tuple[int, int], int] = {}  # message b comes so many steps after message a
    place, wrote, reads = None, -1, list[int]()
    for here, _, writes, m in sorted(uses):
        if here != place:
            place, wrote, reads = here, -1, []
        if wrote >= 0:
            rules[wrote, m] = 1
        if writes:
            for other in reads:
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
        if max(level) > len(sent):
            break
    raise ValueError("a message waits under way while its source changes: no schedule of steps")


def _by_level(sent: Sequence[Sent], level: Sequence[int]) -> list[list[Sent]]:
    steps: list[list[Sent]] = [[] for _ in range(max(level, default=-1) + 1)]
    for message, s in zip(sent, level, strict=True):
        steps[s].append(message)
    return steps


def _parts(sent: Sequence[Sent], nblocks: int) -> tuple[tuple[int, ...], dict[int, int]]:
    """Blocks of each part, and the part of each channel: one part where channels share blocks."""
    ends: dict[int, tuple[int, int]] = {}
    for message in sent:
        lo, hi = ends.get(message.channel, (nblocks, 0))
        ends[message.channel] = min(lo, message.chunks.start), max(hi, message.chunks.stop)
    channels = sorted(ends)
    first = [ends[c][0] for c in channels] or [0]
    apart = all(ends[a][1] <= ends[b][0] for a, b in pairwise(channels))
    if not apart:
        return (nblocks,), dict.fromkeys(channels, 0)
    cuts = [0, *first[1:], nblocks]
    parts = tuple(b - a for a, b in pairwise(cuts))
    return parts, {channel: j for j, channel in enumerate(channels)}


def _step(messages: Sequence[Sent], part_of: dict[int, int]) -> Step:
    """The messages of a step; pieces of one are one again."""
    rows: defaultdict[tuple[int, int, int, str], list[range]] = defaultdict(list)
    for m in messages:
        rows[part_of[m.channel], m.src, m.dst, m.op.value].append(m.chunks)
    kept = [np.unique(np.concatenate([np.r_[c] for c in found])) for found in rows.values()]
    part, src, dst, op = zip(*rows, strict=True)
    ops: Op | np.ndarray = np.array([Op(o) for o in op], dtype=object)
    if len(set(op)) == 1:
        ops = Op(op[0])
    columns = (np.array(c, dtype=np.int64) for c in (src, dst, part))
    source, target, parts = columns
    return Step(ops, source, target, _blocks(kept), parts)


def _blocks(kept: Sequence[Array]) -> Blocks:
    first, last, count = (
        np.array(column, dtype=np.int64)
        for column in zip(*((k[0], k[-1], len(k)) for k in kept), strict=True)
    )
    if (last - first + 1 == count).all():
        return BlockRange(first, count)
    return BlockSets(count, kept.__getitem__)
