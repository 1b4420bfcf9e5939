# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages on running hosts with an active link: upgraded under traffic, removed, purged.

How apt installs them, and DKMS compiles the module, is seen when the hosts' image is made, and
at length by `make test-lifecycle`; what dpkg leaves behind in test_package_life.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import build_debs
import daemons
import pytest
import scenario
from lab.api import Lab, Process

TOP = Path(__file__).resolve().parents[2]
OTHER = TOP / "build/other-version"
NEW = "0.1.1"
APT = "apt-get -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold -q -y"
PACKAGES = "usb4rdma usb4rdmad usb4rdma-dkms"
# What is there while the packages are in use, and must be gone afterwards.
TRACES = (
    "/sys/module/usb4_rdma /sys/class/usb4rdma /dev/usb4rdma /run/usb4rdma "
    "/etc/usb4rdma /var/lib/usb4rdma /usr/src/usb4rdma-* /var/lib/dkms/usb4rdma "
    "/usr/lib/python3/dist-packages/usb4rdmad /etc/systemd/system/dbus-org.usb4rdma1.service "
    "/etc/systemd/system/*.wants/usb4rdmad.service"
)


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    build_debs.build(TOP / "dist")
    build_debs.build(OTHER, version=NEW)
    return daemons.OPTIONS


def pings(client: Process) -> int:
    """How many messages have come back so far."""
    return client.out.count("ping data:")


@pytest.mark.timeout(900)
def test_upgrade_under_traffic_then_remove_and_purge(lab: Lab) -> None:
    a, b = lab["a"], lab["b"]
    daemons.until_links(lab, "active")
    a.put(OTHER, "/root/new")
    # The module was compiled when the image was made; here it would take minutes.
    a.run("touch /etc/dkms/no-autoinstall", check=True)
    here = scenario.rdma_address(b)
    with b.start(f"rping -s -a {here} -S 64") as server:
        scenario.wait_cm_listening(b, server)
        with a.start(f"rping -c -v -S 64 -a {here}") as client:
            client.wait_for("ping data:", 60)
            upgrade = f"{APT} install --no-install-recommends /root/new/*.deb"
            a.run(upgrade, timeout=600, check=True)
            before = pings(client)
            scenario.until("traffic after the upgrade", 60, lambda: pings(client) > before)
            assert client.running, client.out[-500:] + client.err
            daemons.until_link(a, "active")
            assert daemons.describe(a)["manager"]["Version"] == NEW
    versions = "cat /sys/module/usb4_rdma/version; usb4rdmad --version"
    loaded, installed = a.run(versions, check=True).out.splitlines()
    assert (loaded, installed.split()[-1]) == (build_debs.versions.current(), NEW)
    # What a distribution would run in a machine of its own.
    a.put(TOP / "packaging/debian/tests/daemon-on-bus", "/root/daemon-on-bus")
    a.run("/root/daemon-on-bus", timeout=240, check=True)
    daemons.until_links(lab, "active")

    a.run(f"{APT} remove {PACKAGES}", timeout=300, check=True)
    assert a.run("systemctl is-active usb4rdmad").out.strip() == "inactive"
    assert a.run("ls -d /sys/module/usb4_rdma /sys/class/infiniband/*").out == ""
    assert a.run("ls /var/lib/usb4rdma", check=True).out, "removal takes no keys"

    def alone() -> bool:
        known = daemons.describe(b)
        return "manager" in known and all(o["State"] != "active" for o in known["links"])

    scenario.until("b sees a leave", 60, alone)
    # The lab keeps these over reboots by mounts; let purge see folders, with what was in them.
    for folder in ("/etc/usb4rdma", "/var/lib/usb4rdma"):
        a.run(
            f"cp -a {folder} /root/kept; umount {folder}; cp -a /root/kept/. {folder};"
            "rm -r /root/kept",
            check=True,
        )
    # The only one that dpkg still knows: it has configuration.
    a.run(f"{APT} purge usb4rdmad", timeout=300, check=True)
    left = a.run(f"ls -d {TRACES} 2>/dev/null; dpkg -l | grep usb4rdma; dkms status usb4rdma").out
    assert not left.strip(), left
    assert "usb4rdma" not in a.run("systemctl --failed --no-legend").out
