"""Plain text, a message a line: ``step src dst bytes``; lines that begin with # are comments.

Loses: blocks and what is done with them, parts, phases, owners and how ranks are placed.

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
    """The lines of a schedule for a vector of some bytes."""
    yield f"# {About.of(schedule, nbytes)}\n# step src dst bytes\n"
    for sent in messages(schedule, nbytes):
        yield "".join(f"{m.step} {m.src} {m.dst} {m.nbytes}\n" for m in sent)


def read(data: bytes, torus: Torus | None = None) -> Schedule:
    """The traffic of the lines; ranks are on a ring unless the file or ``torus`` says otherwise."""
    about = None
    rows: list[list[tuple[int, int, int]]] = []
    size = count = 0
    for number, line in limits.lines(limits.text(data)):
        if line.startswith("#"):
            about = about or About.parse(line)
        elif line:
            words = line.split()
            if len(words) != 4:
                raise ValueError(f"line {number} is not: step src dst bytes")
            step, src, dst, nbytes = (limits.whole(w, f"line {number}: a number") for w in words)
            count += 1
            if step > len(rows) + 1000 or count > limits.MAX_ROWS:
                raise ValueError(f"line {number}: steps jump, or are too many")
            if src == dst or not nbytes:
                raise ValueError(f"line {number}: a message goes to another rank, and has bytes")
            rows += [[] for _ in range(step + 1 - len(rows))]
            rows[step].append((src, dst, nbytes))
            size = max(size, src + 1, dst + 1)
    if not rows and about is None:
        raise ValueError("it has no line: step src dst bytes")
    limits.check_ranks(size)
    place = torus or (about.torus if about else Torus(max(1, size)))
    if place.size < size:
        raise ValueError(f"it has {size} ranks, and the torus {place} {place.size}")
    most = max((n for step in rows for _, _, n in step), default=1)
    return traffic(about._replace(torus=place) if about else About(place, most), rows)
