# SPDX-License-Identifier: GPL-2.0-or-later
"""What administrators ask for, and new settings. A part of the machine, pure.

What cannot be done raises a Usb4RdmaError and changes nothing.
"""

from __future__ import annotations

from dataclasses import replace

from . import admission, agreement, comparison, events, messages, probing
from .addressing import MTU_MAX, MTU_MIN
from .errors import BadState, InvalidArguments, NoSuchPeer
from .model import Identity, Link, LinkState, Peer, Policy, Reason, Settings, Trust
from .naming import LABEL_MAX, is_label
from .orders import ForgetPeer, SavePolicy
from .step import Step

_BY_POLICY = (
    Reason.UNKNOWN_PEER,
    Reason.POLICY_OFF,
    Reason.KEY_CHANGED,
    Reason.CLUSTER_SECRET,
)
"""Reasons that another policy may do away with."""


def of_link(work: Step, link: Link, event: events.Event) -> None:
    """About one link."""
    match event:
        case events.AdminAuthorize():
            if link.authorized:
                return
            if not link.secured or link.state is LinkState.INCOMPATIBLE:
                raise BadState(
                    f"{link.kernel.place} is {link.state.value}: its peer has not proved a key",
                    "usb4rdmad must run on the other host too",
                )
            if link.identity == work.identity:
                raise BadState(f"{link.kernel.place} leads to a host with our own key")
            comparison.pin(work, link, Trust.MANUAL, event.uid)
            admission.admit(work, link)
        case events.AdminDeauthorize():
            work.move(link, LinkState.WAITING_APPROVAL, Reason.DEAUTHORIZED)
        case events.AdminReset():
            admission.restart(work, link)
        case events.AdminPair():
            comparison.requested_here(work, link, event.uid)
        case events.AdminConfirm():
            link = comparison.confirmed_here(work, link, event.uid)
            if comparison.is_complete(link):
                admission.admit(work, link)
        case events.AdminProbe():
            probing.requested(work, link, event)
        case events.AdminShun():
            if not link.secured or link.identity == work.identity:
                raise BadState(f"{link.kernel.place}: its peer has not proved a key")
            comparison.pin(work, link, Trust.BLOCKED, event.uid)
            _shut_out(work, link.identity)
        case events.AdminReject():
            if link.state is not LinkState.PAIRING:
                raise BadState(f"{link.kernel.place} is not being paired")
            comparison.ended(work, link, Reason.PAIRING_REJECTED, tell=True)


def of_peer(
    work: Step,
    event: events.AdminForget | events.AdminBlock | events.AdminLabel | events.AdminMtu,
) -> None:
    """About one peer."""
    peer = work.peers.get(event.identity)
    if peer is None:
        raise NoSuchPeer(f"no peer {event.identity.hex()[:16]}")
    if isinstance(event, events.AdminLabel):
        if not is_label(event.label):
            raise BadState(f"a label has up to {LABEL_MAX} printable characters")
        work.save(replace(peer, label=event.label))
        return
    links = work.links_of(event.identity)
    if isinstance(event, events.AdminMtu):
        if event.mtu and not MTU_MIN <= event.mtu <= MTU_MAX:
            raise InvalidArguments(f"an MTU is {MTU_MIN} to {MTU_MAX}, or 0 for the default")
        work.save(replace(peer, mtu=event.mtu))
        for link in links:
            _renew(work, link)
        return
    if isinstance(event, events.AdminBlock):
        work.save(replace(peer, trust=Trust.BLOCKED))
        _report_blocked(work, peer)
        _shut_out(work, event.identity)
        return
    _forget(work, peer)


def _forget(work: Step, peer: Peer) -> None:
    for link in work.links_of(peer.identity):
        work.move(link, LinkState.WAITING_APPROVAL, Reason.DEAUTHORIZED)
    del work.peers[peer.identity]
    work.order(ForgetPeer(peer.identity))
    _report_forgotten(work, peer)
    # Whoever was shut out for having this peer's name has no other's any more.
    for link in list(work.links.values()):
        if link.secured and not link.authorized and link.reason is Reason.KEY_CHANGED:
            if peer.name and link.peer_name == peer.name:
                admission.judge(work, link)


def _shut_out(work: Step, identity: Identity) -> None:
    for link in work.links_of(identity):
        work.send(link, messages.Refused())
        work.move(link, LinkState.BLOCKED, Reason.PEER_BLOCKED)


def _report_blocked(work: Step, peer: Peer) -> None:
    work.report("peer-blocked", None, identity=peer.identity.hex(), name=peer.name)


def policy_set(work: Step, event: events.AdminPolicy) -> None:
    """The policy for strangers, at run time."""
    work.order(SavePolicy(event.policy))
    work.report("policy-set", None, policy=event.settings.policy.value)
    _apply(work, event.settings)


def _report_forgotten(work: Step, peer: Peer) -> None:
    work.report("peer-forgotten", None, identity=peer.identity.hex(), name=peer.name)


def keys_placed(work: Step, event: events.KeysPlaced) -> None:
    """These keys are in the directory now: trust them, and no more those that left it.

    A record that came about otherwise stays as it is: a block above all.
    """
    for peer in event.peers:
        if peer.identity in work.peers or peer.identity == work.identity:
            continue
        work.save(replace(peer, first_seen=work.now))
        work.report("peer-placed", None, identity=peer.identity.hex(), name=peer.name)
        for link in work.links_of(peer.identity):
            if link.secured and not link.authorized and link.reason in _BY_POLICY:
                admission.judge(work, link)
    placed = {peer.identity for peer in event.peers}
    for peer in list(work.peers.values()):
        if peer.trust is Trust.PLACED and peer.identity not in placed:
            _forget(work, peer)


def settings_changed(work: Step, event: events.SettingsChanged) -> None:
    """The configuration was read again."""
    _apply(work, event.settings)


def _renew(work: Step, link: Link) -> None:
    """A wish of ours has changed: agree again."""
    if link.authorized and link.secured:
        work.send(link, messages.Renew())
        agreement.agree_again(work, link)


def _apply(work: Step, settings: Settings) -> None:
    old, work.settings = work.settings, settings
    other_handshake = (old.policy is Policy.CLUSTER) != (settings.policy is Policy.CLUSTER)
    for link in list(work.links.values()):
        if other_handshake and link.kernel.ready and not link.authorized:
            admission.restart(work, link)
        elif link.state in (LinkState.WAITING_APPROVAL, LinkState.BLOCKED) and link.secured:
            if link.reason in _BY_POLICY:
                admission.judge(work, link)
        elif old != settings:
            _renew(work, link)
