"""Facts of an algorithm in words: its idea, options, collectives, tori and source."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args

from swing.algorithms.algorithm import Algorithm
from swing.schedules.collectives import COLLECTIVES


def facts(algorithm: Algorithm) -> dict[str, str]:
    """Return what there is to know about an algorithm; "" where nothing is known.

    >>> from swing.algorithms.ring import RING
    >>> for what, words in facts(RING).items():
    ...     print(f"{what}: {words}")
    name: ring
    idea: Pass one block per step on to the next rank, round one ring of all ranks.
    options: ports=1, segments=
    collectives: all
    tori: any
    source: Patarasuk, Yuan 2009
    """
    serves = algorithm.collectives
    return {
        "name": algorithm.name,
        "idea": (inspect.getdoc(algorithm.function) or "").partition("\n")[0],
        "options": ", ".join(options_in_words(algorithm)),
        "collectives": "all" if serves == COLLECTIVES else ", ".join(serves),
        "tori": algorithm.restriction or "any",
        "source": algorithm.source,
    }


def options_in_words(algorithm: Algorithm) -> Iterator[str]:
    """Yield each option of the function with its default; of a choice, the other values follow.

    Of the options that an algorithm has besides, only ``segments`` depends on the algorithm.

    >>> from swing.algorithms.swing import SWING
    >>> print(*options_in_words(SWING))
    variant=bandwidth|latency|hybrid k= ports= order= blocks=last|early segments=
    """
    if not algorithm.options:
        return
    parameters = inspect.signature(algorithm.function).parameters
    for name, parameter in parameters.items():
        if name not in algorithm.options or name in ("collective", "root"):
            continue
        default = parameter.default
        choices = [value for value in get_args(algorithm.options[name]) if isinstance(value, str)]
        if choices:
            yield f"{name}={'|'.join(sorted(choices, key=lambda value: value != default))}"
        else:
            yield f"{name}=" + ("" if default in (None, inspect.Parameter.empty) else str(default))
    if "segments" in algorithm.options and "segments" not in parameters:
        yield "segments="
