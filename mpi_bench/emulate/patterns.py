"""The message patterns of a calibration, run by all ranks: see `mpi_bench.emulate.calibrate`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from mpi_bench.emulate.calibrate import Calibration, payload, payload_rate
from netsim.topologies.grid import Grid
from netsim.topologies.names import topology
from swing import Torus, allreduce, schedule

SMALL = 64
ROUNDS, EXCHANGES, CALLS = 21, 5, 4
TURN = 3e-3
"""Seconds that every rank is given to have its turn on a core."""


def together(comm: MPI.Intracomm) -> float:
    """Wait until a time that rank 0 has named, and return it: all ranks have one clock.

    Some leave a barrier long after others (of 64 ranks on two cores, up to 0.2 s), which would
    count as time of what follows. The ranks sleep for the first half, in which the last of them
    learns the time, and are awake in the second, having their turns, when it strikes.
    """
    comm.Barrier()
    wait = TURN * comm.size
    start: float = comm.bcast(MPI.Wtime() + wait)
    time.sleep(max(0.0, start - wait / 2 - MPI.Wtime()))
    while MPI.Wtime() < start:
        os.sched_yield()
    return start


def calibrate(comm: MPI.Intracomm, torus: Torus, rate: float) -> Calibration:
    """Measure; all ranks call it, in row-major order on the torus."""
    here = torus.coords[comm.rank]
    long = max(torus.active, key=lambda j: torus.dims[j])
    hops = max(1, torus.dims[long] // 2) if torus.wrap[long] else torus.dims[long] - 1

    def shift(reach: int) -> tuple[int, int]:
        """The ranks so many hops up and down."""
        found = []
        for way in (reach, -reach):
            at = here.copy()
            at[long] += way
            inside = torus.wrap[long] or 0 <= at[long] < torus.dims[long]
            found.append(int(torus.rank_at(at)) if inside else MPI.PROC_NULL)
        return found[0], found[1]

    def step(ports: int) -> float:
        """Seconds of a step: what a call of more of them takes longer, over their number."""
        tiny = np.zeros(ports * torus.size, np.float32)

        def once() -> None:
            allreduce(comm, tiny, algorithm="bucket", torus=torus, ports=ports)

        one, some = _longest(comm, once, ROUNDS, 1), _longest(comm, once, ROUNDS, CALLS) * CALLS
        nsteps = schedule("bucket", torus, ports=ports).nsteps
        return max(0.0, some - one) / (CALLS - 1) / nsteps

    place = topology(torus.name)
    assert isinstance(place, Grid)
    large = max(4 * payload(place, rate), round(payload_rate(place, rate) * 0.2))
    far = exchange(comm, shift(hops), SMALL) - exchange(comm, shift(1), SMALL)
    spent = exchange(comm, shift(1), large, 3, 1) - exchange(comm, shift(1), large // 2, 3, 1)
    return Calibration(
        alone=_there_and_back(comm) / 2,
        start=_longest(comm, lambda: None, ROUNDS, 1),
        near=step(1),
        ports=step(torus.ports),
        far=far,
        nports=torus.ports,
        hops=hops,
        bandwidth=(large - large // 2) / max(1e-9, spent),
    )


def exchange(
    comm: MPI.Intracomm, peers: tuple[int, int], nbytes: int,
    rounds: int = ROUNDS, repeat: int = EXCHANGES,
) -> float:  # fmt: skip
    """Seconds to send to the first peer and receive from the second, the slowest rank's."""
    send = np.zeros(nbytes, np.uint8)
    recv = np.empty_like(send)
    return _longest(comm, lambda: comm.Sendrecv(send, peers[0], 0, recv, peers[1]), rounds, repeat)


def _there_and_back(comm: MPI.Intracomm) -> float:
    data = np.zeros(SMALL, np.uint8)

    def once() -> None:
        if comm.rank == 0:
            comm.Send(data, 1)
            comm.Recv(data, 1)
        elif comm.rank == 1:
            comm.Recv(data, 0)
            comm.Send(data, 0)

    return _longest(comm, once, ROUNDS, EXCHANGES)


def _longest(comm: MPI.Intracomm, once: Callable[[], object], rounds: int, repeat: int) -> float:
    seconds = []
    once()  # connects
    for _ in range(rounds):
        start = together(comm)
        for _ in range(repeat):
            once()
        seconds.append((MPI.Wtime() - start) / repeat)
    slowest = np.array(seconds)
    comm.Allreduce(MPI.IN_PLACE, slowest, MPI.MAX)
    return float(np.median(slowest))
