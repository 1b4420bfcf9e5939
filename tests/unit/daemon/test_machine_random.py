# SPDX-License-Identifier: GPL-2.0-or-later
"""Random sequences of events, against a model of the kernel's gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from usb4rdmad import events as ev
from usb4rdmad import messages, orders
from usb4rdmad.errors import Usb4RdmaError
from usb4rdmad.machine import step
from usb4rdmad.model import (
    AUTHORIZED_STATES,
    KernelLink,
    Measured,
    Peer,
    ProbeKind,
    ProbePlan,
    Settings,
)
from usb4rdmad.step import TIMERS

from .helpers import (
    OTHER,
    OTHER_KEY,
    OWN,
    OWN_KEY,
    PEER,
    PEER_KEY,
    KernelState,
    LinkState,
    Policy,
    Port,
    Trust,
    kernel,
    peer,
    state,
)
from .test_machine import NOW, OPEN, SURVEY, _subnets


class Gate:
    """The kernel's side: what the ioctls do, and what sysfs then says."""

    def __init__(self) -> None:
        self.link: KernelLink | None = None
        self.instance = 0
        self.refuses = False
        self.late = False
        self.held: list[ev.Event] = []
        """Answers on their way, while it is late."""

    def carry_out(self, todo: list[orders.Order]) -> list[ev.Event]:
        came: list[ev.Event] = []
        for order in todo:
            if isinstance(order, orders.Deauthorize) and self.link is not None:
                if self.link.authorized:
                    self.link = replace(self.link, authorized=False, state=KernelState.READY)
            elif isinstance(order, orders.Authorize):
                error = 116
                if self.refuses:
                    error = 28
                elif self.link is None:
                    error = 19
                elif self.link.instance == order.kernel.instance and self.link.ready:
                    error = 0
                    self.link = replace(
                        self.link,
                        authorized=True,
                        peer=order.peer,
                        state=KernelState.AUTHORIZED,
                        ibdev="usb4rdma0",
                        netdev="u4rdma0",
                    )
                came.append(ev.AuthorizeDone("link0", order.kernel.instance, error, self.link))
        if self.late:
            self.held += came
            return []
        return came


KEYS = st.sampled_from([PEER_KEY, OTHER_KEY, OWN_KEY])
MESSAGES = [
    messages.encode(m)
    for m in (
        messages.Renew(),
        messages.Confirm(),
        messages.Reject(),
        messages.Reject(late=True),
        messages.Refused(),
        messages.Admitted(),
        messages.PairRequest(),
        messages.Accept(1, 4192),
        messages.Clash(1),
        messages.Propose(1, 4192, _subnets()),
        messages.Comparison(b"\x10" + bytes(32)),
        messages.Offer(1, ProbeKind.PING, 64, 10, b"e"),
        messages.Answer(0, b"e"),
        messages.Decline(0),
    )
]
BODIES = st.one_of(st.sampled_from(MESSAGES), st.binary(max_size=167))
PLAIN: list[ev.Event] = [
    SURVEY,
    ev.Configured("link0", ""),
    ev.Configured("link0", "no"),
    ev.PortRead("link0", Port(True)),
    ev.CodeReady("link0", "123 456"),
    ev.ComparisonFailed("link0"),
    ev.SessionStalled("link0", 1),
    ev.SessionInvalid("link0", 1),
    ev.AdminAuthorize("link0", 1),
    ev.AdminDeauthorize("link0"),
    ev.AdminReset("link0"),
    ev.AdminPair("link0", 1),
    ev.AdminConfirm("link0", 1),
    ev.AdminReject("link0"),
    ev.AdminForget(PEER),
    ev.AdminBlock(PEER),
    ev.AdminShun("link0", 1),
    ev.AdminMtu(PEER, 9000),
    ev.AdminProbe("link0", ProbePlan(ProbeKind.WRITE, 4096, 10, True)),
    ev.ProbeOpened("link0", 0, b"e"),
    ev.ProbeOpened("link0", 1, b"", "no"),
    ev.ProbeDone("link0", 0, Measured(latency_ns=1)),
    ev.KeysPlaced((Peer(OTHER, OTHER_KEY, Trust.PLACED, "mars"),)),
    ev.KeysPlaced(()),
    *(ev.TimerFired("link0", p) for p in TIMERS),
    *(ev.SettingsChanged(Settings(policy=p)) for p in Policy),
    *(ev.AdminPolicy(p, Settings(policy=p)) for p in Policy),
]
ACTIONS = st.one_of(
    st.tuples(st.just("kernel"), st.sampled_from(["ready", "handshake", "active", "failed"])),
    st.tuples(st.just("kernel"), st.just("incompatible")),
    st.tuples(st.just("instance"), st.just(0)),
    st.tuples(st.just("stale"), st.just(0)),
    st.tuples(st.just("gone"), st.just(0)),
    st.tuples(st.sampled_from(["refuses", "late"]), st.booleans()),
    st.tuples(st.just("up"), KEYS),
    st.tuples(st.just("message"), BODIES),
    st.tuples(st.just("plain"), st.sampled_from(PLAIN)),
)


