"""Parameters of command lines: their types read values, and explain in the help how to write them.

A type carries its `Grammar`. The help of every command ends with the grammars of its parameters, so
each is written in one place, beside what reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from swing.algorithms import ALGORITHMS
from swing.algorithms.facts import options_in_words
from swing.schedules.collectives import COLLECTIVES, check_collective
from swing.sizes import parse_size, parse_sizes
from swing.torus import Torus


@dataclass(frozen=True)
class Grammar:
    """How values of a kind are written: a section at the end of the help.

    Args:
        title: the head of the section.
        text: the rules in words, with examples.
        entries: lists the values, with what each means.
    """

    title: str
    text: str = ""
    entries: Callable[[], Iterable[tuple[str, str]]] = list


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """A type whose values a function reads; its ValueError becomes a usage error.

    Args:
        name: what the help calls a value.
        read: reads a value.
        grammar: how values are written.
        words: lists values that the shell completes.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[str], Any],
        grammar: Grammar | None = None,
        words: Callable[[], Iterable[str]] = list,
    ) -> None:
        self.name, self.read, self.grammar, self.words = name, read, grammar, words

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value that the text stands for."""
        try:
            return self.read(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(self, ctx: Any, param: Any, incomplete: str) -> list[CompletionItem]:
        """List the values that begin as what has been typed."""
        items = (word for word in self.words() if word.startswith(incomplete))
        return [CompletionItem(word) for word in items]


class Rules(click.Choice):  # type: ignore[type-arg]  # generic only from click 8.2 on
    """A choice among rules, each with its meaning.

    Args:
        title: the option, as the head of its grammar.
        meanings: the rules, and what each means.
    """

    def __init__(self, title: str, meanings: Mapping[str, str]) -> None:
        super().__init__(list(meanings))
        self.grammar = Grammar(title, entries=meanings.items)


class Command(click.Command):
    """A command whose help ends with the grammars of its parameters."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the grammars."""
        every = (getattr(param.type, "grammar", None) for param in self.get_params(ctx))
        for grammar in dict.fromkeys(filter(None, every)):
            with formatter.section(grammar.title):
                if grammar.text:
                    formatter.write_text(grammar.text)
                if entries := list(grammar.entries()):
                    formatter.write_dl(entries)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def _algorithms() -> list[tuple[str, str]]:
    lines = []
    for name in ALGORITHMS:
        try:
            words = " ".join(options_in_words(ALGORITHMS[name]))
        except ValueError:  # of a package that cannot be loaded: whoever uses it learns why
            continue
        lines.append((name, words or "-"))
    return [*lines, ("auto", "the fastest one for the size and the machine; takes no options")]


def _collective(text: str) -> str:
    check_collective(text)
    return text


_SIZES = Grammar(
    "Sizes",
    "A size is a whole number of bytes, or of B, KiB, MiB, GiB or TiB: 512, 2MiB. A list has "
    "commas and ranges: in 32B:128MiB:x4, each size is 4 times the one before it; without :x4, "
    "it is twice.",
)
_ALGORITHMS = Grammar(
    "Algorithms",
    "Options follow behind commas, as in swing,variant=latency,ports=1. A list is written with x "
    "(segments=3x6), a list of lists with - (radices=8x1-1x8). Algorithms and their options, with "
    "the default, which is the first of several values:",
    _algorithms,
)
SIZE = Parsed("size", parse_size, _SIZES)
SIZES = Parsed("sizes", parse_sizes, _SIZES)
ALGORITHM = Parsed("algorithm", str, _ALGORITHMS, lambda: [*ALGORITHMS, "auto"])
SEVERAL = Parsed("algorithm", str, _ALGORITHMS, lambda: [*ALGORITHMS, "auto", "all"])
COLLECTIVE = Parsed("collective", _collective, words=lambda: COLLECTIVES)
HOW_TORI_ARE_WRITTEN = (
    "torus:4x8 is a torus of 4 x 8 ranks, numbered row by row; mesh:4x8 has no wraparound links, "
    "and torus:4x8:wrap=1,0 has them in its first dimension only."
)
TORUS = Parsed(
    "torus",
    Torus.parse,
    Grammar("Topologies", HOW_TORI_ARE_WRITTEN),
    lambda: ["torus:", "mesh:"],
)
