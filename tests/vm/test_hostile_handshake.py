# SPDX-License-Identifier: GPL-2.0-or-later
"""A peer that lies about who it is and what it has, before and beside the data path."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest
import scenario
from attacker import OPS, TOPOLOGY, Attacker, Segment
from lab.api import Host, Lab

pytestmark = pytest.mark.timeout(900)
HELLO, RELAY, OPEN, READY, CLOSE = range(1, 6)
REPLY = 0x80
OK, NOT_AUTHORIZED, NOT_READY, BUSY = 0, 2, 3, 4
HALF_OPEN, AT_ONCE = 4000, 100
CLOSED_PATHS = 8
RESPONSE = 7  # of an XDomain packet, as the router sees it
FAKES = 40
TRACING = "/sys/kernel/tracing"
# The protocol UUIDs' first word, as thunderbolt's tracepoints print it.
OUR_WORD = "0x0e6a2f6c"
GATE_PATTERN = "lab/[g]ate.py"
GATE = "/usr/lib/usb4rdma-lab/gate.py"
# What a flood may leave behind in the slab caches of a host, everything counted.
SLACK_KB = 4096


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    """One host, and a peer without a machine."""
    return {"install": "driver", "topology": str(TOPOLOGY)}


def attribute(host: Host, name: str) -> str:
    """An attribute of the one link."""
    return host.run(f"cat /sys/class/usb4rdma/link*/{name} 2>/dev/null").out.strip()


def wait_state(host: Host, state: str, seconds: float = 60) -> None:
    """Until the link is in this state."""
    scenario.until(f"the link is {state}", seconds, lambda: attribute(host, "state") == state)


def slab_kb(host: Host) -> int:
    """Memory in slab caches, after what can be freed was freed."""
    host.run("sync; echo 3 >/proc/sys/vm/drop_caches", check=True)
    shown = host.run("grep SUnreclaim /proc/meminfo", check=True).out
    return int(shown.split()[1])


def statuses(attacker: Attacker, kind: int) -> list[int]:
    """The status of each reply of this kind that came since the last question."""
    replies = [bytes.fromhex(text) for text in attacker.do("received")["replies"]]
    return [reply[1] for reply in replies if reply[0] == kind | REPLY]


def test_a_request_is_a_hint_and_changes_nothing_that_the_peer_does_not_confirm(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    before = {name: attribute(host, name) for name in ("epoch", "host_id", "peer")}
    # As another host, another epoch, another token: the host asks back, and we say the old ones.
    other = bytes(32) + b"another host id!" + struct.pack("<QHHI", 4711, 1, 1, 0)
    attacker.do("ask", kind=HELLO, payload=other.hex(), head={"from": 0x1234})
    attacker.do("ask", kind=CLOSE, head={"from": 0x1234})
    attacker.do("ask", kind=CLOSE, head={"to": 0x1234})
    attacker.do("ask", kind=OPEN, head={"from": 0x1234})
    wait_state(host, "active")
    scenario.pause(2)
    assert attribute(host, "state") == "active"
    assert {name: attribute(host, name) for name in before} == before
    assert scenario.port_state(host).endswith("ACTIVE")


@pytest.mark.parametrize(
    "head",
    [
        {"type": 0},
        {"type": 6},
        {"type": 0x7F},
        {"type": 0x81},
        {"status": 1},
        {"version": 0xFFFF},
        {"length": 0},
        {"length": 4},
        {"length": 12},
        {"length": 63},
    ],
    ids=lambda head: "-".join(f"{key}{value}" for key, value in head.items()),
)
def test_a_garbled_message_is_not_answered_with_yes_and_harms_nothing(
    lab: Lab, head: dict[str, int]
) -> None:
    host, attacker = lab["a"], Attacker(lab)
    attacker.do("received")
    for kind in (HELLO, RELAY, OPEN, READY, CLOSE):
        # An OPEN or CLOSE that is whole would be obeyed: the peer may close its own link.
        payload = bytes(200) if kind == RELAY else bytes(36)
        attacker.do("ask", kind=kind, payload=payload.hex(), head=head)
    wait_state(host, "active")
    assert not lab.alarms()


def test_a_flood_of_half_open_handshakes_and_messages_is_bounded(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    before = slab_kb(host)
    for first in range(1, HALF_OPEN, AT_ONCE):
        attacker.do("ask", kind=HELLO, head={"from": first}, times=AT_ONCE, vary=True)
        # Those that the host has no room for are lost; some of each lot it takes.
        scenario.until("the host answers", 30, lambda: OK in statuses(attacker, HELLO))
    relay = struct.pack("<IHH", 1, 192, 0) + bytes(192)
    attacker.do("received")
    for number in range(1, 300):
        body = struct.pack("<I", number) + relay[4:]
        attacker.do("ask", kind=RELAY, payload=body.hex())
    scenario.until("the flood is answered", 60, lambda: bool(statuses(attacker, RELAY)))
    wait_state(host, "active")
    assert scenario.port_state(host).endswith("ACTIVE")
    grown = slab_kb(host) - before
    print(f"  {HALF_OPEN} half-open handshakes, 300 messages: {grown} KiB more in slab caches")
    assert grown < SLACK_KB
    host.run("cat /proc/loadavg", check=True, timeout=20)


def test_what_a_peer_calls_a_reply_is_not_for_the_core_to_match(lab: Lab) -> None:
    """thunderbolt takes a packet of kind RESPONSE for the answer to whatever it sends just then
    with the same route and UUID, our own answers too, and frees that under who sends it: the
    sanitizer kernel tells so, on others the core's tracepoint shows what got so far."""
    host, attacker = lab["a"], Attacker(lab)
    # The sanitizer kernels have no tracepoints.
    host.run(f"mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}")
    traced = host.run(f"cd {TRACING}/events/thunderbolt && echo 1 >tb_event/enable "
                      "&& echo 1 >tb_rx/enable && echo >../../trace").rc == 0  # fmt: skip
    assert traced or "-usb4rdma-" in lab.plan.kernel_version
    attacker.do("received")
    fake = {"type": HELLO | REPLY, "packet": RESPONSE, "number": 0x7FFF0000}
    for _ in range(FAKES):
        attacker.do("ask", kind=HELLO)
        attacker.do("ask", kind=HELLO, head=fake, times=4)
    scenario.until("the host answers", 60, lambda: OK in statuses(attacker, HELLO))
    # What it will ask when its link is closed, answered before it does, by us and by a stranger.
    last = attacker.do("state")["their_request"]
    attacker.do("ask", kind=CLOSE)
    for number in range(last, last + FAKES):
        for stranger in ({}, {"from": 0x5713}):
            head = {"type": OPEN | REPLY, "packet": RESPONSE, "number": number, "theirs": 1}
            attacker.do("ask", kind=OPEN, head=head | stranger)
    scenario.until("it is seen to be closed", 60, lambda: bool(statuses(attacker, CLOSE)))
    wait_state(host, "active")
    if traced:
        seen = host.run(f"cat {TRACING}/trace; echo 0 >{TRACING}/events/thunderbolt/enable").out
        ours = [line for line in seen.splitlines() if "XDOMAIN_RESP" in line and OUR_WORD in line]
        assert sum("tb_event:" in line for line in ours) >= FAKES, seen[-2000:]
        assert not [line for line in ours if "tb_rx:" in line]
    assert not lab.alarms()


