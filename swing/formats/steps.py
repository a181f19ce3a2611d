"""Plain text with one message per line: ``step src dst bytes``; lines with # are comments.

Loses: blocks and their reductions, parts, phases, origins, homes and the placement of ranks.

>>> import swing
>>> print("".join(write(swing.schedule("swing", swing.Torus(2), ports=1), 8)), end="")
# torus-swing dims=2 wrap=1 nbytes=8 algorithm=swing:bandwidth
# step src dst bytes
0 0 1 4
0 1 0 4
1 0 1 4
1 1 0 4
"""

from __future__ import annotations

from collections.abc import Iterator

from swing.formats import limits
from swing.formats.event_trace import About, messages, traffic
from swing.schedules.schedule import Schedule
from swing.torus import Torus


def write(schedule: Schedule, nbytes: int) -> Iterator[str]:
    """Yield the lines of a schedule for a vector of ``nbytes`` bytes.

    Raises:
        ValueError: the schedule has too many messages.
    """
    yield f"# {About.of(schedule, nbytes)}\n# step src dst bytes\n"
    for sent in messages(schedule, nbytes):
        yield "".join(f"{m.step} {m.src} {m.dst} {m.nbytes}\n" for m in sent)


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """Read a "traffic" schedule.

    Args:
        data: the lines.
        torus: the torus of the ranks; by default the one in the comment, else a ring.

    Raises:
        ValueError: a line is not a message, or the torus has fewer ranks than the messages use.
    """
    about = None
    rows: list[list[tuple[int, int, int]]] = []
    size = count = 0
    for where, line in limits.lines(limits.text(data)):
        if line.startswith("#"):
            about = about or About.parse(line)
        elif line:
            words = line.split()
            if len(words) != 4:
                raise ValueError(f"{where} is not of the form: step src dst bytes")
            step, src, dst, nbytes = (limits.whole(w, f"{where}: a number") for w in words)
            count += 1
            # A list is kept for each step, so one line must not be able to demand millions.
            if step > len(rows) + 1000 or count > limits.MAX_ROWS:
                raise ValueError(
                    f"{where}: the step jumps by more than 1000, "
                    f"or the file has more than {limits.MAX_ROWS} messages"
                )
            if src == dst or not nbytes:
                raise ValueError(f"{where}: a message goes to another rank and is not empty")
            rows += [[] for _ in range(step + 1 - len(rows))]
            rows[step].append((src, dst, nbytes))
            size = max(size, src + 1, dst + 1)
    if not rows and about is None:
        raise ValueError("the file has no line of the form: step src dst bytes")
    limits.check_ranks(size)
    ranks = torus or (about.torus if about else Torus(max(1, size)))
    if ranks.size < size:
        raise ValueError(f"the file has {size} ranks, but the torus {ranks} has {ranks.size}")
    return traffic(about, ranks, rows)
