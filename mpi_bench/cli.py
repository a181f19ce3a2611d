"""Command line of mpi_bench. Every rank runs it; only rank 0 prints."""

from __future__ import annotations

import io
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
from mpi4py import MPI

from mpi_bench.formats import STYLES, Json
from mpi_bench.machine import machine
from mpi_bench.measure import SECONDS, measure
from mpi_bench.methods import methods
from mpi_bench.options import counts, fit, use_gpu
from mpi_bench.problem import DTYPES, REDUCTIONS, Problem
from mpi_bench.report import IN_PLACE, OUT_OF_PLACE, MeasuredRow
from netsim.rows import CsvFile
from swing import Torus
from swing.cli import HELP, JSON, command, spelt
from swing.formats.files import check_writable
from swing.parameters import SEVERAL, SIZES, TORUS
from swing.progress import Progress
from swing.text_table import comment, complain


@command(context_settings=HELP)
@click.version_option(package_name="torus-swing", message="torus-swing %(version)s")
@click.option("--topology", "torus", type=TORUS,
              help="The torus, such as torus:2x4; by default, nearly square.")  # fmt: skip
@click.option("--algorithm", "names", type=SEVERAL, multiple=True,
              help="An algorithm, with options as in bucket,segments=6; or auto, all, mpi, or "
              "family (all candidates of netsim tune); may be repeated; mpi is always measured.  "
              "[default: all; with --style osu or nccl, auto]")  # fmt: skip
@click.option("--sizes", type=SIZES, default="32B:1MiB:x8",
              show_default=True, help="Sizes of each rank's vector, in bytes.")  # fmt: skip
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True,
              help="Type of the elements.")  # fmt: skip
@click.option("--op", type=click.Choice(list(REDUCTIONS)), default="sum", show_default=True,
              help="The reduction.")  # fmt: skip
@click.option("--ports", type=click.IntRange(1),
              help="Number of ports, instead of each algorithm's default.")  # fmt: skip
@click.option("--iterations", type=click.IntRange(1),
              help=f"By default, as many as fit into {SECONDS:g} s per size.")  # fmt: skip
@click.option("--warmup", type=click.IntRange(0), default=2, show_default=True,
              help="Iterations before those that are timed.")  # fmt: skip
@click.option("--check/--no-check", default=True, show_default=True, help="Count wrong answers.")
@click.option("--inplace", is_flag=True, help="Reduce in place, as with MPI_IN_PLACE.")
@click.option("--cuda", is_flag=True, help="Vectors in GPU memory; MPI's go through the host.")
@click.option("--alloc", is_flag=True,
              help="Vectors from swing.alloc, in memory that a node shares.")  # fmt: skip
@JSON
@click.option("--style", type=click.Choice(list(STYLES)), default="table", show_default=True,
              help="Print as OSU's benchmarks or (both placements) nccl-tests do.")  # fmt: skip
@click.option("--csv", "path", type=click.Path(dir_okay=False),
              help="Also write the rows to this file.")  # fmt: skip
def main(
    torus: Torus | None, names: tuple[str, ...], sizes: list[int], dtype: str, op: str,
    ports: int | None, iterations: int | None, warmup: int, check: bool, inplace: bool, cuda: bool,
    alloc: bool, as_json: bool, style: str, path: str | None,
) -> int:  # fmt: skip
    """Time allreduce algorithms beside the MPI library's own, and check every answer.

    An iteration takes as long as its slowest rank. The exit status is 1 if an answer is wrong.
    """
    comm = MPI.COMM_WORLD
    here = machine(comm)
    chosen = STYLES[style]
    try:
        torus = fit(torus, comm)
        todo = methods(names or chosen.default, torus, ports, cuda)
        lengths = counts(sizes, np.dtype(dtype).itemsize, here.memory)
        if inplace and chosen.placements:
            raise ValueError(f"--style {style} measures both placements: leave out --inplace")
        if cuda:
            use_gpu(comm)
        _check_writable(path, comm)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    problem = Problem(comm.rank, comm.size, dtype, op)
    given = {"topology": torus.name, "dtype": dtype, "op": op}
    placements = chosen.placements or ((IN_PLACE,) if inplace else (OUT_OF_PLACE,))
    # With more ranks than cores, times include waiting for a core, so ratios mean little.
    ratio = "" if here.shared else "time/mpi"
    printer = (Json if as_json else chosen)([method.name for method in todo], ratio)
    file = CsvFile(path) if path and comm.rank == 0 else None
    done: list[MeasuredRow] = []
    if not as_json:
        _print(comment(f"{torus.name}, {dtype} {op}, {here}"))
        if here.shared:
            _print(comment("more ranks than cores: times include waiting for a core, so no ratios"))
    _print(printer.head())
    with _progress(comm) as progress:
        for i, (nbytes, count) in enumerate(zip(sizes, lengths, strict=True)):
            progress.show("measuring", i, len(sizes))
            rows = []
            for placement in placements:
                samples = measure(
                    comm, todo, problem, count, iterations=iterations, warmup=warmup,
                    inplace=placement == IN_PLACE, check=check, cuda=cuda, alloc=alloc,
                )  # fmt: skip
                rows += [
                    MeasuredRow.of(method, sample, here, nbytes, placement=placement, **given)
                    for method, sample in zip(todo, samples, strict=True)
                ]
            _print(printer.rows(rows))
            done += rows
            if file:  # written at once, so that an interrupted run keeps its rows
                file.add([asdict(row) for row in rows])
    _print(printer.foot(done))
    return int(any(row.wrong for row in done))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, flush=True)


def _check_writable(path: str | None, comm: MPI.Intracomm) -> None:
    """Raise ValueError on every rank if rank 0 cannot write the file."""
    trouble = ""
    if path and comm.rank == 0:
        try:
            check_writable(path)
        except OSError as error:
            trouble = str(error)
    if trouble := comm.bcast(trouble):
        raise ValueError(trouble)


def _progress(comm: MPI.Intracomm) -> AbstractContextManager[Any]:
    """Show progress on rank 0, unless its rows on a terminal do so themselves."""
    if comm.rank or (sys.stdout is not None and sys.stdout.isatty()):
        return nullcontext(SimpleNamespace(show=lambda *_: None))
    return Progress(disturbs=False)


def run(name: str = "mpi-bench") -> int:
    """Run the command on this rank and return its exit status."""
    comm = MPI.COMM_WORLD
    with redirect_stdout(sys.stdout if comm.rank == 0 else io.StringIO()):
        try:
            return int(main.main(prog_name=name, standalone_mode=False))
        except click.ClickException as error:
            if comm.rank == 0:
                complain(" ".join(["error:", *error.format_message().split()]))
            return 2
        except (click.Abort, OSError) as error:
            if comm.rank == 0:
                why = spelt(error) if isinstance(error, OSError) else "interrupted"
                complain(f"error: {why}")
            time.sleep(0.5)
            comm.Abort(2)
        except Exception:
            traceback.print_exc()
            time.sleep(0.5)  # on abort, the launcher drops output that it has not read yet
            comm.Abort(1)  # the others may be waiting for this rank
