# SPDX-License-Identifier: GPL-2.0-or-later
"""How two daemons agree on addresses and MTU, and when a link counts as active.

A part of the machine, pure. The host with the smaller identity proposes; the
other accepts or says that the networks clash with something it has. Whoever
becomes ready later, or whose wish changed, asks for a new proposal (Renew), so
a lost message or a late daemon costs a second and not the link. A proposal that
is said again keeps its number: the answer to either is an answer to both. One
that comes before our gate is open is kept until it is.
"""

from __future__ import annotations

from dataclasses import replace

from . import addressing, probing
from .addressing import ATTEMPTS, MTU_MIN
from .events import Configured, NetworkSurveyed, PortRead
from .messages import Accept, Clash, Propose, Renew
from .model import (
    Interface,
    KernelState,
    Link,
    LinkState,
    Plan,
    Reason,
    Setup,
    Subnets,
)
from .orders import Configure, ReadPort, StartTimer, StopTimer, Survey
from .step import Step

RESEND = 1.0
PORT_RETRY = 0.1
PORT_PATIENCE = 5.0
CONFIGURE_RETRY = 5.0


def wished_mtu(step: Step, link: Link) -> int:
    """The largest MTU that this side wants and the link can carry."""
    limit = link.kernel.mtu or addressing.MTU_MAX
    peer = step.peers.get(link.identity)
    wish = peer.mtu if peer is not None and peer.mtu else step.settings.mtu
    return max(MTU_MIN, min(wish, limit))


def begin(step: Step, link: Link) -> Link:
    """The gate is open: look at the host's networks, then agree."""
    link = step.put(replace(link, setup=Setup(seq=link.setup.seq, asked=link.setup.asked)))
    return survey(step, link)


def survey(step: Step, link: Link) -> Link:
    """Ask for the host's networks; surveyed() goes on."""
    if not link.authorized or not link.kernel.netdev or link.setup.surveying:
        return link
    step.order(Survey(link.name, link.kernel.netdev))
    return step.put(replace(link, setup=replace(link.setup, surveying=True)))


def refresh(step: Step, link: Link) -> Link:
    """Something about the interface changed: begin, unless it has begun."""
    setup = link.setup
    begun = setup.plan is not None or setup.offer is not None or setup.called
    return link if begun else survey(step, link)


def surveyed(step: Step, link: Link, event: NetworkSurveyed) -> Link:
    """The host's networks are known: adopt what is there, answer, or propose."""
    link = step.put(replace(link, setup=replace(link.setup, surveying=False)))
    if not link.authorized:
        return link
    if not step.settings.configure:
        link = step.put(replace(link, setup=replace(link.setup, applied=True)))
        return settle(step, link)
    if link.setup.plan is None:
        link = adopt(step, link, event.interface)
    if link.setup.asked is not None:
        link = _answer(step, link, event)
    elif _proposes(step, link) and link.secured:
        link = _propose(step, link, event)
    elif link.secured and link.setup.plan is None:
        step.send(link, Renew())
        step.order(StartTimer(link.name, "agree", RESEND))
        link = step.put(replace(link, setup=replace(link.setup, called=True)))
    return settle(step, link)


def adopt(step: Step, link: Link, interface: Interface) -> Link:
    """Take up addresses that an earlier run of the daemon left on the interface."""
    peer = step.peers.get(link.identity)
    if peer is None or not _any(peer.subnets):
        return link
    plan = _own(step, addressing.plan(peer.subnets, step.identity, link.identity, interface.mtu))
    if not set(plan.local) <= set(interface.addresses):
        return link
    setup = replace(link.setup, plan=plan, applied=True)
    step.order(ReadPort(link.name, link.kernel.ibdev))
    return step.put(replace(link, setup=setup))


def _own(step: Step, plan: Plan) -> Plan:
    """The plan without addresses of a family that is switched off here."""
    families = {4} if step.settings.ipv4_pool is not None else set()
    families |= {6} if step.settings.ipv6 else set()
    return replace(plan, local=tuple(a for a in plan.local if a.ip.version in families))


def _any(subnets: Subnets) -> bool:
    return subnets.ipv4 is not None or subnets.ipv6 is not None


def _proposes(step: Step, link: Link) -> bool:
    return step.identity < link.identity


def _propose(step: Step, link: Link, event: NetworkSurveyed) -> Link:
    setup = link.setup
    peer = step.peers.get(link.identity)
    subnets: Subnets | None = None
    if setup.attempt == 0 and peer is not None and _any(peer.subnets):
        kept = _enabled(step, peer.subnets)
        if _any(kept) and addressing.free(kept, event.used):
            subnets = kept
    attempt = setup.attempt
    while subnets is None and attempt < ATTEMPTS:
        found = addressing.candidate(step.settings, step.identity, link.identity, attempt)
        if addressing.free(found, event.used):
            subnets = found
        else:
            attempt += 1
    if subnets is None:  # no room in the pool: IPv6 alone
        found = addressing.candidate(step.settings, step.identity, link.identity, 0)
        subnets = Subnets(None, found.ipv6)
    offer = (wished_mtu(step, link), subnets)
    seq = setup.seq if setup.offer == offer else (setup.seq + 1) & 0xFFFF
    link = step.put(replace(link, setup=replace(setup, attempt=attempt, seq=seq, offer=offer)))
    step.send(link, Propose(seq, *offer))
    step.order(StartTimer(link.name, "agree", RESEND))
    return link


