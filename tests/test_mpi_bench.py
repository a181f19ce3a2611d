import csv
import json
import mmap
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpi_bench.formats import STYLES
from mpi_bench.launcher import SHARED_CORES, command, sweep
from mpi_bench.report import MeasuredRow
from netsim.search.measured import measured_table
from swing import Torus, schedule
from swing.algorithms.spelling import parse
from swing.sizes import MAX_BYTES, format_size, parse_size, parse_sizes

BENCH = ["-m", "mpi_bench"]
QUICK = ["--iterations", "2", "--warmup", "1"]
KEYS = [
    *("topology", "algorithm", "variant", "nbytes", "seconds", "goodput_gbps", "model", "ranks"),
    *(
        "ports",
        "dtype",
        "op",
        "time_us_min",
        "time_us_mean",
        "time_us_median",
        "time_us_p90",
        "time_us_p99",
    ),
    *("time_us_max", "algbw", "busbw", "wrong", "iterations", "mpi", "cores", "options"),
    *("software", "placement", "ran"),
]

# An allreduce with a fault planted on rank 1, measured by the command line as it is.
PLANTED = """
import sys
from mpi_bench import cli, methods

honest = methods.allreduce

def allreduce(comm, sendbuf, recvbuf, op, **options):
    honest(comm, sendbuf, recvbuf, op, **options)
    if comm.rank == 1:
        {fault}

methods.allreduce = allreduce
sys.exit(cli.run())
"""


def mpirun(n, *argv, **environment):
    """Runs ranks. The lines of progress that a busy machine may cause are left out."""
    start, extra = command(n, [sys.executable, *argv])
    done = subprocess.run(
        start, env=os.environ | extra | environment, capture_output=True, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    done.stderr = re.sub(r"^measuring: .* so far.*\n", "", done.stderr, flags=re.MULTILINE)
    return done


def complaints(done):
    """The lines on standard error, less what Open MPI's launcher adds about any status but 0."""
    lines = done.stderr.split("-" * 40)[0].splitlines()
    return [line for line in lines if "PMIX ERROR" not in line]


def mpirun_each(n, *lines):
    """Several command lines in one job: its status is the largest."""
    script = """if True:
        import json, sys
        from mpi_bench.cli import run
        status = []
        for sys.argv[1:] in json.loads(sys.argv[1]):
            status.append(run())
        sys.exit(max(status))
    """
    return mpirun(n, "-c", script, json.dumps(lines))


@given(st.integers(1, MAX_BYTES))
def test_a_size_reads_back(nbytes):
    assert parse_size(format_size(nbytes)) == nbytes
    assert parse_size(str(nbytes)) == nbytes


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.integers(2, 2**20))
def test_a_range_goes_from_first_to_last_by_its_factor(first, more, factor):
    last = first + more
    sizes = parse_sizes(f"{first}:{last}:x{factor}")
    assert sizes[0] == first
    assert all(b == a * factor for a, b in pairwise(sizes))
    assert sizes[-1] <= last < sizes[-1] * factor


@given(st.lists(st.integers(1, MAX_BYTES), min_size=1))
def test_a_list_is_ascending_and_has_each_size_once(sizes):
    assert parse_sizes(", ".join(map(format_size, sizes))) == sorted(set(sizes))


def test_sizes_are_written_as_people_write_them():
    assert parse_sizes("32B:128MiB:x4") == [2**k for k in range(5, 28, 2)]
    assert parse_sizes("1KiB:4KiB") == [1024, 2048, 4096]
    assert parse_sizes("2 mib,512") == [512, 2**21]


@pytest.mark.parametrize(
    "text",
    ["", " ", "foo", "-1B", "0", "0KiB", "1.5MiB", "1KB", "2XiB", "9999TiB", "9" * 5000, "²B",
     "1e3", "1B,,2B", "4KiB:1KiB", "1B:8B:x1", "1B:8B:x0", "1B:8B:x-2", "1B:8B:4", "1B:8B:x2:x2",
     ":", "1B:", "1B:inf:x2", "32B\n64B\nfoo"],
)  # fmt: skip
def test_no_size_is_one_clear_line(text):
    with pytest.raises(ValueError, match=r"write|from|put|multiply") as error:
        parse_sizes(text)
    assert "\n" not in str(error.value)


