"""PyTorch with Swing, in two ways: as a hook of DDP, and without torch.distributed.

Run it with ``mpiexec -n 4 python pytorch_ddp.py``. It compares both with DDP's own allreduce
(gloo), whose process group the ranks set up through a file.
"""

import hashlib
import sys
import tempfile

import torch
from mpi4py import MPI
from torch.nn.parallel import DistributedDataParallel

from swing.integrations.pytorch import average_gradients, ddp_hook

comm = MPI.COMM_WORLD
STEPS = 5


def network():
    """A small network, with the same weights on every rank."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3))


def train(model, parameters, exchange=lambda: None):
    """Train for a few steps on this rank's own data; return the final weights."""
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    data = torch.Generator().manual_seed(1 + comm.rank)
    for _ in range(STEPS):
        inputs, labels = torch.randn(16, 20, generator=data), torch.randn(16, 3, generator=data)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs), labels).backward()
        exchange()
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in parameters])


def digest(weights):
    """A hash of all bits of the weights."""
    return hashlib.sha256(weights.numpy().tobytes()).hexdigest()


torch.set_num_threads(1)
folder = tempfile.TemporaryDirectory() if comm.rank == 0 else None
meeting = comm.bcast(folder and f"file://{folder.name}/meeting")
torch.distributed.init_process_group(
    "gloo", init_method=meeting, rank=comm.rank, world_size=comm.size
)
plain, hooked = DistributedDataParallel(network()), DistributedDataParallel(network())
alone = network()
hooked.register_comm_hook(None, ddp_hook(comm, algorithm="swing"))
results = {
    "DDP with gloo": train(plain, list(plain.parameters())),
    "DDP with Swing's hook": train(hooked, list(hooked.parameters())),
    "no DDP": train(
        alone,
        list(alone.parameters()),
        lambda: average_gradients(alone.parameters(), comm, bucket_bytes=1000),
    ),
}
torch.distributed.destroy_process_group()
comm.Barrier()
if folder:
    folder.cleanup()
all_right = True
for name, weights in results.items():
    near = torch.allclose(weights, results["DDP with gloo"], rtol=1e-4, atol=1e-6)
    same = len(set(comm.allgather(digest(weights)))) == 1
    all_right &= near and same
    if comm.rank == 0:
        print(f"{name}: same bits on every rank: {same}, as gloo's to rounding: {near}")
sys.exit(not all_right)
