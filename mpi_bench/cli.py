"""Command line of mpi_bench. Every rank runs it; only rank 0 prints."""

from __future__ import annotations

import io
import json
import sys
import time
import traceback
from contextlib import redirect_stdout
from dataclasses import asdict

import click
import numpy as np
from mpi4py import MPI
from rich.console import Console
from rich.progress import Progress

from mpi_bench.formats import STYLES, nccl, osu
from mpi_bench.machine import machine
from mpi_bench.measure import SECONDS, measure
from mpi_bench.methods import methods
from mpi_bench.options import counts, fit, use_gpu
from mpi_bench.problem import DTYPES, REDUCTIONS, Problem
from mpi_bench.report import HEAD, MeasuredRow, line
from netsim.rows import CsvFile
from swing import Torus
from swing.cli import HELP, JSON, spelt
from swing.formats.files import check_writable
from swing.parameters import SIZES, TORUS


@click.command(context_settings=HELP)
@click.version_option(package_name="torus-swing", message="torus-swing %(version)s")
@click.option("--topology", "torus", type=TORUS,
              help="The torus, such as torus:2x4; by default, nearly square.")  # fmt: skip
@click.option("--algorithm", "names", multiple=True, default=["all"], show_default=True,
              help="An algorithm, with options as in bucket,segments=6; or auto, all, mpi, or "
              "family (all candidates of netsim tune); may be repeated.")  # fmt: skip
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
@click.option("--style", type=click.Choice(STYLES), default="table", show_default=True,
              help="Print as OSU's benchmarks or nccl-tests do, one table per method.")  # fmt: skip
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
    try:
        torus = fit(torus, comm)
        todo = methods(names, torus, ports, cuda)
        lengths = counts(sizes, np.dtype(dtype).itemsize, here.memory)
        if cuda:
            use_gpu(comm)
        _check_writable(path, comm)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    problem = Problem(comm.rank, comm.size, dtype, op)
    given = {"topology": torus.name, "dtype": dtype, "op": op}
    wrong, done = 0, list[MeasuredRow]()
    file = CsvFile(path) if path and comm.rank == 0 else None
    with _progress(comm) as progress:
        if not as_json:
            print(f"# {torus.name}, {dtype} {op}, {here}")
            if here.shared:
                print("# more ranks than cores: times include waiting for a core, so no ratios")
            if style == "table":
                print(HEAD if here.shared else f"{HEAD}  {'time/mpi':>8}", flush=True)
        for nbytes, count in progress.track(list(zip(sizes, lengths, strict=True))):
            samples = measure(comm, todo, problem, count, iterations=iterations, warmup=warmup,
                              inplace=inplace, check=check, cuda=cuda, alloc=alloc)  # fmt: skip
            rows = [
                MeasuredRow.of(method, sample, here, nbytes, **given)
                for method, sample in zip(todo, samples, strict=True)
            ]
            for row in rows:
                ratio = "" if here.shared else f"  {row.seconds / rows[0].seconds:8.2f}"
                if as_json or style == "table":
                    text = f"{line(row)}{ratio}"
                    print(json.dumps(asdict(row)) if as_json else text, flush=True)
                wrong += row.wrong or 0
            done += rows
            if file:  # written at once, so that an interrupted run keeps its rows
                file.add([asdict(row) for row in rows])
    if style != "table" and not as_json:
        print(osu(done) if style == "osu" else nccl(done))
    return int(wrong > 0)


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


def _progress(comm: MPI.Intracomm) -> Progress:
    # Rows on a terminal show the progress themselves; a bar is for rows that go to a file.
    shown = comm.rank == 0 and sys.stderr.isatty() and not sys.stdout.isatty()
    console = Console(stderr=True, quiet=not shown)  # older rich ends a disabled bar with a newline
    return Progress(console=console, redirect_stdout=False, transient=True, disable=not shown)


def run(name: str = "mpi-bench") -> int:
    """Run the command on this rank and return its exit status."""
    comm = MPI.COMM_WORLD
    with redirect_stdout(sys.stdout if comm.rank == 0 else io.StringIO()):
        try:
            return int(main.main(prog_name=name, standalone_mode=False))
        except click.ClickException as error:
            if comm.rank == 0:
                print("error:", *error.format_message().split(), file=sys.stderr)
            return 2
        except (click.Abort, OSError) as error:
            if comm.rank == 0:
                why = spelt(error) if isinstance(error, OSError) else "interrupted"
                print(f"error: {why}", file=sys.stderr, flush=True)
            time.sleep(0.5)
            comm.Abort(2)
        except Exception:
            traceback.print_exc()
            time.sleep(0.5)  # on abort, the launcher drops output that it has not read yet
            comm.Abort(1)  # the others may be waiting for this rank
