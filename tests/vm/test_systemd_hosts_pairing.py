# SPDX-License-Identifier: GPL-2.0-or-later
"""Two Debian hosts whose daemons ask people about strangers: what each way of pairing ends in.

docs/pairing.md has the table; each test is a row of it, on both hosts.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_debs
import daemons
import pytest
import scenario
from daemons import both, call, closed, configure, link, until_link, until_links
from lab.api import Host, Lab
from lab.patience import patient
from scenario import CABLE

pytestmark = pytest.mark.timeout(600)
TOP = Path(__file__).resolve().parents[2]
STRAIGHT = "-".join(CABLE)
THROUGH = ("a:1-m:1", "m:2-b:1")
STARTED, DISCOVERED, ACTIVE = (f"a1b9e0c6f2d94d6d8a4b0f5c3f7e1d{n}" for n in ("01", "10", "15"))
REBOOT_TO_ACTIVE = 3.0
"""Seconds that the daemons may take."""
TIMEOUT_MAX = 600
"""The longest [pairing] timeout that usb4rdmad.toml may have."""
ASK_PEOPLE = '[pairing]\npolicy = "confirm"\n'


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    build_debs.build(TOP / "dist")
    return daemons.OPTIONS


@pytest.fixture(scope="module", autouse=True)
def as_before(keeper: Any) -> Iterator[None]:
    """After all tests of this file strangers are trusted again."""
    yield
    if keeper.lab is not None and keeper.options == daemons.OPTIONS:
        both(keeper.lab, lambda host: configure(host, ""))


@pytest.fixture
def strangers(lab: Lab) -> Iterator[Lab]:
    """The lab, with people asked about strangers, and its hosts unknown to each other. After the
    test they are joined and let each other in, whatever it left."""
    both(lab, lambda host: configure(host, ASK_PEOPLE))
    daemons.strangers(lab)
    yield lab
    if [name for name, cable in lab.stat()["cables"].items() if cable["plugged"]] != [STRAIGHT]:
        daemons.replug(lab, STRAIGHT)
    both(lab, authorize)
    until_links(lab, "active")


def authorize(host: Host) -> None:
    """Let the peer in without a comparison, as soon as it has proved its key."""

    def done() -> bool:
        links = daemons.describe(host)["links"]
        return (
            bool(links) and call(host, links[0]["Path"], "Link", "Authorize", "a{sv}", "0").rc == 0
        )

    scenario.until(f"{host.name} lets its peer in", 60, done)


def pairing_is_over(lab: Lab, reason: str, seconds: float = 60.0) -> None:
    """On both hosts: waits for approval, nothing open, no pairing left."""
    until_links(lab, "waiting-approval", reason, seconds)
    for host in lab.hosts.values():
        closed(host)
        known = daemons.describe(host)
        assert "manager" in known, f"the daemon of {host.name} is not there"
        assert not known["pairings"] and not known["peers"]


def test_strangers_pair_by_a_code_and_both_have_to_say_yes(strangers: Lab) -> None:
    """On a the person answers usb4rdmactl's question, on b types the code that a shows."""
    a, b = strangers["a"], strangers["b"]
    for host in (a, b):
        closed(host)
    terminal = "script -qefc 'usb4rdmactl pair b --timeout 90' /dev/null"
    with a.start(terminal, timeout=120) as asking:
        asking.wait_for("same code?", 60)
        found = re.search(r"code: (\d{3} \d{3})", re.sub(r"\x1b\[\d*m", "", asking.out))
        assert found is not None, asking.out
        assert found[1] in b.run("usb4rdmactl", check=True).out
        b.run(["usb4rdmactl", "confirm", "a", found[1]], check=True)
        for host in (a, b):
            closed(host)
        asking.write("y\n")
        assert asking.wait(90).rc == 0, asking.out
    until_links(strangers, "active")
    for host in (a, b):
        assert scenario.port_state(host).endswith("ACTIVE")


def test_rejected_wrongly_confirmed_and_late_pairings_trust_nobody(strangers: Lab) -> None:
    a, b = strangers["a"], strangers["b"]
    pairings = daemons.begin_pairing(strangers)
    call(a, pairings["a"][0], "Pairing", "Confirm").check()
    b.run("usb4rdmactl reject a", check=True)
    pairing_is_over(strangers, "pairing-rejected")

    wrong = daemons.begin_pairing(strangers)["b"][1].translate(
        str.maketrans("0123456789", "1234567890")
    )
    refused = b.run(["usb4rdmactl", "confirm", "a", wrong])
    assert refused.rc == 7, refused
    pairing_is_over(strangers, "pairing-rejected")

    # Long enough for a code and a confirmation on slow hosts.
    limit = min(TIMEOUT_MAX, round(patient(30)))
    both(strangers, lambda host: configure(host, ASK_PEOPLE + f"timeout = {limit}\n"))
    pairings = daemons.begin_pairing(strangers)
    call(a, pairings["a"][0], "Pairing", "Confirm").check()
    pairing_is_over(strangers, "pairing-timeout", seconds=90)
    late = call(b, pairings["b"][0], "Pairing", "Confirm")
    assert late.rc != 0
    # Three runs on one connection are all that an interposer gets to guess with.
    fourth = a.run("usb4rdmactl pair b")
    assert fourth.rc == 1 and "unplug" in fourth.err, fourth