def test_the_launcher_starts_ranks_and_no_mpi_of_its_own():
    ranks = "from mpi4py.MPI import COMM_WORLD as c; r = c.gather(c.rank); c.rank or print(r)"
    assert mpirun(3, "-c", ranks).stdout == "[0, 1, 2]\n"
    alone = "import sys, mpi_bench.launcher; sys.exit('mpi4py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", alone], check=False).returncode == 0


def test_ranks_begin_at_one_time_and_measure_counts_from_it():
    ranks = (
        "from mpi4py import MPI; from mpi_bench.emulate.patterns import together;"
        "from mpi_bench.measure import measure; from mpi_bench.methods import methods;"
        "from mpi_bench.problem import Problem; import swing; c = MPI.COMM_WORLD;"
        "start = together(c); late = MPI.Wtime() - start; everyone = c.allgather(start);"
        "some = methods(['mpi'], swing.Torus(3), None); p = Problem(c.rank, 3, 'float32', 'sum');"
        "s = measure(c, some, p, 8, iterations=2, begin=lambda c: MPI.Wtime() - 1)[0].seconds;"
        "assert late >= 0 and len(set(everyone)) == 1 and min(s) >= 1 and len(s) == 2;"
        "c.Barrier(); c.rank or print('good')"
    )
    done = mpirun(3, "-c", ranks)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good\n", "")


@pytest.mark.parametrize(
    ("installed", "chosen", "extra"),
    [
        (["mpiexec", "mpiexec.gforker"], "mpiexec.gforker", {}),
        (["mpiexec"], "mpiexec", SHARED_CORES),
    ],
)
def test_the_launcher_takes_what_is_installed(installed, chosen, extra, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name in installed:
        (tmp_path / "bin" / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    start = [str(tmp_path / "bin" / chosen), "-n", "4", "python", "x.py"]
    assert command(4, ["python", "x.py"]) == (start, extra)


def test_the_launcher_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="pip install"):
        command(2, ["python"])


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="Linux keeps shared memory there")
def test_what_dead_jobs_left_in_shared_memory_goes():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        names = ["mpich_shm_dead_0", "sm_segment.dead", "mpich_shm_alive_0", "mpich_shm_new_0", "x"]
        files = {name: Path(folder, name) for name in names}
        for name, file in files.items():
            file.write_bytes(bytes(8))
            if "new" not in name:
                os.utime(file, (0, 0))
        with (
            files["mpich_shm_alive_0"].open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ),
        ):
            assert sweep(Path(folder)) == sorted(names[:2])
        assert sorted(os.listdir(folder)) == sorted(names[2:])


def test_rows_are_json_and_csv_and_right(tmp_path):
    file = tmp_path / "rows.csv"
    given = ["--topology", "torus:2", "--sizes", "32B,64KiB", "--json", "--csv", str(file)]
    done = mpirun(2, *BENCH, *given, *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(list(row) == KEYS for row in rows)
    assert all(row["wrong"] == 0 and row["iterations"] == 2 for row in rows)
    assert {row["nbytes"] for row in rows} == {32, 65536}
    assert {"mpi", "auto", "swing", "ring"} <= {row["algorithm"] for row in rows}
    assert len({(r["nbytes"], r["algorithm"], r["variant"]) for r in rows}) == len(rows)
    for row in rows:
        times = [row[f"time_us_{name}"] for name in ("min", "median", "p90", "p99", "max")]
        assert times == sorted(times)
        assert row["time_us_min"] <= row["time_us_mean"] <= row["time_us_max"]
        name, options = parse(row["ran"])  # what ran, as a command would run it again
        if row["algorithm"] != "mpi":
            assert (name == row["algorithm"]) == (row["algorithm"] != "auto")
            assert (json.loads(row["options"]), row["variant"]) == (
                options, options.get("variant", "")
            )  # fmt: skip
            assert row["ports"] == len(schedule(name, Torus(2), **options).parts)
        assert row["time_us_median"] == pytest.approx(row["seconds"] * 1e6)
        assert row["algbw"] == pytest.approx(row["nbytes"] / row["seconds"] / 1e9)
        assert row["goodput_gbps"] == pytest.approx(8 * row["algbw"])
        assert row["busbw"] == pytest.approx(row["algbw"])  # 2 (p - 1) / p = 1 for p = 2
    written = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["algorithm"], float(row["seconds"])) for row in written] == [
        (row["algorithm"], row["seconds"]) for row in rows
    ]
    (entry,) = measured_table([str(file)]).entries.values()
    assert entry.sizes == (32, 65536)
    assert {c.algorithm for c in entry.candidates} == {r["algorithm"] for r in rows} - {
        "mpi", "auto",
    }  # fmt: skip


