# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses and MTU on a real kernel, in a network namespace of the test's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
SETUP = """
set -e
mount -t sysfs none /sys
ip link set lo up
ip link add u4rdma0 type veth peer name other
ip link set other up
ip addr add 10.9.0.1/24 dev other
ip addr add 172.30.0.1/32 dev u4rdma0
exec "$@"
"""
PROGRAM = """
import json
from ipaddress import ip_address, ip_network
from usb4rdmad.errors import NetworkError
from usb4rdmad.model import LocalAddress as A
from usb4rdmad.net import HostNetworks

net = HostNetworks()
first = [A(ip_address("169.254.9.2"), 31), A(ip_address("fd00:1::1"), 64)]
second = [A(ip_address("169.254.9.5"), 31), A(ip_address("fd00:2::2"), 64)]
out = {"used": sorted(map(str, net.used("u4rdma0")))}
def shown():
    interface = net.interface("u4rdma0")
    return [interface.mtu, sorted(str(a) for a in interface.addresses if not a.ip.is_link_local
                                  or a.ip.version == 4)]
net.configure("u4rdma0", 4192, first)
out["first"] = shown()
net.configure("u4rdma0", 4192, first)
out["again"] = shown()
net.configure("u4rdma0", 9000, second)
out["second"] = shown()
out["own_counts_not"] = "169.254.9.4/31" in map(str, net.used("u4rdma0"))
out["counts_elsewhere"] = "169.254.9.4/31" in map(str, net.used("other"))
for name, call in {
    "absent": lambda: net.interface("nope"),
    "mtu": lambda: net.configure("u4rdma0", 1 << 30, first),
    "path": lambda: net.interface("../../etc"),
}.items():
    try:
        call()
        out[name] = ""
    except NetworkError as error:
        out[name] = error.message
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def seen() -> dict[str, object]:
    """What the program said."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("unshare or ip is not installed")
    inside = ["unshare", "--net", "--mount", "sh", "-c", SETUP, "sh"]
    probe = subprocess.run([*inside, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no network namespace here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*inside, sys.executable, "-c", PROGRAM],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_addresses_and_routes_of_other_interfaces_are_seen(seen: dict[str, object]) -> None:
    used = seen["used"]
    assert isinstance(used, list)
    assert "10.9.0.0/24" in used and "10.9.0.1/32" in used
    assert "172.30.0.1/32" not in used and not any(u.startswith("127.") for u in used)


def test_interface_gets_mtu_and_addresses_and_keeps_those_of_others(
    seen: dict[str, object],
) -> None:
    assert seen["first"] == [4192, ["169.254.9.2/31", "172.30.0.1/32", "fd00:1::1/64"]]
    assert seen["again"] == seen["first"]


def test_a_new_plan_replaces_the_old_one(seen: dict[str, object]) -> None:
    assert seen["second"] == [9000, ["169.254.9.5/31", "172.30.0.1/32", "fd00:2::2/64"]]
    assert seen["own_counts_not"] is False and seen["counts_elsewhere"] is True


def test_what_cannot_be_done_is_an_error_with_a_sentence(seen: dict[str, object]) -> None:
    assert seen["absent"] == "no interface 'nope'"
    assert "MTU" in str(seen["mtu"])
    assert seen["path"]
