"""``make optimal``: the optimum on small tori, and how near our schedules are.

``python results/optimal.py`` searches for the fewest rounds of allreduces and allgathers in every
number of steps on small tori, and writes OPTIMAL.md. Points that data/optimal.json has already are
not searched again: delete a line of it, or the file, to start over. Only the search needs OR-tools
(the extra ``optimal``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate, product
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import click  # noqa: E402  the imports below need the path above
import front  # noqa: E402
from front import Block, Point  # noqa: E402

import netsim  # noqa: E402
from swing import Torus  # noqa: E402
from swing.algorithms import make  # noqa: E402
from swing.algorithms.spelling import parse, spell  # noqa: E402
from swing.cli import JSON, command, invoke  # noqa: E402
from swing.progress import Progress  # noqa: E402
from swing.select.candidates import family, published, spelled  # noqa: E402

TORI = [Torus.parse(name) for name in ("3", "4", "5", "6", "7", "8", "2x2", "2x3", "3x3", "2x2x2",
                                       "4x4")]  # fmt: skip
SEARCHED = {"allreduce": "allreduce", "reduce_scatter": "allgather", "allgather": "allgather"}
"""For each collective of the page, the one that is searched, which may be its reverse in time."""
PAGE = HERE / "OPTIMAL.md"
T = TypeVar("T", "Ours", Point)


class Ours(NamedTuple):
    """A schedule of the library: its steps, its rounds and its name with options."""

    steps: int
    rounds: Fraction
    name: str


@command()
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True,
    help="The limit of each search, in CP-SAT's deterministic time: roughly seconds.",
)  # fmt: skip
@JSON
def main(seconds: float, as_json: bool) -> None:
    """Search for the points that data/optimal.json lacks, then write OPTIMAL.md."""
    points = searched(seconds)
    tables = {
        collective: [row for torus in TORI for row in rows(points, torus, collective)]
        for collective in SEARCHED
    }
    PAGE.write_text(page(tables))
    for collective, table in tables.items() if as_json else ():
        for row in table:
            click.echo(json.dumps({"collective": collective} | row, default=float))


def searched(seconds: float) -> list[Point]:
    """Return the points of all tori; those that are not in the cache are searched and written."""
    known = {(p.torus, p.collective, p.steps): p for p in front.read()}
    with Progress() as progress:
        for torus in TORI:
            for collective in sorted(set(SEARCHED.values())):
                for steps in range(front.diameter(torus), front.most_steps(torus, collective) + 1):
                    key = torus, collective, steps
                    if key not in known:
                        progress.show(f"searching {collective} on {torus} in {steps} steps")
                        known[key] = _search(*key, seconds)
                        front.write(known.values())
                    if known[key].rounds == front.fewest_rounds(torus, collective):
                        break
    return list(known.values())


def _search(torus: Torus, collective: str, steps: int, seconds: float) -> Point:
    try:
        from fewest import least_rounds  # OR-tools is no dependency of anything else
    except ImportError:
        raise click.ClickException(
            f"data/optimal.json has no {collective} on {torus} in {steps} steps, and the search "
            "for it needs OR-tools: pip install 'torus-swing[optimal]'"
        ) from None
    known = {
        block
        for schedule in ours(torus, collective)
        for block in in_place(schedule.name, torus, collective)
        if schedule.steps <= steps
    }
    return least_rounds(torus, collective, steps, seconds, sorted(known))


def in_place(name: str, torus: Torus, collective: str) -> Iterator[Block]:
    """Yield the first block of each part of our schedule, if it has messages to neighbours only."""
    if collective == "allreduce":
        algorithm, options = parse(name)
        schedule = make(algorithm, torus, **options)
        links = {*front.neighbours(torus)}
        for first in accumulate(schedule.parts[:-1], initial=0):
            block = front.block_of(schedule, first)
            if links.issuperset((m.src, m.dst) for m in block):
                yield block


def rows(points: list[Point], torus: Torus, collective: str) -> Iterator[dict[str, Any]]:
    """Yield what is known of a collective on a torus, by columns; one row for a number of steps.

    Rows that only have more steps than the one before are left out. After the last point come
    schedules of ours that take more steps and fewer rounds.
    """
    of_torus = [p for p in points if p.torus == torus]
    gathers = [p for p in of_torus if p.collective == "allgather"]
    asked = {p.steps: p for p in of_torus if p.collective == SEARCHED[collective]}
    last: dict[str, Any] = {}
    for steps in sorted({*asked, *(each.steps for each in ours(torus, collective))}):
        point = asked.get(steps, asked[max(asked)])
        best = fewest([p for p in asked.values() if p.steps <= steps])
        rounds = best.rounds if best else None
        mine = fewest([each for each in ours(torus, collective) if each.steps <= steps])
        row: dict[str, Any] = {
            "torus": str(torus),
            "steps": steps,
            "rounds": rounds,
            "chunks": best and best.chunks,
            "bound": point.bound,
            "state": point.state(rounds),
            "same bits": best and best.same_bits,
        }
        if collective == "allreduce":
            pairs = [
                pair for pair in product(gathers, gathers) if sum(p.steps for p in pair) <= steps
            ]
            row["reduce-scatter + allgather"] = min(
                (sum(p.rounds or 0 for p in pair) for pair in pairs), default=None
            )
        row |= {
            "ours": mine and mine.rounds,
            "ours ÷ bound": mine and round(float(mine.rounds / point.bound), 2),
            "schedule": mine and mine.name,
        }
        if last | {"steps": steps} != row:
            yield row
        last = row


def fewest(choices: Sequence[T]) -> T | None:
    """Return the choice with the fewest rounds, and then steps; None if none has known rounds."""
    known = [each for each in choices if each.rounds is not None]
    return min(known, key=lambda each: (each.rounds or 0, each.steps), default=None)


@cache
def ours(torus: Torus, collective: str) -> list[Ours]:
    """List the schedules of the library on a torus."""
    topology = netsim.topology(torus.name)
    found = []
    for name, options in dict.fromkeys(
        [*published(torus, collective, later=True), *family(torus, collective)]
    ):
        schedule = make(name, torus, **dict(options), **spelled(collective))
        steps, rounds = front.steps_and_rounds(schedule, topology)
        exact = Fraction(rounds).limit_denominator(5040)
        found.append(Ours(steps, exact, spell(name, dict(options))))
    return found


def page(tables: dict[str, list[dict[str, Any]]]) -> str:
    """Return the text of OPTIMAL.md."""
    text = [(HERE / "optimal-intro.md").read_text(), *summary(tables)]
    for collective, table in tables.items():
        text += [f"\n## {collective}\n", line(table[0]), "|---" * len(table[0]) + "|"]
        text += [line(cell(*item) for item in row.items()) for row in table]
    return "\n".join(text) + "\n"


def summary(tables: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the lines of the table that says where ours are optimal, and where they are not."""
    yield "| collective | ours are proven optimal | a better schedule is known | open |"
    yield "|---|---|---|---|"
    for collective, table in tables.items():
        places: dict[str, dict[str, list[str]]] = {"optimal": {}, "better": {}, "open": {}}
        for row in table:
            kind = standing(row["ours"], row["rounds"], row["bound"])
            places[kind].setdefault(row["torus"], []).append(str(row["steps"]))
        cells = ["; ".join(f"{t}: {', '.join(s)}" for t, s in p.items()) for p in places.values()]
        yield line([collective, *cells])


def standing(mine: Fraction | None, found: Fraction | None, bound: Fraction) -> str:
    """Return "optimal" if our rounds reach the bound, "better" if a schedule found takes fewer.

    >>> standing(Fraction(4), Fraction(3), Fraction(3)), standing(Fraction(4), None, Fraction(3))
    ('better', 'open')
    """
    if mine == bound:
        return "optimal"
    return "better" if found is not None and (mine is None or found < mine) else "open"


def line(cells: Iterable[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def cell(column: str, value: object) -> str:
    """Return a value as a cell of a table.

    >>> cell("chunks", None), cell("same bits", True), cell("schedule", "swing")
    ('', 'yes', '`swing`')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"`{value}`" if column == "schedule" else str(value)


if __name__ == "__main__":
    sys.exit(invoke(main, "python results/optimal.py"))
