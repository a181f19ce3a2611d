"""Packet model: discrete events; messages are cut into packets that queue at doors and links.

Its rules are those of the simulator of the Swing paper, SST with the authors' changes. 0 or None
turns any of them off, and `netsim.paper_network` sets them all. A message goes through these
places:

- **Posting.** A node posts its messages one after the other and spends ``message_overhead`` on
  each. Of those that it may post at the same time, the messages of earlier steps come first, then
  those of earlier parts. A send counts as done when it is
  posted, unless ``sync`` says otherwise.
- **The card.** A message of n bytes, a header included, has max(1, ⌈n / packet_bytes⌉) packets, the
  last one shorter. The i-th of them is at the node's door i·``packet_gap`` after the message is
  posted; with a gap of 0, as soon as the one before it has entered. So long messages that are
  posted closely interleave, and short ones do not. Each peer has a sender of its own on the card,
  also where there are more peers than the paper's cards have senders; messages to one peer follow
  each other.
- **The door.** All packets of a node enter its router through one first-in first-out queue, at
  ``injection_bandwidth``, and leave the last router at ``ejection_bandwidth``.
- **The router.** Every input has a queue per virtual channel, and so has every output. A crossbar
  moves packets from inputs to outputs at ``crossbar_bandwidth``, one at a time per input and one
  per output; of those that compete, the input that it served least recently comes first
  (``arbitration``). A link serves the channels of its output in turn. Switches have no crossbar.
- **Channels.** With two virtual channels, a packet that passes coordinate 0 of a ring changes to
  the other one there, so that full buffers of a ring cannot wait for each other.
- **Ties.** Under ``adaptive``, each packet chooses between equally long ways when it is first in
  its input queue: the one whose output has fewer bytes queued, or else the first one. Otherwise
  packets are dealt to the ways beforehand, whole and in proportion to their shares.

Switching is virtual cut-through. A link that idles notices a packet after the time of a flit:

    start_l  = comes_l + flit_l if the link idles, else the end of the packet before it
    end_l    = start_l + time_l,   time_l = bytes in whole flits / bandwidth_l
    comes_l' = start_l + latency_l + max(0, time_l - time_l')     behind the next link l'
    arrival  = end_l + latency_l                                  behind the last link

The last term of ``comes`` delays a packet before a faster link, so that it need not wait there for
its own tail. A message has arrived when all its packets have, and signals its groups ``cost``
seconds later. With ``local`` it signals the second group (the sender's) as soon as all its packets
have passed the door.

Buffers are unbounded unless ``buffer_bytes`` is given, for each virtual channel of an input and of
an output. Then a packet starts on a link only if the buffer behind it has room, and the link learns
of freed room a wire's latency later. On topologies without channels, full buffers may wait for each
other; that deadlock is reported as an error.

With ``bucket`` links are token buckets, like the rate limits of operating systems. A packet leaves
as soon as its service begins, and keeps the link busy all the same; an idle link saves up tokens
for up to ``bucket`` seconds of service. A bucket of 0 is ``Network(arrival="head")``: a packet
moves on, and counts as arrived, with its head, as in SST.

Use it where the order and place of packets decide: short messages on long dimensions, parts that
leave through one door, adaptive ties, ranks out of step. It costs about five events per packet and
two more per link that it crosses; ten million events take a second or two.
"""

from __future__ import annotations

import numpy as np

from netsim.checks import DeadlockError
from netsim.models import events
from netsim.models.packet_net import PacketRules, net_of
from netsim.models.packet_tables import grow_pool
from netsim.traffic.messages import Links, Messages

__all__ = ["MAX_VISITS", "PacketRules", "packet_times"]

MAX_VISITS = 10**10
"""Limit on packets times links crossed; ten million take a few seconds."""


def packet_times(messages: Messages, links: Links, rules: PacketRules) -> np.ndarray:
    """Arrival time of every message.

    Args:
        messages: the messages, their routes and their dependencies.
        links: the links of the routes, without doors.
        rules: the costs of nodes and routers.

    Returns:
        (m,) seconds.

    Raises:
        ValueError: a packet size or bandwidth that is not above 0, a negative latency, a route
            without links, a buffer smaller than a packet, more than `MAX_VISITS` events, or
            messages that wait for each other.
        DeadlockError: full buffers that wait for each other.
    """
    _check(messages, links, rules)
    net = net_of(messages, links, rules)
    for group in np.flatnonzero(net.groups["pending_count"] == 0):
        net.groups["pending_count"][group] = 1  # the one event that `signal` counts
        events.signal(net, int(group), 0.0)
    while not events.run(net):
        net = grow_pool(net)
    table = net.messages
    if table["not_arrived"].any():
        begun = table["arrival"] > 0
        if (net.inputs["first"] >= 0).any() or (net.outputs["first"] >= 0).any():
            raise DeadlockError(
                "deadlock: full buffers wait for each other; raise buffer_bytes, or use another "
                "model"
            )
        step = int(messages.step[(table["not_arrived"] > 0) & ~begun].min())
        raise ValueError(f"messages of step {step} never start: they wait for each other")
    arrival: np.ndarray = table["arrival"].copy()
    return arrival


def _check(messages: Messages, links: Links, rules: PacketRules) -> None:
    if not rules.packet_bytes > 0:
        raise ValueError(f"packet_bytes must be above 0, not {rules.packet_bytes}")
    full = float(rules.in_flits(np.array(rules.packet_bytes)))
    if rules.buffer_bytes is not None and rules.buffer_bytes < full:
        raise ValueError(f"buffer_bytes must be a packet or more, not {rules.buffer_bytes}")
    used = np.bincount(messages.links, minlength=len(links.bandwidth)) > 0
    bad = np.flatnonzero(used & ~((links.bandwidth > 0) & (links.delay >= 0)))
    if len(bad):
        raise ValueError(
            f"link {bad[0]} is used: it needs a bandwidth above 0 and a latency of 0 or above"
        )
    if not np.diff(messages.link_ptr).all():
        raise ValueError("every route needs a link: a node sends nothing to itself")
    # Refuse simulations that would take hours.
    nroutes = np.diff(messages.route_ptr)
    packets = np.repeat(np.maximum(messages.nbytes / rules.packet_bytes, 1), nroutes)
    visits = float((packets * messages.share) @ np.diff(messages.link_ptr))
    if visits > MAX_VISITS:
        raise ValueError(
            f"packets would pass about {visits:.0e} links, more than {MAX_VISITS:.0e}: raise "
            "packet_bytes or use model='flow'"
        )