@how(max_examples=100, deadline=None)
@given(
    policy=st.sampled_from(list(Policy)),
    known=st.booleans(),
    adopted=st.booleans(),
    actions=st.lists(ACTIONS, max_size=40),
)
def test_gate_is_open_only_in_authorised_states(
    policy: Policy, known: bool, adopted: bool, actions: list[tuple[str, Any]]
) -> None:
    against_gate(policy, known, adopted, actions)


COMES_UP: list[tuple[str, Any]] = [
    ("plain", ev.SettingsChanged(Settings(Policy.TOFU, configure=False))),
    ("instance", 0),
    ("up", PEER_KEY),
    ("kernel", "active"),
    ("plain", SURVEY),
    ("plain", ev.PortRead("link0", Port(True))),
]
"""What makes a link active, so that the dice often start from there."""


def test_ten_thousand_random_sequences_hold_the_invariants() -> None:
    """The same without hypothesis, which is too slow for so many."""
    dice = Random(20261121)
    plain, bodies = PLAIN, MESSAGES
    choose: list[Callable[[], tuple[str, Any]]] = [
        lambda: ("kernel", dice.choice(["ready", "handshake", "active", "active", "failed"])),
        lambda: ("kernel", "incompatible"),
        lambda: ("instance", 0),
        lambda: ("stale", 0),
        lambda: ("gone", 0),
        lambda: ("refuses", dice.random() < 0.3),
        lambda: ("late", dice.random() < 0.3),
        lambda: ("plain", ev.SettingsChanged(Settings(Policy.TOFU, configure=False))),
        *[lambda: ("up", dice.choice([PEER_KEY, PEER_KEY, OTHER_KEY, OWN_KEY]))] * 4,
        *[lambda: ("message", dice.choice(bodies))] * 4,
        *[lambda: ("plain", dice.choice(plain))] * 8,
    ]
    reached: set[LinkState] = set()
    for _ in range(10_000):
        actions = [dice.choice(choose)() for _ in range(dice.randrange(3, 14))]
        if dice.random() < 0.3:
            actions = COMES_UP + actions
        policy, known, adopted = dice.choice(list(Policy)), dice.random() < 0.5, dice.random() < 0.3
        reached |= against_gate(policy, known, adopted, actions)
    assert reached == set(LinkState), "the dice come everywhere"


def against_gate(
    policy: Policy, known: bool, adopted: bool, actions: list[tuple[str, Any]]
) -> set[LinkState]:
    """Play a sequence, checking after each action; the states that the link was in."""
    reached: set[LinkState] = set()
    gate = Gate()
    s = state(policy, *([peer()] if known else []))
    last: KernelLink | None = None
    if adopted:
        gate.instance = 1
        gate.link = OPEN
        actions = [("kernel", "active"), *actions]
    for kind, value in actions:
        event: ev.Event | None = None
        if kind == "instance" or (kind == "kernel" and gate.link is None):
            gate.instance += 1
            gate.link = kernel(instance=gate.instance)
            event = ev.KernelSeen(gate.link)
        elif kind == "kernel" and gate.link is not None:
            new = KernelState(value)
            still = gate.link.authorized and new in (KernelState.ACTIVE, KernelState.FAILED)
            if new is KernelState.ACTIVE and not still:
                new = KernelState.READY
            gate.link = replace(gate.link, state=new, authorized=still)
            event = ev.KernelSeen(gate.link)
        elif kind == "stale" and last is not None:
            event = ev.KernelSeen(
                replace(last, authorized=gate.link is not None and gate.link.authorized)
            )
            if gate.link is None or last.instance != gate.link.instance:
                event = None
        elif kind == "gone":
            gate.link = None
            event = ev.KernelGone("link0")
        elif kind == "up":
            event = ev.SessionUp("link0", gate.instance, value, "mars", gate.instance % 2 == 0)
        elif kind == "message":
            event = ev.MessageReceived("link0", value)
        elif kind == "plain":
            event = value
        elif kind == "refuses":
            gate.refuses = value
        elif kind == "late":
            gate.late = value
        last = gate.link
        pending = [*gate.held, *([event] if event is not None else [])]
        gate.held = []
        while pending:
            try:
                s, todo = step(s, pending.pop(0), NOW)
            except Usb4RdmaError:
                continue
            pending += gate.carry_out(todo)
        link = s.links.get("link0")
        is_open = gate.link is not None and gate.link.authorized
        if is_open:
            assert link is not None and link.state in AUTHORIZED_STATES
        if link is not None and link.state in AUTHORIZED_STATES and not gate.held:
            assert is_open, link
            assert link.identity == gate.link.peer  # type: ignore[union-attr]
        if link is not None:
            reached.add(link.state)
            assert link.probe is None or link.authorized
            assert (link.pairing is not None) == (link.state is LinkState.PAIRING)
            if link.authorized and link.secured:
                assert s.peers[link.identity].trust is not Trust.BLOCKED
                assert link.identity != OWN
    return reached
