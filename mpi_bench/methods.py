"""The methods to measure: named allreduce functions, ours and the MPI library's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mpi4py import MPI

import swing
from mpi_bench.problem import Vector
from swing.algorithms.spelling import parse, spell
from swing.checks import unknown
from swing.executor import allreduce, explain
from swing.executor.explanation import Explanation
from swing.executor.gpu import device
from swing.select.candidates import family
from swing.select.table import Options

GROUPS = ("all", "family", "auto", "mpi")
Runner = Callable[[MPI.Intracomm, Vector | None, Vector, MPI.Op], object]
Explainer = Callable[[MPI.Intracomm, Vector | None, Vector, MPI.Op], Explanation]


@dataclass(frozen=True)
class Method:
    """An allreduce function with a name.

    Args:
        algorithm: a key of `swing.ALGORITHMS`, "auto", or "mpi" for the MPI library's own.
        variant: the variant of the algorithm; empty if it has only one.
        ports: number of parts that run in parallel; None for "mpi" and "auto".
        run: the function, with arguments ``(comm, sendbuf, recvbuf, op)``; it reduces in place if
            sendbuf is None.
        options: the options of `swing.schedule`, including ``variant`` and ``ports``.
        explain: tells which algorithm ``run`` chooses for its arguments; None if it chooses none.
    """

    algorithm: str
    variant: str
    ports: int | None
    run: Runner = field(compare=False)
    options: Options = ()
    explain: Explainer | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The algorithm with its options, as command lines take it."""
        return spell(self.algorithm, dict(self.options))


def methods(
    names: Iterable[str], torus: swing.Torus, ports: int | None, cuda: bool = False
) -> list[Method]:
    """Return the MPI library's own allreduce, then the named ones with their variants, each once.

    Args:
        names: keys of `swing.ALGORITHMS`, with options as `swing.algorithms.spelling.parse` reads
            them, or members of `GROUPS`. "all" stands for "auto" and each algorithm that can serve
            the torus with ``ports`` ports; "family" for each schedule that
            ``python -m netsim tune`` searches, whatever its ports.
        torus: the ranks.
        ports: number of parts that run in parallel; None for each algorithm's default.
        cuda: the vectors are in GPU memory; the MPI library gets a copy in host memory.

    Raises:
        ValueError: a name is unknown, or an algorithm named alone cannot serve the torus.
    """
    listed = [Method("mpi", "", None, _by_the_host if cuda else _library)]
    for text in names:
        name, spelled = parse(text)
        if name not in (*swing.ALGORITHMS, *GROUPS):
            raise unknown("algorithm", name, [*swing.ALGORITHMS, *GROUPS])
        if spelled:
            listed.append(_named(name, torus, ({"ports": ports} if ports else {}) | spelled))
            continue
        for algorithm in swing.ALGORITHMS:
            if name in (algorithm, "all"):
                for variant in swing.ALGORITHMS[algorithm].variants:
                    try:
                        named = {"variant": variant, "ports": ports}
                        options = {key: value for key, value in named.items() if value}
                        listed.append(_named(algorithm, torus, options))
                    except ValueError:
                        if name != "all":  # "all" means those that can serve the torus
                            raise
        if name in ("auto", "all"):
            listed.append(_auto(torus))
        if name == "family":
            listed += [_named(each, torus, dict(options)) for each, options in family(torus)]
    return list(dict.fromkeys(listed))


def _named(algorithm: str, torus: swing.Torus, options: dict[str, Any]) -> Method:
    # A call that names options takes longer than one by `auto`, because compiled code does not look
    # it up. A call with a schedule is looked up, so its time is what `auto` would take.
    schedule = swing.schedule(algorithm, torus, **options)
    variant, ports = options.get("variant", ""), len(schedule.parts)
    return Method(algorithm, variant, ports, _ours(schedule, torus), tuple(options.items()))


def _auto(torus: swing.Torus) -> Method:
    def told(
        comm: MPI.Intracomm, sendbuf: Vector | None, recvbuf: Vector, op: MPI.Op
    ) -> Explanation:
        return explain(comm, *_arguments(sendbuf, recvbuf), op, torus=torus)

    return Method("auto", "", None, _ours("auto", torus), explain=told)


def _ours(algorithm: str | swing.Schedule, torus: swing.Torus) -> Runner:
    def run(comm: MPI.Intracomm, sendbuf: Vector | None, recvbuf: Vector, op: MPI.Op) -> object:
        given = _arguments(sendbuf, recvbuf)
        return allreduce(comm, *given, op, algorithm=algorithm, torus=torus)

    return run


def _arguments(sendbuf: Vector | None, recvbuf: Vector) -> tuple[Vector, Vector | None]:
    return (recvbuf, None) if sendbuf is None else (sendbuf, recvbuf)


def _library(comm: MPI.Intracomm, sendbuf: Vector | None, recvbuf: Vector, op: MPI.Op) -> None:
    comm.Allreduce(MPI.IN_PLACE if sendbuf is None else sendbuf, recvbuf, op)


def _by_the_host(comm: MPI.Intracomm, sendbuf: Any, recvbuf: Any, op: MPI.Op) -> None:
    send, recv = device.host_for(sendbuf), device.host_for(recvbuf)
    if sendbuf is None:
        device.fetch(recvbuf, recv)
    else:
        device.fetch(sendbuf, send)
    _library(comm, send, recv, op)
    device.put(recv, recvbuf)
