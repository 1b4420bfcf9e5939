# SPDX-License-Identifier: GPL-2.0-or-later
"""First pairing: two humans compare a code. A part of the machine, pure.

The exchange that makes the code is pairing/compare.py; here is only who may do
what when. At most PAIRINGS_MAX runs per link instance, so that an interposer
has that many guesses at six digits per plug-in.
"""

from __future__ import annotations

from dataclasses import replace

from .errors import AlreadyPaired, BadState, RateLimited
from .events import CodeReady
from .messages import Confirm, PairRequest, Reject
from .model import Link, LinkState, Pairing, Peer, Reason, Subnets, Trust
from .orders import Compare, StartTimer
from .step import Step

PAIRINGS_MAX = 3
RESEND = 2.0


def requested_here(step: Step, link: Link, uid: int) -> Link:
    """An administrator asks for a comparison."""
    if link.identity in step.peers and link.authorized:
        raise AlreadyPaired(f"{link.kernel.place} is paired already")
    if link.state is LinkState.PAIRING:
        return link
    if link.state is not LinkState.WAITING_APPROVAL or not link.secured:
        raise BadState(
            f"{link.kernel.place} is {link.state.value}, not waiting-approval",
            "a link can be paired while its peer's daemon answers and is not known",
        )
    if link.failures >= PAIRINGS_MAX:
        raise RateLimited(
            f"{PAIRINGS_MAX} pairings were tried on this connection", "unplug the cable and plug it"
        )
    step.send(link, PairRequest())
    return _start(step, link, uid)


def requested_there(step: Step, link: Link) -> Link:
    """The peer's administrator asks for a comparison. Where none can be made, here that peer may
    be in or shut out, it is told so at once."""
    if not link.secured or link.state is LinkState.PAIRING:
        return link
    if link.state is not LinkState.WAITING_APPROVAL or link.failures >= PAIRINGS_MAX:
        step.send(link, Reject())
        return link
    return _start(step, link, 0)


def _start(step: Step, link: Link, uid: int) -> Link:
    initiator = step.identity < link.identity
    serial = (link.kernel.instance * 16 + link.failures) & 0xFFFFFFFF
    timeout = step.settings.pairing_timeout
    pairing = Pairing(serial, initiator, by=uid, expires=step.now + timeout * 1_000_000)
    link = replace(link, pairing=pairing, failures=link.failures + 1)
    link = step.move(link, LinkState.PAIRING, Reason.COMPARE_CODE)
    step.order(Compare(link.name, initiator), StartTimer(link.name, "pairing", timeout))
    return link


def code_ready(step: Step, link: Link, event: CodeReady) -> Link:
    """Both nonces are known: show the code."""
    if link.pairing is None:
        return link
    link = step.put(replace(link, pairing=replace(link.pairing, code=event.code)))
    step.report("pairing-code", link, code=event.code)
    return link


def confirmed_here(step: Step, link: Link, uid: int) -> Link:
    """The human here says that the codes are the same."""
    if link.pairing is None or not link.pairing.code:
        raise BadState(f"{link.kernel.place} has no code to confirm")
    link = step.put(replace(link, pairing=replace(link.pairing, confirmed_here=True, by=uid)))
    step.send(link, Confirm())
    step.order(StartTimer(link.name, "confirm", RESEND))
    return _complete(step, step.move(link, link.state, Reason.WAITING_CONFIRMATION))


def confirmed_there(step: Step, link: Link) -> Link:
    """The peer's human says so."""
    if link.authorized:  # ours got lost on the way
        if link.identity in step.peers:
            step.send(link, Confirm())
        return link
    if link.pairing is None or not link.pairing.code:
        return link
    return _complete(
        step, step.put(replace(link, pairing=replace(link.pairing, confirmed_there=True)))
    )


def _complete(step: Step, link: Link) -> Link:
    assert link.pairing is not None
    if not (link.pairing.confirmed_here and link.pairing.confirmed_there):
        return link
    pin(step, link, Trust.CONFIRMED, link.pairing.by)
    return link


def is_complete(link: Link) -> bool:
    """Both humans have confirmed."""
    pairing = link.pairing
    return pairing is not None and pairing.confirmed_here and pairing.confirmed_there


def pin(step: Step, link: Link, trust: Trust, uid: int) -> None:
    """Remember the key that the link's peer proved."""
    known = step.peers.get(link.identity)
    step.save(
        Peer(
            identity=link.identity,
            public_key=link.public_key,
            trust=trust,
            name=link.peer_name,
            label=known.label if known else "",
            first_seen=known.first_seen if known else step.now,
            last_seen=step.now,
            paired_by=uid,
            subnets=known.subnets if known else Subnets(),
            mtu=known.mtu if known else 0,
        )
    )
    step.report("peer-paired", link, trust=trust.value)


def resend(step: Step, link: Link) -> Link:
    """Our confirmation may have been lost; it is harmless to say it twice."""
    if link.pairing is not None and link.pairing.confirmed_here:
        step.send(link, Confirm())
        step.order(StartTimer(link.name, "confirm", RESEND))
    return link


def ended(step: Step, link: Link, reason: Reason, tell: bool) -> Link:
    """No pairing: rejected on either side, out of time, or a broken exchange."""
    if link.state is not LinkState.PAIRING:
        return link
    if tell:
        step.send(link, Reject(late=reason is Reason.PAIRING_TIMEOUT))
    step.report("pairing-ended", link, why=reason.value)
    return step.move(link, LinkState.WAITING_APPROVAL, reason)
