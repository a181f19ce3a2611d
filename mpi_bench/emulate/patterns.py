"""Run the message patterns of a calibration, see `mpi_bench.emulate.calibrate`, on all ranks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from mpi_bench.emulate.calibrate import Calibration, payload, payload_rate
from netsim.topologies.names import topology
from swing import Torus, allreduce, schedule

SMALL = 64  # bytes of a message whose transmission time does not matter
ROUNDS, EXCHANGES, CALLS = 21, 5, 4
PROBE = "bucket"
"""The algorithm whose steps are timed: with few ports or all, it sends to neighbours only."""
TURN = 3e-3
"""Seconds allowed per rank for its turn on a core."""


def together(comm: MPI.Intracomm) -> float:
    """Wait until a start time that rank 0 sets, and return it; all ranks share one clock.

    A barrier is not enough: some ranks leave it long after others (with 64 ranks on two cores, up
    to 0.2 s), and the delay would count as time of the operation measured. The ranks sleep for the
    first half of the wait, in which the last of them receives the start time, and take turns on the
    cores in the second half, so that all are awake at the start.
    """
    comm.Barrier()
    wait = TURN * comm.size
    start: float = comm.bcast(MPI.Wtime() + wait)
    time.sleep(max(0.0, start - wait / 2 - MPI.Wtime()))
    while MPI.Wtime() < start:
        os.sched_yield()
    return start


def calibrate(comm: MPI.Intracomm, torus: Torus, rate: float) -> Calibration:
    """Measure a calibration; a collective call.

    Args:
        comm: the ranks, in row-major order on the torus.
        torus: the emulated torus.
        rate: of a link, in bits per second.
    """
    own = torus.coords[comm.rank]
    long = max(torus.active, key=lambda j: torus.dims[j])
    hops = max(1, torus.dims[long] // 2) if torus.wrap[long] else torus.dims[long] - 1

    def shift(reach: int) -> tuple[int, int]:
        """Return the ranks ``reach`` hops up and down along the longest dimension."""
        peers = []
        for offset in (reach, -reach):
            coords = own.copy()
            coords[long] += offset
            inside = torus.wrap[long] or 0 <= coords[long] < torus.dims[long]
            peers.append(int(torus.rank_at(coords)) if inside else MPI.PROC_NULL)
        return peers[0], peers[1]

    def step(ports: int) -> float:
        """Return the seconds of a step: the additional time of further calls, per step.

        The difference between `CALLS` calls and one removes the cost of starting together.
        """
        tiny = np.zeros(ports * torus.size, np.float32)

        def once() -> None:
            allreduce(comm, tiny, algorithm=PROBE, torus=torus, ports=ports)

        one, several = _longest(comm, once, ROUNDS, 1), _longest(comm, once, ROUNDS, CALLS) * CALLS
        nsteps = schedule(PROBE, torus, ports=ports).nsteps
        return max(0.0, several - one) / (CALLS - 1) / nsteps

    grid = topology(torus.name)
    # A message of about 0.2 s: long against every latency, and half of it as well.
    large = max(4 * payload(grid, rate), round(payload_rate(grid, rate) * 0.2))
    far = exchange(comm, shift(hops), SMALL) - exchange(comm, shift(1), SMALL)
    spent = exchange(comm, shift(1), large, 3, 1) - exchange(comm, shift(1), large // 2, 3, 1)
    return Calibration(
        alone=_round_trip(comm) / 2,
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
    """Return the slowest rank's seconds to send to the first peer and receive from the second.

    Args:
        comm: the ranks.
        peers: the rank to send to and the rank to receive from.
        nbytes: size of the message.
        rounds: number of measurements, of which the median counts.
        repeat: number of exchanges per measurement.
    """
    send = np.zeros(nbytes, np.uint8)
    recv = np.empty_like(send)
    return _longest(comm, lambda: comm.Sendrecv(send, peers[0], 0, recv, peers[1]), rounds, repeat)


def _round_trip(comm: MPI.Intracomm) -> float:
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
    once()  # MPI connects two ranks at their first message
    for _ in range(rounds):
        start = together(comm)
        for _ in range(repeat):
            once()
        seconds.append((MPI.Wtime() - start) / repeat)
    slowest = np.array(seconds)
    comm.Allreduce(MPI.IN_PLACE, slowest, MPI.MAX)
    return float(np.median(slowest))
