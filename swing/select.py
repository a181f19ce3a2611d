"""Which algorithm for this torus, size and machine: closed forms, no simulation.

On a network the choice is the least of

    T = steps·step + hops·hop + congestion·n/(D·bandwidth)

over Swing (latency- and bandwidth-optimal), bucket and, where it exists, hamiltonian, all on 2D
ports. Swing's hops and congestion are sums over its steps of the distance δ: with all parts every
link of a step's dimension carries δ messages [Swing paper, §3-4]. Ranks that share one node have
no links to share: they use one port, latency-optimal up to `NODE_LATENCY_BYTES`.

The sums take all dimensions to be rings of powers of two. Elsewhere they are rough, and say so: on
meshes and odd sizes the choice has been up to 3.6 times slower than the best.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from swing.algorithms import ALGORITHMS, make
from swing.algorithms.hamiltonian import cycles
from swing.algorithms.swing import rho
from swing.schedule import Schedule
from swing.torus import Torus

NODE_LATENCY_BYTES = 32 * 1024
"""Measured on shared memory: from here on halving the traffic outweighs twice the steps."""


class Network(Protocol):
    """What the choice needs of a network; `netsim.Network` is one."""

    @property
    def bandwidth(self) -> float:
        """Of a link, in bytes per second."""

    def latency(self, hops: int) -> float:
        """Seconds until the first byte of a message over some hops arrives."""


@dataclass(frozen=True)
class Machine:
    """Costs in seconds: of a step, of a hop, and bytes per second of a link."""

    step: float
    hop: float
    bandwidth: float

    def latency(self, hops: int) -> float:
        """Seconds until the first byte of a message over some hops arrives."""
        return self.step + hops * self.hop


MACHINES: dict[str, Network] = {
    "paper": Machine(0.5102e-6, 0.4051e-6, 50e9),  # §5 of the Swing paper
    "cluster": Machine(2e-6, 0.1e-6, 10e9),  # MPI over a torus of today, by rule of thumb
}


@dataclass(frozen=True)
class Choice:
    """An algorithm, its options, and why; ``others`` holds the predicted seconds of each rival."""

    algorithm: str
    options: dict[str, Any]
    why: str
    seconds: float | None = None
    others: dict[str, float] = field(default_factory=dict)

    def schedule(self, torus: Torus) -> Schedule:
        """The schedule that was chosen."""
        return make(self.algorithm, torus, **self.options)


def choose(torus: Torus, nbytes: int, machine: str | Network = "paper") -> Choice:
    """The algorithm to run.

    Args:
        torus: the ranks.
        nbytes: size of the vector on each rank, in bytes.
        machine: "node" (ranks that share memory), a key of `MACHINES`, or a network.

    Raises:
        ValueError: an unknown machine.

    >>> choose(Torus((8, 8)), 2**10).options
    {'variant': 'latency'}
    >>> choose(Torus((8, 8)), 2**29).algorithm
    'bucket'
    """
    if machine == "node":
        small = nbytes <= NODE_LATENCY_BYTES
        variant = "latency" if small else "bandwidth"
        why = f"one node, {'up to' if small else 'above'} {NODE_LATENCY_BYTES} bytes"
        return Choice("swing", {"variant": variant, "ports": 1}, why)
    if isinstance(machine, str):
        if machine not in MACHINES:
            names = ", ".join(["node", *MACHINES])
            raise ValueError(f"no machine {machine!r}: choose from {names}, or pass a network")
        machine = MACHINES[machine]
    times = {
        (name, variant): _seconds(machine, len(torus.active), nbytes, *figures)
        for (name, variant), figures in _candidates(torus).items()
    }
    name, variant = min(times, key=times.__getitem__)
    ranked = sorted(times.items(), key=lambda item: item[1])
    others = {f"{n} {v}".strip(): t for (n, v), t in ranked[1:]}
    runner = next(iter(others))
    exact = all(torus.wrap) and all(d & (d - 1) == 0 for d in torus.dims)
    return Choice(
        name,
        {"variant": variant} if variant else {},
        f"predicted {times[name, variant] * 1e6:.1f} us; next is {runner}: "
        f"{others[runner] * 1e6:.1f} us" + ("" if exact else "; rough on this torus"),
        times[name, variant],
        others,
    )


def schedule(
    name: str,
    torus: Torus,
    *,
    nbytes: int | None = None,
    machine: str | Network = "paper",
    **options: Any,
) -> Schedule:
    """The schedule an algorithm makes for a torus.

    Args:
        name: a key of `ALGORITHMS`, or "auto".
        torus: the ranks.
        nbytes: for "auto" only, as in `choose`.
        machine: for "auto" only, as in `choose`.
        options: what the algorithm's function takes by keyword.

    Raises:
        ValueError: no such algorithm or option, or a torus that the algorithm cannot serve.

    >>> schedule("swing", Torus((4, 4)), variant="latency")
    <allreduce swing on 4x4: 4 steps, 4 blocks, 4 parts>
    """
    if name != "auto":
        return make(name, torus, **options)
    if nbytes is None:
        raise ValueError("algorithm 'auto' depends on the size: pass nbytes=")
    if options:
        raise ValueError(f"algorithm 'auto' chooses {', '.join(options)} itself: name an algorithm")
    return choose(torus, nbytes, machine).schedule(torus)


def _seconds(
    machine: Network, ndim: int, nbytes: int, steps: int, hops: int, congestion: float
) -> float:
    step, hop = machine.latency(0), machine.latency(1) - machine.latency(0)
    return steps * step + hops * hop + congestion * nbytes / (max(ndim, 1) * machine.bandwidth)


def _candidates(torus: Torus) -> dict[tuple[str, str], tuple[int, int, float]]:
    """Steps, hops and congestion (busiest links' bytes ÷ (n/D)) of each algorithm."""
    dims = sorted((torus.dims[j] for j in torus.active), reverse=True)
    lengths = [(d - 1).bit_length() for d in dims]
    turns = [
        (abs(rho(s)), d % 2)  # in odd sizes the last node's own messages come on top
        for s in range(max(lengths, default=0))
        for d, m in zip(dims, lengths, strict=True)
        if s < m
    ]
    far = sum(delta for delta, _ in turns)
    folds = 2 * sum(d & (d - 1) > 0 for d in dims)
    nsteps = sum(d.bit_length() - 1 for d in dims) + folds
    p, longest = torus.size, max(dims, default=1)
    held, phases = 1.0, 0.0
    for _ in dims:
        phases += held * (1 - 1 / longest)
        held /= min(dims)
    found = {
        ("swing", "latency"): (nsteps, far + folds, (far + folds) / 2),
        ("swing", "bandwidth"): (
            2 * len(turns),
            2 * far,
            sum((delta + odd) / 2 ** (s + 1) for s, (delta, odd) in enumerate(turns)),
        ),
        ("bucket", ""): (2 * len(dims) * (longest - 1), 2 * len(dims) * (longest - 1), phases),
    }
    try:
        cycles(torus)
    except ValueError:
        return found
    return found | {("hamiltonian", ""): (2 * (p - 1), 2 * (p - 1), (p - 1) / p)}


__all__ = ["ALGORITHMS", "MACHINES", "Choice", "Machine", "choose", "schedule"]
