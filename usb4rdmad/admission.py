# SPDX-License-Identifier: GPL-2.0-or-later
"""From a proved key to an open link, or not. A part of the machine, pure."""

from __future__ import annotations

from dataclasses import replace

from . import agreement, comparison, events, messages, probing
from .model import Link, LinkState, Reason, Setup, Trust, fingerprint
from .orders import Authorize, StartSession
from .policy import Verdict, decide
from .step import Step


def clear(work: Step, link: Link) -> Link:
    """Forget what belonged to the old instance."""
    link = work.end_session(link)
    link = _fresh(work.drop_probe(link))
    return work.put(link)


def _fresh(link: Link) -> Link:
    """The link without what its last instance knew."""
    return replace(link, identity=b"", failures=0, setup=Setup(), checks=0, measured=None)


def restart(work: Step, link: Link) -> None:
    """Authenticate the peer anew; closes an open link."""
    link = clear(work, link)
    if link.kernel.ready:
        work.move(link, LinkState.HANDSHAKING)
        work.order(StartSession(link.kernel))


def session_up(work: Step, link: Link, event: events.SessionUp) -> None:
    """The peer proved a key; it may be the one that the link is open as, or another."""
    if event.instance != link.kernel.instance:
        return
    identity = fingerprint(event.public_key)
    if link.authorized and identity != link.identity:
        # The link was open as somebody else: close it before anything more.
        link = work.move(link, LinkState.BLOCKED, Reason.KEY_CHANGED)
    closed = link.state in (LinkState.BLOCKED, LinkState.WAITING_APPROVAL)
    kept = closed and link.reason in (Reason.DEAUTHORIZED, Reason.KEY_CHANGED)
    link = work.put(
        replace(
            link,
            identity=identity,
            public_key=event.public_key,
            peer_name=event.name,
            secured=True,
            cluster=event.cluster,
            setup=replace(link.setup, asked=None),
        )
    )
    if kept:
        return
    if link.authorized and _verdict(work, link)[0] in (Verdict.ADMIT, Verdict.PIN):
        if link.identity not in work.peers:
            _pin(work, link)
        work.send(link, messages.Admitted())
        probing.consider(work, agreement.survey(work, link))
        return
    judge(work, link)


def _verdict(work: Step, link: Link) -> tuple[Verdict, Reason]:
    return decide(
        work.settings.policy,
        work.peers,
        work.identity,
        link.identity,
        link.peer_name,
        link.cluster,
    )


def _pin(work: Step, link: Link) -> None:
    comparison.pin(work, link, Trust.CLUSTER if link.cluster else Trust.TOFU, 0)


def judge(work: Step, link: Link) -> None:
    """The peer proved its key: apply the policy."""
    verdict, reason = _verdict(work, link)
    if verdict is Verdict.PIN:
        if reason is Reason.KEY_CHANGED:
            work.report("key-changed", link)
        _pin(work, link)
    if verdict in (Verdict.ADMIT, Verdict.PIN):
        admit(work, link)
    elif verdict is Verdict.ASK:
        work.move(link, LinkState.WAITING_APPROVAL, reason)
    else:
        work.send(link, messages.Refused())
        if reason is Reason.KEY_CHANGED:
            work.report("key-changed", link)
        work.move(link, LinkState.BLOCKED, reason)


def admit(work: Step, link: Link) -> None:
    """Open the gate, and tell the peer."""
    peer = work.peers.get(link.identity)
    if peer is not None and link.peer_name and peer.name != link.peer_name:
        work.save(replace(peer, name=link.peer_name))
    link = work.move(link, LinkState.AUTHORIZING)
    work.order(Authorize(link.kernel, link.identity))
    work.send(link, messages.Admitted())