def test_a_peer_that_never_gets_ready_holds_up_nothing(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    attacker.set(silent=[READY])
    attacker.do("ask", kind=CLOSE)
    scenario.until("the path is closed", 60, lambda: attribute(host, "state") != "active")
    scenario.pause(2)
    assert attribute(host, "state") in ("authorized", "ready")
    attacker.set(silent=[])
    wait_state(host, "active")


def test_a_peer_that_opens_and_closes_without_end_is_paced(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    begun = attacker.do("state")["paths"]
    attacker.set(hasty=True)
    attacker.do("ask", kind=CLOSE)
    times = []
    for number in (CLOSED_PATHS - 1, CLOSED_PATHS):
        scenario.until(
            f"{number} paths are begun",
            120,
            lambda number=number: attacker.do("state")["paths"] >= begun + number,
        )
        times.append(time.monotonic())
    attacker.set(hasty=False)
    waited = times[1] - times[0]
    print(f"  the {CLOSED_PATHS}th path, each closed at once: after {waited:.1f} s")
    # 20 ms before the first, and twice as long before each that follows.
    assert waited > 0.9 * 0.02 * 2 ** (CLOSED_PATHS - 1)

    def lasting() -> bool:
        # The last hasty CLOSE may still be on its way.
        before = scenario.port_state(host)
        scenario.pause(2)
        return before.endswith("ACTIVE") and scenario.port_state(host) == before

    scenario.until("a path lasts", 60, lasting)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("no tag", struct.pack("<IIHHHHII", 0, 0, 8, 0, 256, 239, 0, 0)),
        ("a HopID beyond the adapter's", struct.pack("<IIHHHHII", 5, 0, 65535, 0, 256, 239, 0, 0)),
        ("a reserved HopID", struct.pack("<IIHHHHII", 5, 0, 0, 0, 256, 239, 0, 0)),
        ("more credits than the ring", struct.pack("<IIHHHHII", 5, 0, 8, 0, 256, 65535, 0, 0)),
        ("no credits", struct.pack("<IIHHHHII", 5, 0, 8, 0, 256, 0, 0, 0)),
        ("no ring", struct.pack("<IIHHHHII", 5, 0, 8, 0, 0, 239, 0, 0)),
        ("half a message", bytes(10)),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_an_open_reply_that_cannot_be_opens_no_path(lab: Lab, name: str, body: bytes) -> None:
    host, attacker = lab["a"], Attacker(lab)
    attacker.set(answers={str(OPEN): body.hex()})
    attacker.do("ask", kind=CLOSE)
    scenario.until("the path is closed", 60, lambda: attribute(host, "state") != "active")
    scenario.pause(1)
    assert attribute(host, "state") != "active", name
    attacker.set(answers={})
    wait_state(host, "active")


def test_a_new_epoch_ends_the_connections_of_the_old_one(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    attacker.start()
    epoch = attribute(host, "epoch")
    attacker.set(epoch=78, token=0x7800780078)
    attacker.do("ask", kind=HELLO)
    scenario.until("the new epoch is known", 60, lambda: attribute(host, "epoch") != epoch)
    wait_state(host, "active")
    states: dict[str, int] = {}

    def ended() -> bool:
        states.update(attacker.ask()["states"])
        return states["rc"] == 6

    scenario.until("the connection has ended", 60, ended)
    # What the peer sends to a connection of its former life reaches nobody.
    before = attacker.counters()["rx_segments"]
    segment = Segment(
        OPS["WRITE"],
        dqpn=attacker.qpn("rc"),
        raddr=attacker.facts["address"],
        rkey=attacker.facts["rkey"],
        payload=bytes(64),
    )
    attacker.send(segment)
    report = attacker.ask()
    assert not report["changed"]
    assert attacker.counters()["rx_segments"] == before
    attacker.stop()


def test_a_handshake_that_is_played_again_changes_nothing(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    for kind in (HELLO, OPEN, READY):
        attacker.do("ask", kind=kind)
    attacker.set(epoch=81, token=0x8100810081, tag=0x81)
    attacker.do("ask", kind=HELLO)
    scenario.until("the new epoch is known", 60, lambda: attribute(host, "epoch") == "81")
    wait_state(host, "active")
    before = {name: attribute(host, name) for name in ("epoch", "instance", "host_id", "peer")}
    attacker.do("received")
    # Requests and replies of both lives, the former one's CLOSE too.
    played = attacker.do("replay")
    assert played["sent"] > 5 and len(played["kinds"]) == 2
    attacker.do("ask", kind=CLOSE, head={"from": 0x7800780078})
    scenario.until("the last is answered", 30, lambda: NOT_READY in statuses(attacker, CLOSE))
    wait_state(host, "active")
    assert {name: attribute(host, name) for name in before} == before
    assert scenario.port_state(host).endswith("ACTIVE")


def test_without_authorisation_only_handshake_and_relay_are_served(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    host.run(f"pkill -f {GATE_PATTERN}")
    attacker.set(epoch=79, token=0x7900790079)
    attacker.do("ask", kind=HELLO)
    wait_state(host, "ready")
    assert scenario.port_state(host).endswith("DOWN")
    before = lab.stat()["routers"]
    # All that was ever said on this cable once more, and what only an authorised peer may ask.
    attacker.do("replay")
    attacker.do("received")
    for hop in range(1, 32):
        attacker.do("frame", data="ff" * 64, sof=1, eof=2, hop=hop)

    def refused() -> bool:
        # Again and again: behind all that was replayed some find no room.
        attacker.do("ask", kind=OPEN)
        attacker.do("ask", kind=READY)
        return NOT_AUTHORIZED in statuses(attacker, OPEN)

    scenario.until("OPEN is refused", 30, refused)
    assert attribute(host, "state") == "ready" and attribute(host, "authorized") == "0"
    after = lab.stat()["routers"]
    # There is nothing that a frame could arrive in: the control rings alone are on.
    assert {name for name, ring in after["a"]["rings"].items() if ring["enabled"]} == {"tx0", "rx0"}
    for name, router in after.items():
        assert router["data"]["rx_frames"] == before[name]["data"]["rx_frames"], name
    host.run(f"setsid {GATE} >>/run/usb4rdma-lab/gate.log 2>&1 </dev/null &")
    wait_state(host, "active")


def test_the_module_goes_away_beside_a_hostile_peer(lab: Lab) -> None:
    host, attacker = lab["a"], Attacker(lab)
    host.run(f"pkill -f {GATE_PATTERN}")
    attacker.set(silent=[OPEN, READY, CLOSE])
    assert host.run("rmmod usb4_rdma", timeout=60).rc == 0
    attacker.set(silent=[])
    host.run("modprobe usb4_rdma", timeout=60, check=True)
    host.run(f"setsid {GATE} >>/run/usb4rdma-lab/gate.log 2>&1 </dev/null &")
    wait_state(host, "active")
