"""Plain text with one message per line: ``step src dst bytes``; lines with # are comments.

If the schedule has several parts, a line ends with the number of the message's part.

Loses: blocks and their reductions, origins and homes. A comment at the head has everything else,
see `swing.formats.trace_header`.

>>> import swing
>>> print("".join(write(swing.schedule("swing", swing.Torus(2), ports=1), 8)), end="")
# torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth parts=8 phases=2*1 runs=2*1
# step src dst bytes
0 0 1 4
0 1 0 4
1 1 0 4
1 0 1 4
"""

from __future__ import annotations

from collections.abc import Iterator

from swing.formats import limits
from swing.formats.event_trace import messages, traffic
from swing.formats.trace_header import Header
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def write(schedule: Schedule, nbytes: int) -> Iterator[str]:
    """Yield the lines of a schedule for a vector of ``nbytes`` bytes.

    Raises:
        ValueError: the schedule has too many messages.
    """
    header = Header.of(schedule, nbytes)
    several = len(header.parts) > 1
    yield f"# {header}\n# step src dst bytes{' part' * several}\n"
    for sent in messages(schedule, nbytes):
        yield "".join(
            f"{m.step} {m.src} {m.dst} {m.nbytes}{f' {m.part}' * several}\n" for m in sent
        )


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """Read a "traffic" schedule.

    Args:
        data: the lines.
        torus: the torus of the ranks; by default the one in the header, else a ring.

    Raises:
        ValueError: a line is not a message, or the torus has fewer ranks than the messages use.
    """
    header = None
    rows: list[list[tuple[int, int, int, int]]] = []
    size = count = 0
    for where, line in limits.lines(limits.text(data)):
        if line.startswith("#"):
            header = header or Header.parse(line)
        elif line:
            words = line.split()
            if len(words) not in (4, 5):
                raise ValueError(f"{where} is not of the form: step src dst bytes [part]")
            step, src, dst, nbytes, part = (
                limits.whole(w, f"{where}: a number") for w in [*words, "0"][:5]
            )
            count += 1
            # A list is kept for each step, so one line must not be able to demand millions.
            if step > len(rows) + 1000 or count > limits.MAX_ROWS:
                raise ValueError(
                    f"{where}: the step jumps by more than 1000, "
                    f"or the file has more than {limits.MAX_ROWS} messages"
                )
            if src == dst:
                raise ValueError(f"{where}: a message goes to another rank")
            rows += [[] for _ in range(step + 1 - len(rows))]
            rows[step].append((src, dst, nbytes, part))
            size = max(size, src + 1, dst + 1)
    if not rows and header is None:
        raise ValueError("the file has no line of the form: step src dst bytes")
    limits.check_ranks(size)
    ranks = torus or (header.torus if header else Torus(max(1, size)))
    if ranks.size < size:
        raise ValueError(f"the file has {size} ranks, but the torus {ranks} has {ranks.size}")
    rows += [[] for _ in range((header.nsteps if header else 0) - len(rows))]
    return traffic(header, ranks, rows)
