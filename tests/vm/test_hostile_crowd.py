# SPDX-License-Identifier: GPL-2.0-or-later
"""Three peers at one host, two of which say that they are the first one.

x is honest and has a connection with the host's program. y hangs on the other port of the same
host router, z on a second host router, where it has the same route as x. Whatever y and z say, x's
link, device and connection stay what they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scenario
from attacker import Attacker, settled, wait_answer, write
from lab.api import Host, Lab

pytestmark = pytest.mark.timeout(900)
TOPOLOGY = Path(__file__).resolve().with_name("crowd.toml")
HELLO, RELAY, OPEN, READY, CLOSE = range(1, 6)
REPLY = 0x80
RESPONSE = 7  # of an XDomain packet, as the router sees it
RTS = 3
GATE_PATTERN = "lab/[g]ate.py"
GATE = "/usr/lib/usb4rdma-lab/gate.py"
FACTS = ("state", "authorized", "instance", "host_id", "epoch", "peer", "ibdev")


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    """One host, three peers without a machine."""
    return {"install": "driver", "topology": str(TOPOLOGY)}


class Crowd:
    """The three peers, the host's links with them, a program connected with x."""

    def __init__(self, lab: Lab) -> None:
        self.host: Host = lab["a"]
        self.x, self.y, self.z = (Attacker(lab, name) for name in "xyz")
        self.x_facts = self.x.do("state")
        self.device = self.link(self.x)["ibdev"]
        self.x.start(self.device)
        self.before = self.link(self.x)

    def link(self, peer: Attacker) -> dict[str, str]:
        """What sysfs says of the link at the end of which this peer is; {} without one."""
        port = {"x": ("0-1", "0-1."), "y": ("0-3", "0-3."), "z": ("1-1", "1-1.")}[peer.peer]
        # Two programs for all links: on the sanitizer kernel each costs seconds.
        files = f"link*/{{{','.join(FACTS)}}}"
        script = f"cd /sys/class/usb4rdma && readlink link*; grep -s . {files}; true"
        found: dict[str, dict[str, str]] = {}
        for line in self.host.run(script, check=True).out.splitlines():
            if "usb4rdma/link" in line:
                service, _, name = line.split("/")[-3:]
                if service == port[0] or service.startswith(port[1]):
                    found[name] = dict.fromkeys(FACTS, "-")
            else:
                path, _, value = line.partition(":")
                name, fact = path.split("/")
                if name in found:
                    found[name][fact] = value
        return next(iter(found.values()), {})

    def wait(self, peer: Attacker, what: str, **facts: str) -> None:
        """Until the link with this peer has these facts."""
        scenario.until(f"{peer.peer}: {what}", 60, lambda: facts.items() <= self.link(peer).items())

    def counted(self, peer: Attacker, device: str, count: int) -> None:
        """Until so many segments that came by this peer's device were for nobody."""
        scenario.until(
            "a segment for another's queue pair is counted",
            30,
            lambda: peer.counters(device)["rx_no_qp"] == count,
        )

    def unharmed(self, what: str) -> None:
        """x's link is the same instance, its connection lives, its device is its own."""
        assert self.link(self.x) == self.before, what
        state = scenario.port_state(self.host, self.device)
        assert state.endswith("ACTIVE"), what
        self.x.answers()
        settled(self.x)
        report = self.x.ask()
        assert report["states"]["rc"] == RTS and not report["changed"], (what, report)
        for other in (self.y, self.z):
            assert self.link(other).get("ibdev") != self.device, what


@pytest.fixture
def crowd(lab: Lab) -> Iterator[Crowd]:
    """All three links active; in the end x's connection still takes a write."""
    crowd = Crowd(lab)
    yield crowd
    crowd.x.answers()
    crowd.x.send(write(crowd.x))
    wait_answer(crowd.x, "ACK")
    report = crowd.x.ask()
    crowd.x.stop()
    assert report["canaries"] and report["foreign"] and report["readonly"], report


def hello(source: str, target: str, host_id: str, epoch: int) -> str:
    """The body of a HELLO in anybody's name."""
    body = bytes.fromhex(source) + bytes.fromhex(target) + bytes.fromhex(host_id)
    return (body + struct.pack("<QHHI", epoch, 1, 1, 0)).hex()


