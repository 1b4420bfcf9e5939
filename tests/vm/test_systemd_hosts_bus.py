# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's bus in two Debian hosts: who may do what, the docs' sessions, the self-test."""

from __future__ import annotations

import json
from ipaddress import IPv6Address, ip_address, ip_interface
from pathlib import Path
from typing import Any

import build_debs
import daemons
import pytest
import scenario
import sessions
from daemons import call, link, until_links
from lab.api import Lab

pytestmark = pytest.mark.timeout(300)
TOP = Path(__file__).resolve().parents[2]
REFUSALS = {
    "org.freedesktop.DBus.Error.AccessDenied",
    "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
}
MEMORY_MAX = 60_000_000
IDLE_SECONDS, IDLE_CPU_MAX = 20, 0.001
TESTED = {"passed", "failed", "unavailable"}
SESSIONS = sessions.of(TOP / "docs/dbus-sessions.md")


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    build_debs.build(TOP / "dist")
    return daemons.OPTIONS


def test_an_unprivileged_glib_client_reads_everything_and_changes_nothing(lab: Lab) -> None:
    until_links(lab, "active")
    a = lab["a"]
    before = daemons.describe(a)
    client = scenario.program(a, "glib_client.py")
    seen = json.loads(
        a.run(f"setpriv --reuid nobody --clear-groups python3 {client} --ask", timeout=120)
        .check()
        .out
    )
    assert seen["state"] == "active" and seen["gids"]
    assert seen["properties"] > 40
    assert "Link.Deauthorize" in seen["refused"] and "Manager.DefaultPolicy=" in seen["refused"]
    needs_password = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
    assert set(seen["refused"].values()) == {needs_password}, seen["refused"]
    # Nobody is there to type one.
    denied = "org.freedesktop.DBus.Error.AccessDenied"
    assert set(seen["asked"].values()) == {denied}, seen["asked"]
    after = daemons.describe(a)
    for known in (before, after):
        for one in known["links"]:
            # What the link does by itself meanwhile.
            for moving in ("Statistics", "SelfTest", "LatencyNanoseconds"):
                one.pop(moving)
    assert after == before


def test_a_link_that_comes_up_has_been_pinged_over_rdma(lab: Lab) -> None:
    until_links(lab, "active")
    measured = []

    def tested() -> bool:
        measured[:] = [
            (link(host)["SelfTest"], link(host)["LatencyNanoseconds"])
            for host in lab.hosts.values()
        ]
        return any(word == "passed" for word, _ in measured)

    scenario.until("one side has pinged the other", 60, tested)
    # The end that was pinged knows it too, a moment later.
    latency = next(took for word, took in measured if word == "passed")
    print(f"one way: {latency / 1000:.0f} us")
    assert 0 < latency < 1_000_000_000


@pytest.mark.parametrize("kind", ["ping", "write", "read"])
def test_link_test_measures_over_rdma(lab: Lab, kind: str) -> None:
    until_links(lab, "active")

    def tested() -> bool:
        words = {link(host)["SelfTest"] for host in lab.hosts.values()}
        return bool(words & TESTED) and "running" not in words

    # One test a link at a time: the daemons' own comes first.
    scenario.until("the daemons' test is over", 60, tested)
    a = lab["a"]
    size = 64 if kind == "ping" else 65536
    answer = call(
        a,
        link(a)["Path"],
        "Link",
        "Test",
        "a{sv}",
        "3",
        "kind",
        "s",
        kind,
        "size",
        "u",
        str(size),
        "count",
        "u",
        "200",
    ).check()
    found = {key: value["data"] for key, value in json.loads(answer.out)["data"][0].items()}
    print(kind, found)
    assert found["operations"] >= 1
    if kind == "ping":
        assert 0 < found["latency_ns"] <= found["p99_ns"]
    else:
        assert found["bits_per_second"] > 1_000_000


