"""simulate: what a schedule costs on a network, under a model chosen by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from netsim.load import check_dims, link_load, traffic
from netsim.models import MODELS
from netsim.network import Network
from swing.schedule import Message, Schedule


class Bottleneck(NamedTuple):
    """The busiest link of the costliest step: its ends (nodes) and who uses it."""

    link: tuple[int, int]
    step: int
    messages: tuple[Message, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class Run:
    """One simulated collective.

    Args:
        seconds: from start to end.
        congestion: Σ over steps of the busiest directed link's bytes ÷ (n/D).
        step_seconds: (nsteps,) what each step adds.
    """

    schedule: Schedule
    network: Network
    nbytes: int
    model: str
    seed: int
    seconds: float
    congestion: float
    step_seconds: np.ndarray = field(repr=False)

    @property
    def goodput(self) -> float:
        """Bytes of the vector per second."""
        return self.nbytes / self.seconds if self.seconds else float("inf")

    @cached_property
    def link_bytes(self) -> np.ndarray:
        """(ndim, 2, size) bytes over every directed link in all steps (see TorusTopology)."""
        total = np.zeros((len(self.network.topology.dims), 2, self.network.topology.size))
        for s in range(self.schedule.nsteps):
            total += self.step_bytes(s)
        return total

    def step_bytes(self, s: int) -> np.ndarray:
        """(ndim, 2, size) bytes over every directed link in step s."""
        net = self.network
        return self.nbytes * link_load(self.schedule, s, net.topology, net.ties, self.seed)

    @cached_property
    def bottleneck(self) -> Bottleneck | None:
        """Where the time goes; None if nothing is sent."""
        if not self.schedule.nsteps:
            return None
        s = int(self.step_seconds.argmax())
        topology, step = self.network.topology, self.schedule.step(s)
        load = self.step_bytes(s)
        j, way, node = (int(i) for i in np.unravel_index(load.argmax(), load.shape))
        users = topology.crossing(
            traffic(self.schedule, step), (j, way, node), self.network.ties, (self.seed, s)
        )
        messages = tuple(step.message(int(i)) for i in users)
        return Bottleneck(topology.ends((j, way, node)), s, messages, float(self.step_seconds[s]))


def simulate(
    schedule: Schedule,
    network: Network,
    nbytes: int,
    model: str = "analytic",
    *,
    seed: int = 0,
) -> Run:
    """Run a schedule on a simulated network.

    Args:
        schedule: for ``swing.Torus(dims)`` with the dimensions of the network's topology.
        network: topology and costs.
        nbytes: size of the vector on each rank, in bytes.
        model: a key of `netsim.models.MODELS`.
        seed: for random ties.

    Raises:
        ValueError: dimensions that differ, a negative size, an unknown model.

    >>> import netsim, swing
    >>> network = netsim.paper_network("torus:8x8")
    >>> run = netsim.simulate(swing.schedule("swing", swing.Torus((8, 8))), network, 2**21)
    >>> f"{run.seconds * 1e6:.1f} us, {run.goodput * 8 / 1e9:.0f} Gb/s, {run.congestion:.4f}"
    '36.8 us, 455 Gb/s, 1.0781'
    """
    if isinstance(nbytes, bool) or nbytes != int(nbytes) or nbytes < 0:
        raise ValueError(f"nbytes must be a whole number of bytes from 0 up, not {nbytes}")
    if model not in MODELS:
        raise ValueError(f"no model {model!r}: choose from {', '.join(MODELS)}")
    check_dims(schedule, network.topology)
    seconds, peaks = MODELS[model](schedule, network, int(nbytes), seed)
    congestion = float(np.sum(peaks)) * network.topology.ndim
    return Run(
        schedule, network, int(nbytes), model, seed, float(np.sum(seconds)), congestion, seconds
    )


def row(run: Run) -> dict[str, object]:
    """A run as a line of results, with the columns that measured runs have too."""
    return {
        "topology": run.network.topology.name,
        "algorithm": run.schedule.name,
        "variant": run.schedule.variant,
        "ports": len(run.schedule.parts),
        "nbytes": run.nbytes,
        "seconds": run.seconds,
        "goodput_gbps": run.goodput * 8 / 1e9 if run.seconds else None,
        "congestion": run.congestion,
        "model": run.model,
        "bandwidth_gbps": run.network.bandwidth * 8 / 1e9,
        "ties": run.network.ties,
        "seed": run.seed,
    }


__all__: Sequence[str] = ["Bottleneck", "Run", "row", "simulate"]
