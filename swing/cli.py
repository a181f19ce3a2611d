"""What the command lines share: one clear line for bad input, and options read by a function."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from swing import formats
from swing.algorithms import ALGORITHMS, make, variants
from swing.schedules.schedule import Schedule
from swing.select.choose import schedule
from swing.torus import Torus


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """An option whose text a function reads; what the function refuses is a usage error."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value that the text stands for."""
        try:
            return self.read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)


def invoke(command: click.Command, name: str, args: Sequence[str] | None = None) -> int:
    """Run a command, on the words of the command line if no ``args`` are given.

    Bad input is one line on standard error and exit status 2.
    """
    try:
        return int(command.main(args, prog_name=name, standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.ClickException as error:
        message = error.format_message()
    except MemoryError:
        message = "there is not enough memory for that: choose a smaller topology"
    except OSError as error:
        message = spelt(error)
    except ValueError as error:
        message = str(error)
    except click.Abort:
        message = "interrupted"
    print("error:", *message.split(), file=sys.stderr)
    return 2


def spelt(error: OSError) -> str:
    """An error of the system in a line: the file, and what is wrong with it."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def schedule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name one schedule, for `named_schedule`."""
    for option in reversed(
        [
            click.option("--algorithm", help="[default: swing]"),
            click.option(
                "--variant", help="bandwidth, latency or hybrid, where there is a choice."
            ),
            click.option("--k", type=int, help="Reduce-scatter steps of a hybrid."),
            click.option("--ports", type=int, help="Parts that run side by side."),
            click.option("--collective", help="allreduce, reduce_scatter or allgather."),
            click.option(
                "--from",
                "source",
                type=click.Path(dir_okay=False),
                help="A file with a schedule, instead of an algorithm.",
            ),
        ]
    ):
        command = option(command)
    return command


def named_schedule(
    torus: Torus | None, algorithm: str | None = None, source: str | None = None, **options: Any
) -> Schedule:
    """The schedule of the options given; those that are None keep the algorithm's default.

    Args:
        torus: needed, unless it comes with the file.
        algorithm: "swing" if None.
        source: a file, instead of an algorithm and its options.
        options: of the algorithm; for "auto" ``nbytes``.
    """
    if algorithm == "auto" and "nbytes" not in options:
        raise ValueError("algorithm 'auto' depends on the size, and here is none: name another")
    given = {k: v for k, v in options.items() if v is not None}
    if source is not None:
        for name in ["algorithm"] * (algorithm is not None) + list(given):
            raise ValueError(f"--from brings a schedule: leave out --{name}")
        return formats.read(source, torus=torus)
    if torus is None:
        raise click.UsageError("Missing option '--topology', or '--from'.")
    return schedule(algorithm or "swing", torus, **given)


def parse_size(text: str) -> int:
    """Bytes in a size such as ``32B``, ``2KiB`` or ``512``."""
    found = re.fullmatch(r"([0-9]{1,16})\s*(|[KMGT]i)B?", text.strip(), re.IGNORECASE)
    nbytes = int(found[1]) << 10 * " KMGT".index(found[2][:1].upper() or " ") if found else 0
    if not 1 <= nbytes <= 2**50:
        raise ValueError(f"{text!r} is not a size from 1B to 1024TiB: write one as in 2MiB")
    return nbytes


def with_options(text: str) -> tuple[str, dict[str, Any]]:
    """An algorithm and its options, written as in ``swing,variant=hybrid,k=2``.

    Raises:
        ValueError: an option without a value, or k or ports that are no whole numbers.
    """
    name, *rest = text.split(",")
    options: dict[str, Any] = {}
    for item in rest:
        key, equals, value = item.partition("=")
        if not equals or not key or not value:
            raise ValueError(f"options of an algorithm are written swing,ports=1, not {text!r}")
        whole = re.fullmatch(r"-?[0-9]{1,18}", value)
        if key in ("k", "ports") and not whole:
            raise ValueError(f"{key} is a whole number, not {value!r}")
        options[key] = int(value) if whole else value
    return name, options


def every_way(names: tuple[str, ...], torus: Torus) -> list[tuple[str, dict[str, str]]]:
    """The algorithms of some names, each in all its variants; "all" are those the torus allows.

    Raises:
        ValueError: an algorithm asked for by name does not exist or cannot serve the torus.
    """
    found = []
    wanted = [n for asked in names for n in (ALGORITHMS if asked == "all" else [asked])]
    for name in dict.fromkeys(wanted):
        if name not in ALGORITHMS:
            raise ValueError(f"no algorithm {name!r}: choose from {', '.join(ALGORITHMS)}, all")
        for variant in variants(name):
            options = {"variant": variant} if variant else {}
            try:
                make(name, torus, **options)
            except ValueError:
                if name in names:
                    raise
                continue
            found.append((name, options))
    return found
