# SPDX-License-Identifier: GPL-2.0-or-later
"""Two Debian hosts with the packages installed: the daemon, its bus, its tool, its mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_debs
import build_module
import daemons
import pytest
import scenario
from lab.api import Host, Lab
from scenario import CABLE

pytestmark = pytest.mark.timeout(600)
TOP = Path(__file__).resolve().parents[2]
SERVICE, ROOT = "org.usb4rdma1", "/org/usb4rdma1"
PLUG_EVERY = 0.19
DROP_IN = "/etc/usb4rdma/usb4rdmad.toml.d/99-test.toml"


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    build_debs.build(TOP / "dist")
    return daemons.OPTIONS


def wait_active(lab: Lab) -> None:
    for host in lab.hosts.values():
        host.run("usb4rdmactl status --wait active --timeout 60", timeout=90, check=True)


def the_link(host: Host) -> dict[str, Any]:
    """The one link, as `usb4rdmactl status --json` has it."""
    (link,) = json.loads(host.run("usb4rdmactl status --json", check=True).out)["links"]
    return dict(link)


def link_path(host: Host) -> str:
    (path,) = re.findall(
        rf"{ROOT}/links/\w+", host.run(f"busctl --system --list tree {SERVICE}", check=True).out
    )
    return str(path)


def test_the_daemon_is_active_and_the_link_too(lab: Lab) -> None:
    wait_active(lab)
    for host in lab.hosts.values():
        assert host.run("systemctl is-active usb4rdmad").out.strip() == "active"
        assert scenario.port_state(host).endswith("ACTIVE")
        link = the_link(host)
        assert link["State"] == "active"
        assert link["Gids"]
        assert link["Mtu"] >= 4192


def test_the_module_came_from_dkms(lab: Lab) -> None:
    for host in lab.hosts.values():
        assert "/updates/dkms/" in host.run("modinfo -n usb4_rdma", check=True).out


def test_addresses_of_both_ends_fit_each_other_and_nothing_else(lab: Lab) -> None:
    wait_active(lab)
    a, b = lab["a"], lab["b"]
    ours, theirs = the_link(a), the_link(b)
    assert {address.split("/")[0] for address in ours["Addresses"]} == set(theirs["PeerAddresses"])
    assert {address.split("/")[0] for address in theirs["Addresses"]} == set(ours["PeerAddresses"])
    b.run(f"ping -c 2 -W 10 {scenario.rdma_address(a)}", check=True)


def test_busctl_shows_the_tree_and_properties(lab: Lab) -> None:
    wait_active(lab)
    a = lab["a"]
    path = link_path(a)
    state = a.run(f"busctl --system get-property {SERVICE} {path} {SERVICE}.Link State", check=True)
    assert state.out.strip() == 's "active"'
    shown = a.run(f"busctl --system introspect {SERVICE} {path}", check=True).out
    assert "org.freedesktop.DBus.Properties" in shown
    assert f"{SERVICE}.LinkStatistics" in shown


def test_anyone_may_read_and_nobody_without_right_may_change(lab: Lab) -> None:
    wait_active(lab)
    a = lab["a"]
    path = link_path(a)
    a.run("runuser -u nobody -- usb4rdmactl status", check=True)
    refused = a.run(
        f"runuser -u nobody -- busctl --system call {SERVICE} {path} {SERVICE}.Link Deauthorize"
    )
    assert refused.rc != 0
    assert the_link(a)["State"] == "active"


@pytest.mark.parametrize(
    "path", [f"{ROOT}/links/l00_00000000000000ff", f"{ROOT}/nonsense", "/elsewhere"]
)
def test_an_unknown_object_is_a_clear_error(lab: Lab, path: str) -> None:
    answer = lab["a"].run(
        f"busctl --system call {SERVICE} {path} "
        f"org.freedesktop.DBus.Properties GetAll s {SERVICE}.Link"
    )
    assert answer.rc != 0
    assert re.search("unknown object|no such|not exist", answer.err, re.IGNORECASE), answer.err


def test_restarting_the_daemon_does_not_interrupt_traffic(lab: Lab) -> None:
    wait_active(lab)
    with scenario.integrity(
        lab, "--qps 4 --count 1500 --large 0.1", qp_timeout=18, seconds=400
    ) as ends:
        start = scenario.data_frames(lab)
        scenario.until("traffic", 60, lambda: scenario.data_frames(lab) > start + 200)
        for host in lab.hosts.values():
            host.run("systemctl restart usb4rdmad", timeout=180, check=True)
        early = [process.out + process.err for process in ends if not process.running]
        assert not early, f"traffic ended before the restarts did: {early}"
        scenario.check_integrity(*ends, 420)
    wait_active(lab)


@pytest.fixture
def drop_in(lab: Lab) -> Iterator[Host]:
    """Host a, whose configuration a test may spoil."""
    a = lab["a"]
    a.run(f"mkdir -p {DROP_IN.rsplit('/', 1)[0]}", check=True)
    yield a
    a.run(
        f"rm -f {DROP_IN}; systemctl reset-failed usb4rdmad; systemctl restart usb4rdmad",
        timeout=60,
    )
    wait_active(lab)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pairing]\npolicy = 'everybody'\n", "policy"),
        ("[network]\nmtu = 17\n", "mtu"),
        ("[nonsense]\nx = 1\n", "nonsense"),
        ("this is not TOML\n", "not TOML"),
    ],
)
def test_a_garbled_config_is_refused_with_its_place(drop_in: Host, text: str, said: str) -> None:
    drop_in.run(f"cat > {DROP_IN}", stdin=text.encode(), check=True)
    checked = drop_in.run("usb4rdmad --check-config")
    assert checked.rc != 0
    assert "99-test.toml" in checked.err + checked.out
    assert said in checked.err + checked.out
    drop_in.run("systemctl reload usb4rdmad", timeout=60)
    assert drop_in.run("systemctl is-active usb4rdmad").out.strip() == "active"
    drop_in.run("usb4rdmactl status", check=True)


def test_unplug_and_replug_are_followed(lab: Lab) -> None:
    wait_active(lab)
    a = lab["a"]
    address = scenario.rdma_address(a)
    lab.unplug(*CABLE)
    scenario.wait_port(a, "DOWN", 30)
    a.run("usb4rdmactl status --wait gone --timeout 30", timeout=60, check=True)
    lab.plug(*CABLE)
    wait_active(lab)
    assert scenario.rdma_address(a) == address
    scenario.run_rping(lab).check()


def test_a_cable_plugged_while_no_daemon_runs_brings_both_up(lab: Lab) -> None:
    wait_active(lab)
    daemons.both(lab, lambda host: host.run("systemctl stop usb4rdmad", timeout=60, check=True))
    lab.unplug(*CABLE)
    for host in lab.hosts.values():
        scenario.wait_port(host, "DOWN", 30)
        assert host.run("systemctl is-active usb4rdmad").out.strip() == "inactive"
    lab.plug(*CABLE)
    # Not asked over the bus, which would start it as well.
    for host in lab.hosts.values():
        scenario.until(
            f"udev starts the daemon of {host.name}",
            60,
            lambda h=host: h.run("systemctl is-active usb4rdmad").out.strip() == "active",
        )
    daemons.until_links(lab, "active")


def test_fifty_plug_events_in_ten_seconds_end_active(lab: Lab) -> None:
    daemons.until_links(lab, "active")
    a = lab["a"]
    address = scenario.rdma_address(a)
    process = a.run("systemctl show -P MainPID usb4rdmad", check=True).out
    started = time.monotonic()
    for _ in range(25):
        for move in (lab.unplug, lab.plug):
            move(*CABLE)
            scenario.pause(PLUG_EVERY)
    print(f"50 events in {time.monotonic() - started:.1f} s")
    daemons.until_links(lab, "active", seconds=120)
    assert scenario.rdma_address(a) == address
    assert a.run("systemctl show -P MainPID usb4rdmad", check=True).out == process
    scenario.run_rping(lab).check()


def test_the_unit_exposes_little_and_comes_with_rdma_hardware(lab: Lab) -> None:
    a = lab["a"]
    judged = a.run("systemd-analyze security --threshold=20 usb4rdmad.service", timeout=120)
    print(judged.out.strip().splitlines()[-1])
    assert judged.rc == 0, judged.out[-500:]
    wanted = a.run("systemctl show -P WantedBy usb4rdmad", check=True).out.split()
    assert "rdma-hw.target" in wanted
    assert a.run("ps -o user= -C usb4rdmad", check=True).out.strip() == "usb4rdma"


def test_network_managers_leave_the_interface_alone(lab: Lab) -> None:
    daemons.until_links(lab, "active")
    a = lab["a"]
    shown = f"ip -br address show {scenario.NETDEV}"
    before = a.run(shown, check=True).out
    properties = a.run(f"udevadm info -q property /sys/class/net/{scenario.NETDEV}", check=True).out
    assert "NM_UNMANAGED=1" in properties.splitlines()
    a.run("systemctl start systemd-networkd", timeout=60, check=True)
    try:
        scenario.until(
            "networkd has looked at it",
            60,
            lambda: "unmanaged" in a.run(f"networkctl list --no-legend {scenario.NETDEV}").out,
        )
        assert a.run(shown, check=True).out == before
    finally:
        a.run("systemctl stop systemd-networkd.socket systemd-networkd", timeout=60)


def test_a_peer_of_another_protocol_version_is_refused_by_name(lab: Lab, tmp_path: Path) -> None:
    other = build_module.build_module(
        "7.2", tmp_path, edit=r"s/^\(#define U4_WIRE_VERSION_M[INAX]*\s\).*/\1 77/"
    )
    assert other.code == 0, other.output[-2000:]
    a, b = lab["a"], lab["b"]
    # In place of the installed one: udev may load the module again as soon as it is gone.
    installed = b.run("modinfo -n usb4_rdma", check=True).out.strip()
    module = tmp_path / build_module.MODULE
    if installed.endswith(".xz"):
        subprocess.run(["xz", "--check=crc32", module], check=True)
        module = module.with_name(f"{module.name}.xz")
    b.run(f"mv {installed} /root/", check=True)
    b.put(module, installed)
    b.run("systemctl stop usb4rdmad && rmmod usb4_rdma; modprobe usb4_rdma", timeout=90, check=True)
    try:
        a.run("usb4rdmactl status --wait incompatible --timeout 60", timeout=90, check=True)
        path = link_path(a)
        state = a.run(f"busctl --system get-property {SERVICE} {path} {SERVICE}.Link State")
        assert state.out.strip() == 's "incompatible"'
        assert the_link(a)["PeerProtocolVersions"] == "77-77"
        assert not scenario.port_state(a).endswith("ACTIVE")
    finally:
        b.run(f"mv -f /root/{Path(installed).name} {installed}", check=True)
        # The link of the other module has had udev start the daemon again, which holds the module.
        b.run(
            "systemctl stop usb4rdmad; rmmod usb4_rdma;"
            "modprobe usb4_rdma && systemctl start usb4rdmad",
            timeout=90,
            check=True,
        )
    wait_active(lab)
