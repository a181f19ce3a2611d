"""Create network namespaces wired as a torus, and remove them afterwards.

Virtual cables are created inside the namespaces, so the host's own network gets no additional
device, address or route. Namespaces are named ``swing-<pid>-<node>``. A run holds the abstract
socket ``swing-<pid>`` as a lock. The kernel releases it even after SIGKILL, so `leftovers` are
exactly the namespaces whose socket can be bound.
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
from netsim.topologies.topology import Topology

FOLDER = Path("/run/netns")
PREFIX = "swing"
MTUS = 9000, 32000
"""The smallest and the largest size of an IP packet in bytes, see `mtu`."""
SERVICE = 12e-6
"""Seconds of the host's time per packet and link; serving all links delays their timers."""
SHARE = 0.15
"""The fraction of a core that the packets of all links may take."""
PATIENCE = "20s"
"""TCP's least retransmission timeout: longer than any packet waits in a queue."""
QUEUE = 2**25
"""The capacity of a link's queue in bytes: more than TCP ever has in flight."""

SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",  # no router solicitations among the counted bytes
    "net/ipv6/conf/default/disable_ipv6": "1",
    # The host's default may be bbr, which paces by its own estimate and left a fifth of a
    # saturated link unused; reno is allowed in every namespace.
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_slow_start_after_idle": "0",  # keep the congestion window between steps
    "net/ipv4/tcp_no_metrics_save": "1",
    "net/ipv4/tcp_autocorking": "0",  # send small packets at once, like all others
    "net/ipv4/tcp_early_retrans": "0",  # no packet is ever lost: a late one waits in a queue
    "net/ipv4/tcp_wmem": "4096 1048576 33554432",
    "net/ipv4/tcp_rmem": "4096 1048576 33554432",
}


@dataclass(frozen=True)
class Emulation:
    """A running emulated torus.

    Args:
        grid: the topology.
        rate: of each link, in bits per second, headers included.
        name: prefix of the names of its namespaces.
    """

    grid: Topology
    rate: float
    name: str

    def namespace(self, node: int) -> str:
        """Return the name of a node's namespace."""
        return f"{self.name}-{node}"


class EmulationError(OSError):
    """An emulation cannot start, or its ranks have failed; the message says why."""


@contextmanager
def emulated(grid: Topology, rate: float) -> Iterator[Emulation]:
    """Create a torus of namespaces, and remove it when the block is left for any reason.

    Within the block SIGTERM raises SystemExit, so that it leaves the block as well.

    Args:
        grid: the topology.
        rate: of each link, in bits per second.

    Raises:
        EmulationError: not root, no iproute2, or a kernel without the features needed.
    """
    requirements()
    name = f"{PREFIX}-{os.getpid()}"
    with _claim(name), _exit_on_sigterm():
        try:
            destroy(name)  # leftovers of a killed process that had the same id
            _build(grid, rate, name)
            yield Emulation(grid, rate, name)
        finally:
            with _signals_blocked():
                destroy(name)


def requirements() -> None:
    """Check that this system can run an emulation.

    Raises:
        EmulationError: it cannot; the message names the remedy.
    """
    if not sys.platform.startswith("linux"):
        raise EmulationError(f"network namespaces need Linux, and this is {sys.platform}")
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            raise EmulationError(f"there is no {tool!r}: apt-get install iproute2")
    if os.geteuid() != 0:
        raise EmulationError("only root may make network namespaces: use sudo or a root container")


