"""Shared by the command lines: one-line errors for bad input, and options that name a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click

from swing import formats
from swing.algorithms import DEFAULT
from swing.algorithms.spelling import parse
from swing.parameters import ALGORITHM, COLLECTIVE, SIZE, Command, Group, Parsed
from swing.schedules.collectives import ALLREDUCE, COLLECTIVES
from swing.schedules.schedule import Schedule
from swing.select.choose import schedule
from swing.sizes import parse_size
from swing.text_table import complain
from swing.torus import Torus

command = partial(click.command, cls=Command)
"""Makes a function a command whose help explains how its parameters are written."""


def group(command: Callable[..., Any]) -> click.Group:
    """Make a function the group of a program's commands, with ``-h`` and ``--version``."""
    version = click.version_option(package_name="torus-swing", message="torus-swing %(version)s")
    return click.group(cls=Group, context_settings=HELP)(version(command))


HELP = {"help_option_names": ["-h", "--help"]}
"""Settings of every command: ``-h`` prints the help, too."""


def invoke(command: click.Command, name: str, args: Sequence[str] | None = None) -> int:
    """Run a command with ``args``, by default those of the process; return its exit status.

    Bad input gives one line on standard error and exit status 2.
    """
    try:
        return int(command.main(args, prog_name=name, standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        complain(error.format_message())
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
    complain(f"error: {_cut(' '.join(message.split()))}")
    return 2


MAX_MESSAGE = 280
"""Most characters of an error message; what was typed may be much longer."""


def _cut(message: str) -> str:
    """Cut the middle out of a long message: its beginning says what is wrong, its end what to do.

    >>> len(_cut("x" * 10**6))
    280
    """
    if len(message) <= MAX_MESSAGE:
        return message
    end = MAX_MESSAGE // 3
    return f"{message[: MAX_MESSAGE - end - 3]} … {message[-end:]}"


def spelt(error: OSError) -> str:
    """An operating system error in one line: the file and the reason."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def joined(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Join options into one decorator."""

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
EAGER_LIMIT = click.option(
    "--eager-limit", type=Parsed("size", partial(parse_size, least=0), SIZE.grammar),
    help="In a trace (GOAL, "
    "SMPI, Chakra), a send of more bytes is done when its receive is.  [default: no limit; a send "
    "is done when it is handed over]"
)  # fmt: skip
schedule_options = joined(
    click.option("--algorithm", type=ALGORITHM, help="The algorithm, with options as in "
                 f"swing,variant=hybrid,k=2.  [default: {DEFAULT}]"),
    click.option("--variant", help="bandwidth, latency or hybrid, if the algorithm has variants."),
    click.option("--k", type=int, help="Number of reduce-scatter steps in a hybrid."),
    click.option("--ports", type=int, help="Number of parts that run side by side."),
    click.option("--collective", type=COLLECTIVE,
                 help=f"{', '.join(COLLECTIVES)}.  [default: allreduce]"),
    click.option("--root", type=int, help="The root of a broadcast, reduce, gather or scatter.  "
                 "[default: 0]"),
    click.option("--chunks", type=int, help="Number of chunks that a broadcast or reduce sends "
                 "along a tree."),
    click.option("--from", "source", type=click.Path(dir_okay=False), help="Read the schedule from "
                 "this file; replaces --algorithm and its options."),
    EAGER_LIMIT,
)  # fmt: skip
"""The options that name one schedule, for `named_schedule`."""


collective_options = joined(
    click.option("--collective", type=COLLECTIVE, default=ALLREDUCE, show_default=True,
                 help=f"{', '.join(COLLECTIVES)}."),
    click.option("--root", type=int, help="The root of a broadcast, reduce, gather or scatter.  "
                 "[default: 0]"),
)  # fmt: skip
"""The options that name one collective for several schedules."""


def named_schedule(
    torus: Torus | None,
    algorithm: str | None = None,
    source: str | None = None,
    eager_limit: int | None = None,
    **options: Any,
) -> Schedule:
    """The schedule that a command line names.

    Args:
        torus: the ranks; may be None if a file gives them.
        algorithm: as `swing.algorithms.spelling` writes it; `DEFAULT` if None.
        source: a file with a schedule, instead of an algorithm and its options.
        eager_limit: as for `swing.formats.read`; None if not given.
        options: options of the algorithm from their own flags, None if not given; ``nbytes`` for
            "auto".

    Raises:
        ValueError: an unknown algorithm or option, or one given twice.
    """
    flags = {key: value for key, value in options.items() if value is not None}
    if source is not None:
        for name in ["algorithm"] * (algorithm is not None) + list(flags):
            raise ValueError(f"--from brings a schedule: leave out --{name}")
        return formats.read(source, torus=torus, eager_limit=eager_limit)
    check_eager_limit(eager_limit, False)
    if torus is None:
        raise click.UsageError("Missing option '--topology', or '--from'.")
    name, spelled = parse(algorithm or DEFAULT)
    if name == "auto" and "nbytes" not in options:
        raise ValueError("algorithm 'auto' depends on the size, and here is none: name another")
    for key in spelled.keys() & flags.keys():
        raise ValueError(f"{key} is given twice: in --algorithm and by --{key}")
    return schedule(name, torus, **spelled, **flags)


def is_auto(algorithm: str | None) -> bool:
    """Return whether a value of ``--algorithm`` leaves the choice to `swing.choose`."""
    return parse(algorithm or DEFAULT)[0] == "auto"


def check_eager_limit(eager_limit: int | None, reads: bool) -> None:
    """Refuse an eager limit for a command that reads no file.

    Raises:
        ValueError: there is one.
    """
    if eager_limit is not None and not reads:
        raise ValueError("--eager-limit says how a trace is read: name the trace by --from")
