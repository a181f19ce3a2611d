"""What trains with `swing.allreduce`: PyTorch where it is installed, and plain numpy."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mpi_bench.launcher import command

ROOT = Path(__file__).parent.parent
torch_only = pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is not installed")


def under_mpi(ranks, *words):
    pytest.importorskip("mpi4py")
    argv, more = command(ranks, [sys.executable, *map(str, words)])
    env = os.environ | more | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("ranks", [1, 3])
def test_numpy_trains_alike_on_any_number_of_ranks(ranks):
    said = under_mpi(ranks, ROOT / "examples" / "numpy_sgd.py")
    assert f"{ranks} ranks: loss 0.6931 to 0.1" in said
    assert "same bits on every rank: yes" in said
    assert "to rounding: True" in said


@torch_only
@pytest.mark.parametrize("ranks", [2, 3])
def test_pytorch_trains_as_with_gloo(ranks):
    said = under_mpi(ranks, ROOT / "examples" / "pytorch_ddp.py")
    assert said.count("same bits on every rank: True, as gloo's to rounding: True") == 3


GRADIENTS = """
import sys
import torch
from mpi4py import MPI
from swing.integrations.pytorch import average_gradients, buckets

comm = MPI.COMM_WORLD
shapes = [(3,), (4, 5), (), (0,), (7, 2), (100,)]
types = [torch.float32, torch.float32, torch.float64, torch.float64, torch.bfloat16, torch.float16]
parameters = [torch.nn.Parameter(torch.zeros(s, dtype=t)) for s, t in zip(shapes, types)]
parameters.append(torch.nn.Parameter(torch.zeros(2), requires_grad=False))
parameters.append(torch.nn.Parameter(torch.zeros(6, 4).t()))  # not contiguous
for size in (1, 50, 10**6):
    for i, p in enumerate(parameters):
        p.grad = None
        if p.requires_grad and not (i == 1 and comm.rank):  # a gradient that others do not have
            p.grad = torch.full_like(p, float(comm.rank + i))
    average_gradients(parameters, comm, bucket_bytes=size, algorithm="swing")
    mean = (comm.size - 1) / 2
    for i, p in enumerate(parameters):
        if not p.requires_grad:
            assert p.grad is None
            continue
        wanted = 1 / comm.size if i == 1 else mean + i
        assert ((p.grad.double() - wanted).abs() <= 1e-2 * wanted).all(), (i, p.grad)
        assert p.grad.shape == p.shape
    for bucket in buckets([p for p in parameters if p.requires_grad], size):
        assert len({p.dtype for p in bucket}) == 1
        assert len(bucket) == 1 or sum(p.numel() * p.element_size() for p in bucket) <= size
sparse = torch.nn.Parameter(torch.zeros(3))
sparse.grad = torch.zeros(3).to_sparse()
for bad in (dict(parameters=[sparse]), dict(parameters=[], bucket_bytes=0)):
    try:
        average_gradients(comm=comm, **bad)
    except ValueError as error:
        continue
    sys.exit("not refused")
"""


LARGE = """
import torch
from mpi4py import MPI
from swing.integrations.pytorch import average_gradients, ddp_hook

class Bucket:
    gradient = torch.full((3,), 40000.0, dtype=torch.float16)

    def buffer(self):
        return self.gradient

p = torch.nn.Parameter(torch.zeros(3, dtype=torch.float16))
p.grad = torch.full((3,), 40000.0, dtype=torch.float16)
average_gradients([p], MPI.COMM_WORLD)
assert (p.grad == 40000).all(), p.grad
hooked = ddp_hook(MPI.COMM_WORLD)(None, Bucket()).wait()
assert (hooked == 40000).all(), hooked
"""


VIEWS = """
import torch
from mpi4py import MPI
import swing
from swing.integrations.pytorch import average, average_gradients

comm = MPI.COMM_WORLD
value = torch.tensor([1 + 2j, 3 - 1j, 0])
p = torch.nn.Parameter(torch.zeros(3, dtype=torch.complex64))
p.grad = value.conj() if comm.rank == 0 else value.conj().resolve_conj()
average_gradients([p], comm)
assert (p.grad == value.conj()).all(), p.grad
negated = value.conj().imag.clone() if comm.rank else value.conj().imag
average(negated, comm)
assert (negated == -value.imag).all(), negated
for view in (value.conj(), value.conj().imag):
    try:
        swing.allreduce(comm, view)
    except ValueError as error:
        assert len(str(error)) < 300
    else:
        raise SystemExit("not refused")
half = torch.full((2, 3), 1.5, dtype=torch.bfloat16)
assert swing.allreduce(comm, half) is half
assert (half == 3).all()
total = swing.allreduce(comm, half, torch.empty_like(half), MPI.MAX)
assert (total == 3).all()
"""


@torch_only
def test_conjugated_and_negated_views_and_bfloat16(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(VIEWS)
    under_mpi(2, program)


@torch_only
def test_the_average_of_large_float16_gradients_is_finite(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(LARGE)
    under_mpi(2, program)


@torch_only
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_gradients_of_any_type_and_shape_are_averaged(ranks, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(GRADIENTS)
    under_mpi(ranks, program)


def test_the_module_does_without_pytorch_until_it_is_used():
    code = "import sys, swing.integrations.pytorch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