def test_the_daemon_is_small_idle_and_leaves_no_test_behind(lab: Lab) -> None:
    until_links(lab, "active")
    for host in lab.hosts.values():
        scenario.until(
            "no test runs", 60, lambda h=host: h.run("pgrep -f usb4rdmad[.]selftest").rc == 1
        )
    # In the hosts, so that asking costs nothing in between.
    look = (
        "cg=/sys/fs/cgroup$(systemctl show -P ControlGroup usb4rdmad);"
        "pid=$(systemctl show -P MainPID usb4rdmad);"
        "now() { grep usage_usec $cg/cpu.stat; grep ^voluntary /proc/$pid/status; };"
        f"now; sleep {IDLE_SECONDS}; now; grep -E 'VmRSS|VmHWM' /proc/$pid/status"
    )
    seen = daemons.both(lab, lambda host: host.run(look, timeout=90, check=True).out)
    slowness = daemons.slowness(lab)
    for name, out in zip(lab.hosts, seen, strict=True):
        cpu, wakes, cpu_after, wakes_after, peak, resident = (
            int(line.split()[1]) for line in out.splitlines()
        )
        share = (cpu_after - cpu) / 1e6 / IDLE_SECONDS
        print(
            f"{name}: {resident / 1024:.0f} MiB, at most {peak / 1024:.0f}; idle: "
            f"{share:.3%} of a processor that is {slowness:.0f} times slower than this machine, "
            f"{wakes_after - wakes} wake-ups in {IDLE_SECONDS} s"
        )
        assert resident * 1024 < MEMORY_MAX
        assert share / slowness < IDLE_CPU_MAX


@pytest.mark.parametrize("session", SESSIONS, ids=[one.name for one in SESSIONS])
def test_the_sessions_of_the_docs_go_as_they_say(lab: Lab, session: sessions.Session) -> None:
    until_links(lab, "active")
    session.play(lab["a"])


def gid_of(address: str) -> IPv6Address:
    """The GID of an address of an interface."""
    ip = ip_interface(address).ip
    return ip if isinstance(ip, IPv6Address) else IPv6Address(f"::ffff:{ip}")


def addresses(lab: Lab) -> list[list[str]]:
    """Of both ends of the link."""
    return [sorted(link(host)["Addresses"]) for host in lab.hosts.values()]


def test_networks_that_a_host_uses_are_avoided_and_the_choice_is_kept(lab: Lab) -> None:
    until_links(lab, "active")
    a, b = lab["a"], lab["b"]
    before = addresses(lab)
    taken = next(one for one in before[1] if "." in one)
    # A route is enough; on the host that has to agree, whichever it is.
    for host in (a, b):
        host.run(f"ip route add {taken.rsplit('.', 1)[0]}.0/24 dev eth0", check=True)
    try:
        daemons.replug(lab, "-".join(scenario.CABLE))
        moved: list[list[str]] = []

        def apart() -> bool:
            until_links(lab, "active")
            moved[:] = addresses(lab)
            return not any(
                {one for one in old if "." in one} & set(new)
                for old, new in zip(before, moved, strict=True)
            )

        # For a moment a link may be active with what it had, until both have agreed anew.
        scenario.until("the networks in use are avoided", 60, apart)
        until_links(lab, "active")
    finally:
        for host in (a, b):
            host.run(f"ip route del {taken.rsplit('.', 1)[0]}.0/24 dev eth0")
    for host in (a, b):
        shown = link(host)
        table = {ip_address(gid) for _, gid in shown["Gids"]}
        assert {gid_of(one) for one in shown["Addresses"]} <= table
        assert shown["Mtu"] == int(host.run("cat /sys/class/net/u4rdma0/mtu").out)
    # Nothing is in the way any more; what was agreed last stays.
    daemons.replug(lab, "-".join(scenario.CABLE))
    until_links(lab, "active")
    assert addresses(lab) == moved
    scenario.run_rping(lab).check()
