# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests over a link: who opens an end, who may ask, what comes out. Pure.

A part of the machine. One end offers with its endpoint, the other answers with
its own or declines; then both run. One test a link at a time. A link that comes
up is pinged once by the host with the smaller identity; administrators may ask
for more. What the peer says bounds nothing here: messages.py caps it, and both
ends have their own deadlines.
"""

from __future__ import annotations

from dataclasses import replace

from .errors import BadState, Busy
from .events import AdminProbe, ProbeDone, ProbeOpened
from .messages import Answer, Decline, Offer
from .model import Link, LinkState, Measured, Port, Probe, ProbeKind, ProbePlan
from .orders import CloseProbe, OpenProbe, ProbeResult, RunProbe, StartTimer, StopTimer
from .step import Step

SELF_TEST = ProbePlan(ProbeKind.PING, 64, 100, True)
CHECKS_MAX = 3
RETRY = 2.0
PATIENCE = 40.0
"""Seconds for a whole test, the other end's part included."""


def consider(step: Step, link: Link) -> Link:
    """The link may just have come up: ping once, if it is ours to do."""
    if not step.settings.self_test or step.identity > link.identity:
        return link
    if link.measured is not None or link.probe is not None or link.checks >= CHECKS_MAX:
        return link
    if link.state is not LinkState.ACTIVE or not link.secured:
        return link
    return _open(step, replace(link, checks=link.checks + 1), SELF_TEST, False)


def requested(step: Step, link: Link, event: AdminProbe) -> Link:
    """An administrator asks for a test."""
    if link.state is not LinkState.ACTIVE or not link.secured:
        raise BadState(f"{link.kernel.place} is {link.state.value}, not active")
    if link.probe is not None:
        raise Busy(f"{link.kernel.place} is being tested already")
    return _open(step, link, event.plan, True)


def _open(step: Step, link: Link, plan: ProbePlan, by_admin: bool, serial: int = -1) -> Link:
    """Order our end; an initiator draws a number of its own."""
    probes = link.probes
    if serial < 0:
        serial = probes & 0xFFFF
        probes += 1
    step.order(OpenProbe(link.name, serial, link.kernel.ibdev, _gid(link), plan))
    step.order(StartTimer(link.name, "probe", PATIENCE))
    return step.put(replace(link, probes=probes, probe=Probe(serial, plan, by_admin=by_admin)))


def _gid(link: Link) -> str:
    """That of the first agreed address, so that both ends take the same family."""
    ours = [a.ip for a in link.setup.plan.local] if link.setup.plan else []
    gids = [gid for _, gid, kind in link.port.gids if kind == "RoCE v2"]
    for ip in ours:
        for gid in gids:
            if Port(gids=((0, gid, "RoCE v2"),)).has(ip):
                return gid
    return gids[-1] if gids else ""


def offered(step: Step, link: Link, message: Offer) -> Link:
    """The peer wants to measure; ours is then the answering end."""
    if link.state is not LinkState.ACTIVE or link.probe is not None:
        step.send(link, Decline(message.serial))
        return link
    plan = ProbePlan(message.kind, message.size, message.count, False)
    link = _open(step, link, plan, False, message.serial)
    assert link.probe is not None
    return step.put(replace(link, probe=replace(link.probe, remote=message.endpoint)))


def answered(step: Step, link: Link, message: Answer) -> Link:
    """The peer's end is there: run."""
    probe = link.probe
    if probe is None or not probe.plan.initiator or probe.serial != message.serial:
        return link
    if probe.remote or not probe.opened:
        return link
    step.order(RunProbe(link.name, probe.serial, message.endpoint))
    return step.put(replace(link, probe=replace(probe, remote=message.endpoint)))


def declined(step: Step, link: Link, message: Decline) -> Link:
    """The peer does not want to, or not now."""
    probe = link.probe
    if probe is None or not probe.plan.initiator or probe.serial != message.serial:
        return link
    return ended(step, link, Measured("the other host declined the test"))


def opened(step: Step, link: Link, event: ProbeOpened) -> Link:
    """Our end is there, or cannot be."""
    probe = link.probe
    if probe is None or probe.serial != event.serial:
        return link
    if event.error:
        if not probe.plan.initiator:
            step.send(link, Decline(probe.serial))
        return ended(step, link, Measured(event.error), available=False)
    link = step.put(replace(link, probe=replace(probe, opened=True)))
    plan = probe.plan
    if plan.initiator:
        step.send(link, Offer(probe.serial, plan.kind, plan.size, plan.count, event.endpoint))
    else:
        step.send(link, Answer(probe.serial, event.endpoint))
        step.order(RunProbe(link.name, probe.serial, probe.remote))
    return link


def done(step: Step, link: Link, event: ProbeDone) -> Link:
    """The measurement is over."""
    if link.probe is None or link.probe.serial != event.serial:
        return link
    return ended(step, link, event.measured)


def ended(step: Step, link: Link, measured: Measured, available: bool = True) -> Link:
    """No test runs any more; say what came out to whom it concerns."""
    probe = link.probe
    if probe is None:
        return link
    step.order(CloseProbe(link.name), StopTimer(link.name, "probe"))
    link = step.put(replace(link, probe=None))
    plan = probe.plan
    if not plan.initiator:
        if plan.kind is ProbeKind.PING and not measured.error and measured.latency_ns:
            link = step.put(replace(link, measured=measured))
        return link
    if probe.by_admin:
        step.order(ProbeResult(link.name, probe.serial, measured))
    if plan.kind is ProbeKind.PING and not measured.error:
        link = step.put(replace(link, measured=measured))
    if probe.by_admin or link.state is not LinkState.ACTIVE:
        return link
    if not measured.error:
        step.report("self-test-passed", link, latency_ns=str(measured.latency_ns))
    elif not available:
        link = step.put(replace(link, checks=CHECKS_MAX))
    elif link.checks < CHECKS_MAX:
        step.order(StartTimer(link.name, "check", RETRY))
    else:
        link = step.put(replace(link, measured=measured))
        step.report("self-test-failed", link, error=measured.error)
    return link


def stop(step: Step, link: Link, why: str) -> Link:
    """The link goes down or a deadline has passed."""
    return ended(step, link, Measured(why))