def _enabled(step: Step, subnets: Subnets) -> Subnets:
    v4 = subnets.ipv4
    pool = step.settings.ipv4_pool
    keep4 = v4 if v4 is not None and pool is not None and v4.subnet_of(pool) else None
    if keep4 is None and pool is not None:
        return Subnets()
    return Subnets(keep4, subnets.ipv6 if step.settings.ipv6 else None)


def proposed(step: Step, link: Link, message: Propose) -> Link:
    """The peer proposes: look at our networks first."""
    if _proposes(step, link):
        return link
    asked = (message.seq, message.mtu, message.subnets)
    return survey(step, step.put(replace(link, setup=replace(link.setup, asked=asked))))


def _answer(step: Step, link: Link, event: NetworkSurveyed) -> Link:
    assert link.setup.asked is not None
    seq, mtu, subnets = link.setup.asked
    link = step.put(replace(link, setup=replace(link.setup, asked=None)))
    if not addressing.free(subnets, event.used):
        step.send(link, Clash(seq))
        return link
    mtu = min(mtu, wished_mtu(step, link))
    step.send(link, Accept(seq, mtu))
    return _agreed(step, link, subnets, mtu)


def accepted(step: Step, link: Link, message: Accept) -> Link:
    """The peer agrees to our proposal."""
    setup = link.setup
    if not link.authorized or setup.offer is None or message.seq != setup.seq:
        return link
    mtu = min(message.mtu, wished_mtu(step, link))
    return _agreed(step, link, setup.offer[1], mtu)


def clashed(step: Step, link: Link, message: Clash) -> Link:
    """The peer cannot use our proposal: the next one."""
    setup = link.setup
    if not link.authorized or setup.offer is None or message.seq != setup.seq:
        return link
    peer = step.peers.get(link.identity)
    if setup.attempt == 0 and peer is not None and _any(peer.subnets):
        step.save(replace(peer, subnets=Subnets()))
        attempt = 0 if setup.offer[1] == peer.subnets else 1
    else:
        attempt = setup.attempt + 1
    return survey(step, step.put(replace(link, setup=replace(setup, attempt=attempt, offer=None))))


def _agreed(step: Step, link: Link, subnets: Subnets, mtu: int) -> Link:
    step.order(StopTimer(link.name, "agree"))
    plan = _own(step, addressing.plan(subnets, step.identity, link.identity, mtu))
    peer = step.peers.get(link.identity)
    if peer is not None and peer.subnets != subnets:
        step.save(replace(peer, subnets=subnets))
    setup = replace(link.setup, plan=plan, offer=None)
    if link.setup.plan != plan or not link.setup.applied:
        setup = replace(setup, applied=False)
        step.order(Configure(link.name, link.kernel.netdev, plan.mtu, plan.local))
    return settle(step, step.put(replace(link, setup=setup)))


def configured(step: Step, link: Link, event: Configured) -> Link:
    """The interface took the plan, or refused it, or could not even be looked at."""
    link = step.put(replace(link, setup=replace(link.setup, surveying=False)))
    if not link.authorized:
        return link
    if event.error:
        step.order(StartTimer(link.name, "agree", CONFIGURE_RETRY))
        link = step.put(replace(link, setup=replace(link.setup, applied=False)))
        step.report("configure-failed", link, error=event.error)
        return step.move(link, _not_active(link), Reason.CONFIGURE_FAILED)
    link = step.put(replace(link, setup=replace(link.setup, applied=True)))
    step.order(ReadPort(link.name, link.kernel.ibdev))
    return settle(step, link)


def port_read(step: Step, link: Link, event: PortRead) -> Link:
    """The port's state and GIDs are known."""
    if not link.authorized:
        return link
    return settle(step, step.put(replace(link, port=event.port)))


def agree_again(step: Step, link: Link) -> Link:
    """The timer ran out, or the peer asks: survey, then propose (or ask) again."""
    if not link.authorized:
        return link
    setup = link.setup
    if setup.plan is not None and not setup.applied:
        step.order(Configure(link.name, link.kernel.netdev, setup.plan.mtu, setup.plan.local))
        return link
    return survey(step, link)


def _not_active(link: Link) -> LinkState:
    """The state of an authorised link that is not (or no longer) whole."""
    was = link.state in (LinkState.ACTIVE, LinkState.DEGRADED)
    return LinkState.DEGRADED if was else LinkState.CONFIGURING


def settle(step: Step, link: Link) -> Link:
    """Put an authorised link into the state that its parts add up to."""
    if not link.authorized or link.state is LinkState.AUTHORIZING:
        return link
    if link.kernel.state is KernelState.FAILED:
        return step.move(link, _not_active(link), Reason.DATA_PATH)
    if link.kernel.state is not KernelState.ACTIVE:
        return step.move(link, _not_active(link), Reason.WAITING_PEER)
    if not link.setup.applied:
        return step.move(link, _not_active(link), Reason.WAITING_ADDRESSES)
    plan = link.setup.plan
    missing = plan is not None and not all(link.port.has(a.ip) for a in plan.local)
    if missing or not link.port.active:
        young = step.now - link.since < PORT_PATIENCE * 1_000_000
        step.order(StartTimer(link.name, "port", PORT_RETRY if young else PORT_PATIENCE))
        return step.move(link, _not_active(link), Reason.WAITING_PORT)
    if link.state is not LinkState.ACTIVE:
        step.order(StopTimer(link.name, "port"))
    return probing.consider(step, step.move(link, LinkState.ACTIVE))
