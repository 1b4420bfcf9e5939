# SPDX-License-Identifier: GPL-2.0-or-later
"""The workbench of one step of the machine: collects the new state and the orders.

Lives for one call of machine.step(); what it holds is local to that call, so
the step as a whole stays a pure function.
"""

from __future__ import annotations

from dataclasses import replace

from .events import Event
from .messages import Message, encode
from .model import Identity, Link, LinkState, Measured, Peer, Port, Reason, State
from .orders import (
    CloseProbe,
    Deauthorize,
    EndSession,
    Order,
    ProbeResult,
    Report,
    SavePeer,
    Send,
    StopTimer,
)

TIMERS = ("agree", "port", "retry", "pairing", "confirm", "probe", "check")
"""Every purpose that a timer of a link may have."""

_LOUD = {
    LinkState.INCOMPATIBLE,
    LinkState.WAITING_APPROVAL,
    LinkState.ACTIVE,
    LinkState.DEGRADED,
    LinkState.BLOCKED,
    LinkState.FAILED,
}


class Step:
    """Builds the outcome of one event."""

    def __init__(self, state: State, event: Event, now: int) -> None:
        self.event = event
        self.now = now
        self.identity = state.identity
        self.settings = state.settings
        self.hardware = state.hardware
        self.links = dict(state.links)
        self.peers = dict(state.peers)
        self.orders: list[Order] = []

    def result(self) -> State:
        """The new state."""
        return State(self.identity, self.settings, self.links, self.peers, self.hardware)

    def order(self, *orders: Order) -> None:
        """Ask for something to be done."""
        self.orders.extend(orders)

    def put(self, link: Link) -> Link:
        """Make this the link's new value."""
        self.links[link.name] = link
        return link

    def send(self, link: Link, message: Message) -> None:
        """Tell the peer's daemon, if the session stands."""
        if link.secured:
            self.order(Send(link.name, encode(message)))

    def move(self, link: Link, state: LinkState, reason: Reason = Reason.NONE) -> Link:
        """Change a link's state and reason; stops timers and reports as needed.

        Leaving the authorised states closes the kernel's gate: here, in one
        place, so that no path can forget it.
        """
        if link.state is state and link.reason is reason:
            return self.put(link)
        was_authorized = link.authorized
        changed = link.state is not state
        link = replace(link, state=state, reason=reason, since=self.now if changed else link.since)
        if was_authorized and not link.authorized:
            self.order(Deauthorize(link.name))
            self.order(StopTimer(link.name, "agree"), StopTimer(link.name, "port"))
            # What was read of its port is not true of the next time that it is open.
            link = self.drop_probe(replace(link, port=Port()))
        if state is not LinkState.PAIRING and link.pairing is not None:
            link = replace(link, pairing=None)
            self.order(StopTimer(link.name, "pairing"), StopTimer(link.name, "confirm"))
        if state in _LOUD and changed:
            self.report(f"link-{state.value}", link)
        return self.put(link)

    def drop_probe(self, link: Link) -> Link:
        """The link is closed: end a test over it, and tell who asked for it."""
        self.order(StopTimer(link.name, "check"))
        if link.probe is None:
            return link
        self.order(CloseProbe(link.name), StopTimer(link.name, "probe"))
        if link.probe.by_admin:
            closed = Measured("the link was closed")
            self.order(ProbeResult(link.name, link.probe.serial, closed))
        return replace(link, probe=None)

    def report(self, message: str, link: Link | None = None, **details: str) -> None:
        """Write to the journal under the message id of that name."""
        if link is None:
            self.order(Report(message, details=tuple(details.items())))
            return
        self.order(
            Report(
                message,
                link.kernel.place,
                link.reason if message.startswith("link-") else Reason.NONE,
                link.identity or link.kernel.peer,
                (("peer_name", self._name(link)), *details.items()),
            )
        )

    def _name(self, link: Link) -> str:
        peer = self.peers.get(link.identity or link.kernel.peer)
        return link.peer_name or (peer.label or peer.name if peer else "")

    def end_session(self, link: Link) -> Link:
        """Wipe a link's session and what hangs on it."""
        self.order(EndSession(link.name))
        return self.put(replace(link, secured=False, peer_name="", public_key=b""))

    def save(self, peer: Peer) -> None:
        """Remember a peer."""
        self.peers[peer.identity] = peer
        self.order(SavePeer(peer))

    def links_of(self, identity: Identity) -> list[Link]:
        """The links that are, or were last, of this peer."""
        return [x for x in self.links.values() if identity in (x.identity, x.kernel.peer)]
