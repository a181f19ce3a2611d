"""What is measured: allreduce functions with a name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mpi4py import MPI

import swing
from mpi_bench.problem import Vector
from swing.algorithms import variants
from swing.executor import allreduce
from swing.executor.gpu import device
from swing.select.candidates import family
from swing.select.table import Options

GROUPS = ("all", "family", "auto", "mpi")
Runner = Callable[[MPI.Intracomm, Vector | None, Vector, MPI.Op], object]


@dataclass(frozen=True)
class Method:
    """One way to reduce.

    Args:
        algorithm: a name of `swing.ALGORITHMS`, "auto", or "mpi" for the library's own.
        variant: which of the algorithm's variants, where it has several.
        ports: parts of the vector that run side by side; None where it is not ours to know.
        run: reduces ``(comm, sendbuf, recvbuf, op)``; in place where sendbuf is None.
        options: what `swing.schedule` is told, ``variant`` and ``ports`` included.
    """

    algorithm: str
    variant: str
    ports: int | None
    run: Runner = field(compare=False)
    options: Options = ()


def methods(
    names: Iterable[str], torus: swing.Torus, ports: int | None, cuda: bool = False
) -> list[Method]:
    """The library's own allreduce, then the named ones with their variants, each once.

    "all" names every algorithm that can serve the torus with so many ports, and "auto"; "family"
    every schedule that ``python -m netsim tune`` searches among, whatever its ports. With ``cuda``
    the library gets the vectors of GPUs by way of the host.

    Raises:
        ValueError: a name that is none, or an algorithm that can not serve this.
    """
    found = [Method("mpi", "", None, _by_the_host if cuda else _library)]
    for name in names:
        if name not in (*swing.ALGORITHMS, *GROUPS):
            known = ", ".join([*swing.ALGORITHMS, *GROUPS])
            raise ValueError(f"no algorithm {name!r}: choose from {known}")
        for algorithm in swing.ALGORITHMS:
            if name in (algorithm, "all"):
                for variant in variants(algorithm):
                    try:
                        given = {"variant": variant, "ports": ports}
                        options = {key: value for key, value in given.items() if value}
                        found.append(_named(algorithm, torus, options))
                    except ValueError:
                        if name != "all":
                            raise
        if name in ("auto", "all"):
            found.append(Method("auto", "", None, _ours("auto", torus, {})))
        if name == "family":
            found += [_named(each, torus, dict(options)) for each, options in family(torus)]
    return list(dict.fromkeys(found))


def _named(algorithm: str, torus: swing.Torus, options: dict[str, Any]) -> Method:
    parts = swing.schedule(algorithm, torus, **options).parts
    variant, run = options.get("variant", ""), _ours(algorithm, torus, options)
    return Method(algorithm, variant, len(parts), run, tuple(options.items()))


def _ours(name: str, torus: swing.Torus, options: dict[str, Any]) -> Runner:
    def run(comm: MPI.Intracomm, sendbuf: Vector | None, recvbuf: Vector, op: MPI.Op) -> object:
        first, second = (recvbuf, None) if sendbuf is None else (sendbuf, recvbuf)
        return allreduce(comm, first, second, op, algorithm=name, torus=torus, **options)

    return run


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