def test_answers_are_exact_for_every_op_in_place_or_not():
    given = ["--sizes", "8B,40KiB", "--algorithm", "swing", "--json", *QUICK]
    done = mpirun_each(
        3,
        [*given, "--op", "sum", "--dtype", "float64"],
        [*given, "--op", "prod", "--dtype", "int8", "--inplace"],
        [*given, "--op", "max", "--dtype", "float16", "--alloc"],
        [*given, "--op", "min", "--dtype", "uint8", "--inplace"],
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["op"] for row in rows} == {"sum", "prod", "max", "min"}
    assert all(row["wrong"] == 0 for row in rows)


def test_rows_are_printed_as_osu_and_nccl_tests_do():
    given = ["--sizes", "32B,1KiB", "--algorithm", "ring", *QUICK]
    done = mpirun_each(2, [*given, "--style", "osu"], [*given, "--style", "nccl"])
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines() if line[0] != "#"]
    osu, nccl = rows[:4], rows[4:]
    assert [(row[0], row[-1]) for row in osu] == [
        ("32", "mpi"), ("32", "ring"), ("1024", "mpi"), ("1024", "ring")
    ]  # fmt: skip
    assert all(row[7:9] == ["2", "Pass"] for row in osu)
    for _, mean, least, most, median, *_ in osu:  # of two iterations, the mean is the median
        assert mean == median
        assert float(least) <= float(mean) <= float(most)
    assert [row[:5] for row in nccl[1:3]] == [
        ["32", "8", "float32", "sum", "-1"], ["1024", "256", "float32", "sum", "-1"]
    ]  # fmt: skip
    assert all((row[8], row[12]) == ("0", "0") for row in nccl)
    assert all(len(row) == 14 for row in nccl)  # both placements side by side
    assert not any(float(rate) == 0 for row in nccl for rate in (*row[6:8], *row[10:12]))
    assert done.stdout.count("# Out of bounds values : 0 OK") == 1


