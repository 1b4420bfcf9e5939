# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine of all links: (state, event, now) -> (state, orders). Pure.

No I/O, no clock, no asyncio. An event that makes no sense in a link's state is
ignored; one of an administrator that cannot be done raises a Usb4RdmaError and
changes nothing. docs/daemon.md has the picture.
"""

from __future__ import annotations

from dataclasses import replace

from . import administration, admission, agreement, comparison, events, messages, probing
from .errors import MessageInvalid, NoSuchLink
from .model import (
    KernelLink,
    KernelState,
    Link,
    LinkState,
    Reason,
    State,
)
from .orders import (
    CompareInput,
    Deauthorize,
    Order,
    ReadPort,
    StartSession,
    StartTimer,
    StopTimer,
)
from .policy import may_adopt
from .step import TIMERS, Step

RETRY_FIRST, RETRY_MAX = 1.0, 60.0
EALREADY, ESTALE = 114, 116


def step(state: State, event: events.Event, now: int) -> tuple[State, list[Order]]:
    """One event at the wall-clock time `now` (microseconds)."""
    work = Step(state, event, now)
    if isinstance(event, events.KernelSeen):
        _kernel(work, event.kernel)
    elif isinstance(event, events.SettingsChanged):
        administration.settings_changed(work, event)
    elif isinstance(event, events.HardwareSeen):
        work.hardware = event.hardware
    elif isinstance(event, events.KeysPlaced):
        administration.keys_placed(work, event)
    elif isinstance(event, events.AdminPolicy):
        administration.policy_set(work, event)
    elif isinstance(
        event, events.AdminForget | events.AdminBlock | events.AdminLabel | events.AdminMtu
    ):
        administration.of_peer(work, event)
    else:
        link = work.links.get(event.link)
        if link is not None:
            _link(work, link, event)
        elif type(event).__name__.startswith("Admin"):
            raise NoSuchLink(f"no link {event.link}")
    return work.result(), work.orders


# Events of one link


def _link(work: Step, link: Link, event: events.Event) -> None:
    match event:
        case events.KernelGone():
            _gone(work, link)
        case events.SessionUp():
            admission.session_up(work, link, event)
        case events.SessionStalled() | events.SessionInvalid() | events.SessionMismatch():
            _session_trouble(work, link, event)
        case events.MessageReceived():
            if link.secured:
                _message(work, link, event.body)
        case events.AuthorizeDone():
            _authorize_done(work, link, event)
        case events.NetworkSurveyed():
            agreement.surveyed(work, link, event)
        case events.Configured():
            agreement.configured(work, link, event)
        case events.PortRead():
            agreement.port_read(work, link, event)
        case events.ProbeOpened():
            probing.opened(work, link, event)
        case events.ProbeDone():
            probing.done(work, link, event)
        case events.CodeReady():
            comparison.code_ready(work, link, event)
        case events.ComparisonFailed():
            comparison.ended(work, link, Reason.PAIRING_MISMATCH, tell=True)
        case events.TimerFired():
            _timer(work, link, event.purpose)
        case _:
            administration.of_link(work, link, event)


def _session_trouble(
    work: Step,
    link: Link,
    event: events.SessionStalled | events.SessionInvalid | events.SessionMismatch,
) -> None:
    if link.state is not LinkState.HANDSHAKING or event.instance != link.kernel.instance:
        return
    if isinstance(event, events.SessionMismatch):
        reason = Reason.CLUSTER_SECRET
    elif isinstance(event, events.SessionInvalid):
        reason = Reason.PEER_INVALID
    elif link.reason is Reason.CLUSTER_SECRET:
        return
    else:
        reason = Reason.PEER_SILENT
    work.move(link, LinkState.HANDSHAKING, reason)


def _kernel(work: Step, kernel: KernelLink) -> None:
    link = work.links.get(kernel.name)
    first = link is None
    if link is None:
        link = work.put(Link(kernel.name, kernel, since=work.now))
        work.report("link-discovered", link)
    fresh = first or kernel.instance != link.kernel.instance
    link = work.put(replace(link, kernel=kernel))
    if kernel.state is KernelState.INCOMPATIBLE:
        link = work.end_session(link)
        work.move(link, LinkState.INCOMPATIBLE, Reason.PROTOCOL_VERSION)
    elif not kernel.ready:
        if not fresh and link.state is LinkState.DISCOVERED:
            return
        link = admission.clear(work, link)
        work.move(link, LinkState.DISCOVERED, Reason.KERNEL_HANDSHAKE)
    elif fresh or link.state in (LinkState.DISCOVERED, LinkState.INCOMPATIBLE):
        _instance(work, admission.clear(work, link) if not first else link, first)
    elif kernel.authorized and not link.authorized:
        work.order(Deauthorize(link.name))
    elif not kernel.authorized and link.authorized and link.state is not LinkState.AUTHORIZING:
        work.move(link, LinkState.WAITING_APPROVAL, Reason.DEAUTHORIZED)
    elif link.authorized:
        _refresh(work, link)


def _refresh(work: Step, link: Link) -> None:
    """Something about an open link changed: look at its port again."""
    if link.state is not LinkState.AUTHORIZING:
        link = agreement.refresh(work, link)
    if link.kernel.ibdev:
        work.order(ReadPort(link.name, link.kernel.ibdev))
    agreement.settle(work, link)


def _instance(work: Step, link: Link, first: bool) -> None:
    """The kernels know each other in a new instance: authenticate the daemons.

    A link that the kernel has open when we first see it was opened by an
    earlier run of this daemon; it is taken over as it is, if its peer may be
    here at all. The session then proves the key again, behind its back.
    """
    kernel = link.kernel
    work.order(StartSession(kernel))
    if kernel.authorized and first and may_adopt(work.settings.policy, work.peers, kernel.peer):
        link = replace(link, identity=kernel.peer)
        link = work.move(link, LinkState.CONFIGURING, Reason.NONE)
        work.report("link-adopted", link)
        agreement.begin(work, link)
        return
    if kernel.authorized:
        work.order(Deauthorize(link.name))
    work.move(link, LinkState.HANDSHAKING)


def _gone(work: Step, link: Link) -> None:
    work.end_session(link)
    work.drop_probe(link)
    work.order(*(StopTimer(link.name, purpose) for purpose in TIMERS))
    work.report("link-gone", link)
    _seen(work, link)
    del work.links[link.name]


def _seen(work: Step, link: Link) -> None:
    peer = work.peers.get(link.identity)
    if peer is not None and link.secured:
        work.save(replace(peer, last_seen=work.now))


def _authorize_done(work: Step, link: Link, event: events.AuthorizeDone) -> None:
    if link.state is not LinkState.AUTHORIZING or event.instance != link.kernel.instance:
        return
    if event.kernel is not None and event.kernel.instance == link.kernel.instance:
        link = work.put(replace(link, kernel=event.kernel))
    if event.error in (0, EALREADY):
        link = work.move(link, LinkState.CONFIGURING)
        work.order(StopTimer(link.name, "retry"))
        link = work.put(replace(link, failures=0))
        agreement.begin(work, link)
        agreement.settle(work, work.links[link.name])
    elif event.error == ESTALE:
        # The kernel is at a newer instance, of which we shall hear.
        work.move(link, LinkState.HANDSHAKING)
    else:
        delay = min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(link.failures, 6))
        link = replace(link, failures=link.failures + 1)
        work.order(StartTimer(link.name, "retry", delay))
        work.report("authorize-failed", link, errno=str(event.error))
        work.move(link, LinkState.FAILED, Reason.AUTHORIZE_FAILED)


def _message(work: Step, link: Link, body: bytes) -> None:
    try:
        message = messages.decode(body)
    except MessageInvalid as error:
        work.report("message-invalid", link, error=error.message)
        return
    match message:
        case messages.Propose():
            agreement.proposed(work, link, message)
        case messages.Accept():
            agreement.accepted(work, link, message)
        case messages.Clash():
            agreement.clashed(work, link, message)
        case messages.Renew():
            agreement.agree_again(work, link)
        case messages.PairRequest():
            comparison.requested_there(work, link)
        case messages.Comparison():
            if link.pairing is not None:
                work.order(CompareInput(link.name, message.body))
        case messages.Admitted() if link.pairing is None:
            if link.reason is Reason.PEER_REFUSED:
                admission.judge(work, link)
        case messages.Confirm() | messages.Admitted():
            link = comparison.confirmed_there(work, link)
            if link.state is LinkState.PAIRING and comparison.is_complete(link):
                admission.admit(work, link)
        case messages.Reject():
            why = Reason.PAIRING_TIMEOUT if message.late else Reason.PAIRING_REJECTED
            comparison.ended(work, link, why, tell=False)
        case messages.Refused():
            # What an administrator has closed stays that, whatever the peer says.
            if link.state is LinkState.WAITING_APPROVAL and link.reason is not Reason.DEAUTHORIZED:
                work.move(link, link.state, Reason.PEER_REFUSED)
        case messages.Offer():
            probing.offered(work, link, message)
        case messages.Answer():
            probing.answered(work, link, message)
        case messages.Decline():
            probing.declined(work, link, message)
        case None:
            pass


def _timer(work: Step, link: Link, purpose: str) -> None:
    if purpose == "agree":
        agreement.agree_again(work, link)
    elif purpose == "port" and link.authorized and link.kernel.ibdev:
        work.order(ReadPort(link.name, link.kernel.ibdev))
    elif purpose == "retry" and link.state is LinkState.FAILED and link.secured:
        admission.judge(work, link)
    elif purpose == "pairing":
        comparison.ended(work, link, Reason.PAIRING_TIMEOUT, tell=True)
    elif purpose == "confirm":
        comparison.resend(work, link)
    elif purpose == "probe":
        probing.stop(work, link, "the other host did not answer in time")
    elif purpose == "check":
        probing.consider(work, link)