def destroy(name: str) -> int:
    """Remove the namespaces of a run and kill their processes; returns the number of namespaces."""
    # The glob for swing-1 also matches swing-12-0, hence the exact pattern.
    ours = re.compile(re.escape(name) + r"-\d+")
    namespaces = sorted(p.name for p in FOLDER.glob(f"{name}-*") if ours.fullmatch(p.name))
    for namespace in namespaces:
        listed = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True)
        for pid in map(int, listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if namespaces:
        lines = "".join(f"netns del {namespace}\n" for namespace in namespaces)
        subprocess.run(["ip", "-force", "-batch", "-"], input=lines, text=True, capture_output=True)
    return len(namespaces)


def leftovers() -> list[str]:
    """Return the names, for `destroy`, of runs that were killed before they could clean up."""
    ours = re.compile(rf"({PREFIX}-\d+)-\d+")
    names = {m[1] for p in FOLDER.glob(f"{PREFIX}-*") if (m := ours.fullmatch(p.name))}
    dead = []
    for name in sorted(names):
        with suppress(EmulationError), _claim(name):
            dead.append(name)
    return dead


def _build(grid: Topology, rate: float, name: str) -> None:
    nodes = range(grid.size)
    wires = ports(grid)
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

    packet = mtu(grid, rate)

    def configure(node: int) -> None:
        own = address(grid.torus, node)
        ip, tc = ["link set lo up"], []
        by_device = {}
        for port in wires[node]:
            device, peer = port.device, address(grid.torus, port.peer)
            by_device[device] = peer
            ip += [
                # No segmentation offload, so that the rate limit sees single packets.
                f"link set {device} mtu {packet} gso_max_segs 1 up",
                f"address add {own}/32 dev {device}",
                f"neighbour add {peer} lladdr {hardware_address(port.peer)} dev {device} "
                "nud permanent",
            ]
            tc += shaping(device, rate, grid.nlinks, packet)
        ip += [
            f"route add {route.prefix} via {by_device[route.device]} dev {route.device} onlink "
            f"rto_min {PATIENCE}"
            for route in routes(grid.torus, node)
        ]
        settings = "\n".join(f"echo {v} > /proc/sys/{k}" for k, v in SETTINGS.items())
        batches = [f"{tool} -batch - <<'E'\n" + "\n".join(lines) + "\nE\n"
                   for tool, lines in (("ip", ip), ("tc", tc))]  # fmt: skip
        script = f"set -e\n{settings}\n{''.join(batches)}"
        _run(["ip", "netns", "exec", f"{name}-{node}", "sh", "-s"], script)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(configure, nodes))  # list raises the exceptions of the threads


def mtu(grid: Topology, rate: float) -> int:
    """Return the size of an IP packet in bytes.

    Small packets are more realistic, because a message then consists of several, as on real
    machines. But each packet costs the host the same time whatever its size, so faster or more
    links get larger packets.
    """
    smallest, largest = MTUS
    return round(min(max(smallest, grid.nlinks * rate / 8 * SERVICE / SHARE), largest))


def saved(nlinks: int) -> float:
    """Return the seconds of sending that an idle link saves up, to make up for late timers."""
    return nlinks * SERVICE


def shaping(device: str, rate: float, nlinks: int, packet: int) -> list[str]:
    """Return the tc commands for a link: a token bucket, with a queue that drops no packet.

    htb releases a packet as soon as there are tokens for its first byte, and goes into debt for the
    others. So a packet leaves when its time on the link begins, whatever its size, and the next one
    waits until that time is over: cut-through switching. (tbf instead saves up tokens for a whole
    packet, so small messages would find the link idle and pass for free.) The bucket makes up for
    timers that are late because all links need the host at the same time.

    Args:
        device: name of the device.
        rate: of the link, in bits per second.
        nlinks: number of links of the whole torus.
        packet: size of an IP packet in bytes.
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
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise EmulationError(f"the kernel refused ({' '.join(command[:3])}): {lines[0]}")


@contextmanager
def _claim(name: str) -> Iterator[None]:
    # A leading null byte makes an abstract socket, which has no file to clean up.
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0{name}")
        except OSError:
            raise EmulationError(f"{name} is alive: another run is using its namespaces") from None
        yield


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, as Ctrl-C raises KeyboardInterrupt."""

    def leave(number: int, frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM, so that a second Ctrl-C cannot interrupt the cleanup."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