def test_columns_stay_apart_however_long_a_call_takes():
    """From a microsecond to a day, a byte to the largest vector."""
    text = {"topology": "torus:2", "algorithm": "ring", "variant": "", "model": "measured",
            "op": "sum", "mpi": "", "options": "{}", "software": "", "ran": "ring"}  # fmt: skip
    for seconds, nbytes, dtype in ((1e-6, 4, "int32"), (2.0, 2**20, "float64"),
                                   (86400.0, MAX_BYTES, "complex128")):  # fmt: skip
        row = MeasuredRow(
            **text, nbytes=nbytes, seconds=seconds, goodput_gbps=1.0, ranks=2, ports=1, dtype=dtype,
            **{f"time_us_{key}": seconds * 1e6
               for key in ("min", "mean", "median", "p90", "p99", "max")},
            algbw=nbytes / seconds / 1e9, busbw=nbytes / seconds / 1e9, wrong=10**7 - 1,
            iterations=2, cores=2, placement="out-of-place",
        )  # fmt: skip
        both = [row, replace(row, placement="in-place")]
        (nccl,) = STYLES["nccl"](["ring"]).rows(both)
        assert len(nccl.split()) == 14
        assert nccl.split()[:3] == [str(nbytes), str(nbytes // np.dtype(dtype).itemsize), dtype]
        assert float(nccl.split()[5]) == pytest.approx(seconds * 1e6)
        assert [len(line.split()) for line in STYLES["osu"](["ring"]).rows(both)] == [10, 10]


def test_the_styles_of_other_benchmarks_measure_mpi_and_auto_only_and_every_placement():
    given = ["--sizes", "4B", "--json", *QUICK]
    done = mpirun_each(2, [*given, "--style", "osu"], [*given, "--style", "nccl"])
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    both = [("mpi", "out-of-place"), ("auto", "out-of-place"), ("mpi", "in-place"),
            ("auto", "in-place")]  # fmt: skip
    assert [(row["algorithm"], row["placement"]) for row in rows] == [*both[:2], *both]


def test_rows_of_other_styles_come_as_they_are_measured():
    """A method that fails at the second size leaves the first size printed."""
    script = PLANTED.format(fault="assert sendbuf.size < 100, 'planted'")
    for style in ("osu", "nccl"):
        given = ["--sizes", "32B,64KiB", "--algorithm", "ring", "--style", style]
        done = mpirun(2, "-c", script, *given, *QUICK)
        assert done.returncode != 0
        rows = [line.split() for line in done.stdout.splitlines() if line[0] != "#"]
        assert [(row[0], row[-1]) for row in rows] == [("32", "mpi"), ("32", "ring")]


CUDA = ["--cuda", "--sizes", "32B,64KiB", "--algorithm", "swing", "--json"]


def test_vectors_of_gpus_are_measured_the_same():
    script = """
import sys
import pytest
from mpi_bench.cli import run
from tests.gpu_standin import install
cupy = install(pytest.MonkeyPatch())
status = []
for more in ([], ["--inplace"], ["--alloc", "--algorithm", "auto"]):
    sys.argv += more
    cupy.log.clear()
    status.append(run())
    assert "set" in cupy.log
    assert ("kernel" in cupy.log) == ("--alloc" in more)
sys.exit(max(status))
"""
    done = mpirun(2, "-c", script, *CUDA, *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["algorithm"] for row in rows} == {"mpi", "swing", "auto"}
    assert all(row["wrong"] == 0 for row in rows)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("more", [[], ["--alloc"]])
def test_ranks_that_share_a_gpu_get_right_answers(dtype, more):
    given = ["--cuda", "--sizes", "32B,8MiB", "--algorithm", "swing", "--algorithm", "auto"]
    done = mpirun(4, "-m", "mpi_bench", *given, "--dtype", dtype, *more, "--json", *QUICK)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["wrong"] for line in done.stdout.splitlines()] == [0] * 8


def test_without_a_gpu_there_is_one_line_that_says_so():
    script = (
        "import sys; sys.modules['cupy'] = None; from mpi_bench.cli import run; sys.exit(run())"
    )
    done = mpirun(2, "-c", script, *CUDA)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.startswith("error: GPU arrays need CuPy") for line in complaints(done)] == [True]


@pytest.mark.gpu
def test_vectors_of_a_gpu_are_measured():
    done = mpirun(2, *BENCH, *CUDA)
    assert (done.returncode, done.stderr) == (0, "")


def test_vectors_are_reduced_in_place_or_in_shared_memory_where_that_is_asked_for():
    script = """
import sys
from mpi_bench import cli, methods
from swing.executor.plan.shared import Shared

honest, usual, seen = methods.allreduce, list(sys.argv), set()

def allreduce(comm, sendbuf, recvbuf, op, **options):
    seen.add((recvbuf is None, isinstance(sendbuf, Shared)))
    honest(comm, sendbuf, recvbuf, op, **options)

methods.allreduce = allreduce
for more in ([], ["--inplace"], ["--alloc"]):
    sys.argv = usual + more
    seen.clear()
    assert cli.run() == 0
    assert seen == {("--inplace" in more, "--alloc" in more)}
"""
    done = mpirun(2, "-c", script, "--sizes", "64KiB", "--algorithm", "ring", *QUICK)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_wrong_element_is_counted():
    # One warm-up and one last round are checked, with three wrong elements on one rank in each.
    script = PLANTED.format(fault="recvbuf[[0, 5, -1]] += 1")
    given = ["--sizes", "64KiB", "--algorithm", "ring", "--json"]
    done = mpirun(2, "-c", script, *given, *QUICK)
    wrong = {row["algorithm"]: row["wrong"] for row in map(json.loads, done.stdout.splitlines())}
    assert wrong == {"mpi": 0, "ring": 6}
    assert done.returncode == 1


