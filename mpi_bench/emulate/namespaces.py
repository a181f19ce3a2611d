"""Network namespaces wired as a torus, and nothing left of them afterwards.

Everything happens inside the namespaces: cables are made there, so the host's own network has not
one device, address or route more. Namespaces are called ``swing-<pid>-<node>``. A run holds the
abstract socket ``swing-<pid>`` while it lives; the kernel frees that even after SIGKILL, so that
`leftovers` are exactly the namespaces whose socket can be had.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mpi_bench.emulate.wiring import address, hardware_address, ports, routes
from netsim.topologies.grid import Grid

FOLDER = Path("/run/netns")
PREFIX = "swing"
MTUS = 9000, 32000
"""Bytes of an IP packet, the least and the most, see `mtu`."""
SERVICE = 12e-6
"""Seconds that a packet costs the host on every link: while it serves them all, timers are late."""
SHARE = 0.15
"""Of a core, that the packets of all links may take."""
PATIENCE = "20s"
"""Before TCP sends again: the longest a packet may wait for others in a queue."""
QUEUE = 2**25
"""Bytes that wait for a link at most: more than TCP ever has under way."""

SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",  # no router solicitations among the counted bytes
    "net/ipv6/conf/default/disable_ipv6": "1",
    # The host's default may be bbr, which paces by its own estimate and left a fifth of a
    # saturated link unused; reno is allowed in every namespace.
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_slow_start_after_idle": "0",  # what a step has learned holds for the next
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/tcp_autocorking": "0",  # what is small queues at once, as all else does
    "net/ipv4/tcp_early_retrans": "0",  # nothing is lost: what comes late only waits in a queue
    "net/ipv4/tcp_wmem": "4096 1048576 33554432",
    "net/ipv4/tcp_rmem": "4096 1048576 33554432",
}


@dataclass(frozen=True)
class Emulation:
    """A torus that is up.

    Args:
        place: its links.
        rate: of every link, bits per second, headers included.
        name: what its namespaces begin with.
    """

    place: Grid
    rate: float
    name: str

    def namespace(self, node: int) -> str:
        """The namespace of a node."""
        return f"{self.name}-{node}"


class EmulationError(OSError):
    """The system can not do what an emulation needs; says what is missing."""


@contextmanager
def emulated(place: Grid, rate: float) -> Iterator[Emulation]:
    """A torus of namespaces, gone again when the block is left, however that happens.

    SIGTERM is a reason to leave the block: it raises SystemExit meanwhile.

    Raises:
        EmulationError: no root, no iproute2, or a kernel without what it takes.
    """
    requirements()
    name = f"{PREFIX}-{os.getpid()}"
    with _claim(name), _terminated():
        try:
            destroy(name)  # of a process that had our number and was killed
            _build(place, rate, name)
            yield Emulation(place, rate, name)
        finally:
            with _undisturbed():
                destroy(name)


def requirements() -> None:
    """Raise EmulationError, naming the mend, where no emulation can run."""
    if not sys.platform.startswith("linux"):
        raise EmulationError(f"network namespaces are Linux's: this is {sys.platform}")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            raise EmulationError(f"there is no {tool!r}: apt-get install iproute2")
    if os.geteuid() != 0:
        raise EmulationError("only root may make network namespaces: sudo, or a root container")


def destroy(name: str) -> int:
    """End the processes in the namespaces of a run, remove these; how many there were."""
    ours = re.compile(re.escape(name) + r"-\d+")
    found = sorted(p.name for p in FOLDER.glob(f"{name}-*") if ours.fullmatch(p.name))
    for namespace in found:
        listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True)
        for pid in map(int, listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if found:
        lines = "".join(f"netns del {namespace}\n" for namespace in found)
        subprocess.run(["ip", "-force", "-batch", "-"], input=lines, text=True, capture_output=True)
    return len(found)


def leftovers() -> list[str]:
    """The runs that were killed before they could tear down: names for `destroy`."""
    ours = re.compile(rf"({PREFIX}-\d+)-\d+")
    names = {m[1] for p in FOLDER.glob(f"{PREFIX}-*") if (m := ours.fullmatch(p.name))}
    dead = []
    for name in sorted(names):
        with suppress(EmulationError), _claim(name):
            dead.append(name)
    return dead


def _build(place: Grid, rate: float, name: str) -> None:
    nodes = range(place.size)
    wires = ports(place)
    host = [f"netns add {name}-{node}" for node in nodes]
    for node in nodes:
        for port in wires[node]:
            if port.device.startswith("up"):
                host.append(
                    f"link add {port.device} netns {name}-{node} address {hardware_address(node)} "
                    f"type veth peer name {port.peer_device} netns {name}-{port.peer} "
                    f"address {hardware_address(port.peer)}"
                )
    _run(["ip", "-batch", "-"], "\n".join(host))

    packet = mtu(place, rate)

    def furnish(node: int) -> None:
        here = address(place.torus, node)
        ip, tc = ["link set lo up"], []
        by_device = {}
        for port in wires[node]:
            device, there = port.device, address(place.torus, port.peer)
            by_device[device] = there
            ip += [
                # Without segments put together, so that a packet is what the rate is applied to.
                f"link set {device} mtu {packet} gso_max_segs 1 up",
                f"address add {here}/32 dev {device}",
                f"neighbour add {there} lladdr {hardware_address(port.peer)} dev {device} "
                "nud permanent",
            ]
            tc += shaping(device, rate, place.nlinks, packet)
        ip += [
            f"route add {route.prefix} via {by_device[route.device]} dev {route.device} onlink "
            f"rto_min {PATIENCE}"
            for route in routes(place.torus, node)
        ]
        settings = "\n".join(f"echo {v} > /proc/sys/{k}" for k, v in SETTINGS.items())
        batches = [f"{tool} -batch - <<'E'\n" + "\n".join(lines) + "\nE\n"
                   for tool, lines in (("ip", ip), ("tc", tc))]  # fmt: skip
        script = f"set -e\n{settings}\n{''.join(batches)}"
        _run(["ip", "netns", "exec", f"{name}-{node}", "sh", "-s"], script)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(furnish, nodes))


def mtu(place: Grid, rate: float) -> int:
    """Bytes of an IP packet.

    Small, so that messages are several packets, as they are on real machines; but each packet
    costs the host as much, whatever its size: the faster the links, the larger they are.
    """
    least, most = MTUS
    return round(min(max(least, place.nlinks * rate / 8 * SERVICE / SHARE), most))


def saved(nlinks: int) -> float:
    """Seconds that a link at rest saves up, for when timers are late."""
    return nlinks * SERVICE


def shaping(device: str, rate: float, nlinks: int, packet: int) -> list[str]:
    """What tc is told about a link: one token bucket, and a queue behind it that loses nothing.

    htb lets a packet go as soon as there are tokens for its first byte, and takes the others
    later. So a packet leaves when its time on the link begins, whatever its size, and the next one
    waits until that is over: cut-through. (tbf saves up tokens for a whole packet: small messages
    would find the link idle and pass for nothing.) The bucket holds what is lost while timers are
    late, because all links ask for the host at the same time.
    """
    late = max(1, round(saved(nlinks) * rate / 8))
    return [
        f"qdisc add dev {device} root handle 1: htb default 1",
        f"class add dev {device} parent 1: classid 1:1 htb rate {rate:.0f}bit "
        f"burst {late} cburst {late} quantum {packet}",
        f"qdisc add dev {device} parent 1:1 bfifo limit {QUEUE}",
    ]


def _run(command: Sequence[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it did not say why"]
        raise EmulationError(f"the kernel refused ({' '.join(command[:3])}): {lines[0]}")


@contextmanager
def _claim(name: str) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as held:
        try:
            held.bind(f"\0{name}")
        except OSError:
            raise EmulationError(f"{name} is alive: another run is using its namespaces") from None
        yield


@contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C stop what must be finished."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