def test_a_cable_that_claims_anothers_host_id_or_epoch_gets_nothing_of_it(crowd: Crowd) -> None:
    y, x = crowd.y, crowd.x_facts
    for epoch in (x["epoch"], 4711):
        y.set(host_id=x["host_id"], epoch=epoch, token=0x5000 + epoch)
        y.do("ask", kind=HELLO)
        # It is believed to be what it says, and is still only y for those who authorise.
        crowd.wait(
            y, "active with x's host id", state="active", host_id=x["host_id"], epoch=str(epoch)
        )
        assert crowd.link(y)["peer"] != crowd.before["peer"]
        crowd.unharmed(f"host id of x, epoch {epoch}")


def test_an_authorised_peer_reaches_no_queue_pair_of_another(crowd: Crowd) -> None:
    for other in (crowd.y, crowd.z):
        device = crowd.link(other)["ibdev"]
        before = other.counters(device)["rx_no_qp"]
        other.facts = crowd.x.facts
        # As x's own queue pair, to the right number, with the right key; on a link of its own.
        other.send(write(other))
        # And with x's tag, which no rail of its own has.
        tag = crowd.x.do("state")["their_tag"]
        other.send(write(other), link={"tag": tag})
        crowd.counted(other, device, before + 1)
        crowd.unharmed(f"{other.peer} writes")


def test_messages_by_another_host_router_reach_no_link(crowd: Crowd) -> None:
    z, x = crowd.z, crowd.x_facts
    # In x's name, to the router that x is at: what is no secret is right, the tokens are guessed.
    target = crowd.x.do("state")["their_uuid"]
    ours = z.do("state")
    z.set(uuid=x["uuid"], their_uuid=target)
    z.do("ask", kind=HELLO, payload=hello(x["uuid"], target, x["host_id"], 4711))
    for kind in (RELAY, OPEN, READY, CLOSE):
        for to in (0, 1, ours["their_token"]):
            z.do("ask", kind=kind, head={"from": x["token"], "to": to})
    # Replies to what the host asks x meanwhile, with numbers that it may use.
    last = crowd.x.do("state")["their_request"]
    body = hello(x["uuid"], target, ours["host_id"], 4712)
    for number in range(max(last - 20, 0), last + 20):
        head = {"type": HELLO | REPLY, "packet": RESPONSE, "number": number}
        for theirs in (0, 1):
            to = {"to": ours["their_token"], "theirs": theirs}
            z.do("ask", kind=HELLO, payload=body, head=head | to)
    z.set(uuid=ours["uuid"], their_uuid=ours["their_uuid"])
    z.do("received")
    z.do("ask", kind=HELLO)
    scenario.until("z itself is still answered", 30, lambda: bool(z.do("received")["replies"]))
    crowd.unharmed("z speaks as x")
    crowd.wait(z, "active", state="active")


def test_an_unauthorised_cable_that_is_x_in_every_word_ends_nothing(lab: Lab, crowd: Crowd) -> None:
    y, x = crowd.y, crowd.x_facts
    ours = y.do("state")
    crowd.host.run(f"pkill -f {GATE_PATTERN}")
    lab.unplug("a:2", "y:1")
    scenario.until("y's link is gone", 60, lambda: not crowd.link(y))
    y.set(uuid=x["uuid"], host_id=x["host_id"], epoch=4713, token=0x4713)
    lab.plug("a:2", "y:1")
    crowd.wait(y, "the handshake is done", state="ready", host_id=x["host_id"], epoch="4713")
    y.do("ask", kind=CLOSE)
    y.do("ask", kind=OPEN)
    crowd.unharmed("y is not authorised")
    lab.unplug("a:2", "y:1")
    scenario.until("y's link is gone", 60, lambda: not crowd.link(y))
    y.set(uuid=ours["uuid"], host_id=ours["host_id"], epoch=4714, token=0x4714)
    lab.plug("a:2", "y:1")
    crowd.host.run(f"setsid {GATE} >>/run/usb4rdma-lab/gate.log 2>&1 </dev/null &")
    crowd.wait(y, "active as itself", state="active", host_id=ours["host_id"])