def test_an_answer_left_from_before_is_not_taken_for_one():
    script = PLANTED.format(fault="pass").replace("honest(comm", "(lambda *a, **k: None)(comm")
    done = mpirun(2, "-c", script, "--sizes", "64KiB", "--algorithm", "ring", "--json", *QUICK)
    wrong = {row["algorithm"]: row["wrong"] for row in map(json.loads, done.stdout.splitlines())}
    assert wrong == {"mpi": 0, "ring": 2 * 2 * 16384}


def test_a_rank_that_fails_ends_the_job():
    script = PLANTED.format(fault="raise RuntimeError('planted')")
    done = mpirun(2, "-c", script, "--sizes", "32B", "--algorithm", "ring", *QUICK)
    assert done.returncode != 0
    assert done.stderr.count("RuntimeError: planted") == 1


BAD = {
    "write a whole number": ["--sizes", "foo"],
    "as in 2MiB": ["--sizes", "-4KiB"],
    "divisible by 4": ["--sizes", "30B"],
    "choose --sizes up to": ["--sizes", "1024TiB"],
    "written like torus:8x8": ["--topology", "hexagon:8"],
    "mpiexec -n 8, or --topology torus:2": ["--topology", "torus:2x2x2"],
    "choose from swing, recursive": ["--algorithm", "foo"],
    "ports": ["--algorithm", "swing", "--ports", "9"],
    "no option 'ports'": ["--algorithm", "hamiltonian", "--ports", "2"],
    "is not one of": ["--dtype", "string"],
    "x>=1": ["--iterations", "0"],
    "cannot write": ["--csv", "/no/such/folder/rows.csv"],
    "No such option": ["--frobnicate"],
}


def test_bad_input_is_one_line_that_names_the_mend():
    done = mpirun_each(2, *BAD.values())
    assert done.stdout == ""
    for remedy, line in zip(BAD, complaints(done), strict=True):
        assert line.startswith("error: ")
        assert remedy in line


@pytest.mark.parametrize("remedy", ["write a whole number", "mpiexec -n 8, or --topology torus:2"])
def test_bad_input_ends_the_job_with_status_2(remedy):
    done = mpirun(2, *BENCH, *BAD[remedy])
    assert (done.returncode, done.stdout, len(complaints(done))) == (2, "", 1)


def test_help_is_printed_once():
    done = mpirun(2, *BENCH, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage:") == 1


@pytest.fixture
def two_cores():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("cores cannot be chosen here")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("two_cores")
def test_more_ranks_than_cores_get_a_line_and_no_ratio():
    given = ["--topology", "torus:2x4", "--sizes", "1KiB", "--algorithm", "swing"]
    done = mpirun(8, *BENCH, *given, *QUICK)
    assert (done.returncode, done.stderr) == (0, "")
    assert sum("more ranks than cores" in line for line in done.stdout.splitlines()) == 1
    assert "time/mpi" not in done.stdout
    _, head, _, *rows = [line.split() for line in done.stdout.splitlines() if line[0] != "#"]
    assert head[-1] == "#wrong"
    assert rows
    assert all(row[-1] == "0" for row in rows)


@pytest.mark.usefixtures("two_cores")
def test_where_each_rank_has_a_core_the_ratio_to_mpi_is_given():
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    done = mpirun(2, *BENCH, "--sizes", "1KiB", "--algorithm", "auto", *QUICK)
    _, head, _, mpi, auto = [line.split() for line in done.stdout.splitlines() if line[0] != "#"]
    assert head[-1] == "time/mpi"
    assert (mpi[2], mpi[-1], auto[2]) == ("mpi", "1.00", "auto")