def test_a_cable_pulled_in_mid_pairing_ends_it(strangers: Lab) -> None:
    pairings = daemons.begin_pairing(strangers)
    strangers.unplug(*CABLE)
    until_links(strangers, "gone")
    for host in strangers.hosts.values():
        known = daemons.describe(host)
        assert "manager" in known and not known["pairings"]
        stale = call(host, pairings[host.name][0], "Pairing", "Confirm")
        assert re.search("unknown object|no such", stale.err, re.IGNORECASE), stale
    strangers.plug(*CABLE)
    pairing_is_over(strangers, "unknown-peer")


def test_a_daemon_restarted_in_mid_pairing_ends_it_on_both(strangers: Lab) -> None:
    pairings = daemons.begin_pairing(strangers)
    call(strangers["a"], pairings["a"][0], "Pairing", "Confirm").check()
    strangers["b"].run("systemctl restart usb4rdmad", timeout=180, check=True)
    pairing_is_over(strangers, "unknown-peer")
    daemons.pair(strangers)


def test_forgotten_on_one_side_a_peer_is_a_stranger_there_only(strangers: Lab) -> None:
    daemons.pair(strangers)
    a, b = strangers["a"], strangers["b"]
    a.run("usb4rdmactl forget b", check=True)
    until_link(a, "waiting-approval", "deauthorized")
    closed(a)
    until_link(b, "degraded", "waiting-peer")
    daemons.replug(strangers, STRAIGHT)
    until_link(a, "waiting-approval", "unknown-peer")
    until_link(b, "configuring", "waiting-peer")
    closed(a)
    call(a, daemons.ROOT, "Manager", "Pair", "oa{sv}", link(a)["Path"], "0")
    until_link(a, "waiting-approval", "pairing-rejected")
    until_link(b, "configuring", "waiting-peer")
    closed(a)
    a.run("usb4rdmactl authorize b --wait --timeout 60", timeout=90, check=True)
    until_links(strangers, "active")


def test_paired_hosts_need_nobody_after_both_have_rebooted(strangers: Lab) -> None:
    daemons.pair(strangers)
    before = both(strangers, lambda host: (daemons.describe(host)["manager"], link(host)))
    slowness = daemons.slowness(strangers)
    both(strangers, Host.reboot)
    until_links(strangers, "active", seconds=240)
    after = both(strangers, lambda host: (daemons.describe(host)["manager"], link(host)))
    for (old, old_link), (new, new_link) in zip(before, after, strict=True):
        assert new["Fingerprint"] == old["Fingerprint"]
        assert new_link["Addresses"] == old_link["Addresses"]
        assert new_link["PeerAddresses"] == old_link["PeerAddresses"]
    times = both(strangers, journal_times)
    ready = max(max(t[STARTED], t[DISCOVERED]) for t in times)
    took = max(t[ACTIVE] for t in times) - ready
    # This machine may have been busier during the reboot than it is now.
    slowness = max(slowness, daemons.slowness(strangers))
    print(
        f"active {took:.1f} s after both daemons and the service were there; "
        f"these hosts are {slowness:.0f} times slower than this machine: {took / slowness:.2f} s"
    )
    assert took <= REBOOT_TO_ACTIVE * slowness


def journal_times(host: Host) -> dict[str, float]:
    """When, by the clock of this machine, the daemon said these things last in this boot."""
    fields = " ".join(f"MESSAGE_ID={one}" for one in (STARTED, DISCOVERED, ACTIVE))
    asked = time.monotonic()
    shown = host.run(
        f"cat /proc/uptime; journalctl -b -o json --no-pager {fields}", check=True
    ).out.splitlines()
    offset = asked - float(shown[0].split()[0])
    times: dict[str, float] = {}
    for line in shown[1:]:
        entry = json.loads(line)
        times[entry["MESSAGE_ID"]] = offset + int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
    return times


def test_somebody_in_between_is_blocked_if_known_and_seen_if_not(strangers: Lab) -> None:
    """He gives the peer's XDomain UUID, host id and name, but cannot have its key."""
    daemons.pair(strangers)
    daemons.replug(strangers, *THROUGH)
    until_links(strangers, "blocked", "key-changed")
    for host in strangers.hosts.values():
        closed(host, known=True)
        said = host.run("journalctl -b -o cat -u usb4rdmad", check=True).out
        assert "HAS ANOTHER KEY" in said
        assert link(host)["PeerName"] in ("a", "b"), "he does not even play the other host"

    daemons.strangers(strangers)
    codes = {code for _, code in daemons.begin_pairing(strangers).values()}
    assert len(codes) == 2, "the person in between makes both hosts show the same code"
    strangers["a"].run("usb4rdmactl reject b", check=True)
    pairing_is_over(strangers, "pairing-rejected")
    met = strangers.stat()["peers"]["m"]
    assert met["up"] >= 2 and met["codes"] >= 2, met
