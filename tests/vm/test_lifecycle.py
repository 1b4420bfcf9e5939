# SPDX-License-Identifier: GPL-2.0-or-later
"""The long form (`make test-lifecycle`): fresh hosts, two commands, upgrade, a kernel upgrade.

The hosts compile the module themselves, which takes many minutes without KVM; with
USB4RDMA_COMPILED=1 their DKMS is given what DKMS has made in a root like theirs. `make test` has
what can be seen without compiling in test_systemd_install.py and test_package_life.py.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import build_debs
import build_repo
import daemons
import pytest
import rooms
import scenario
from lab import kernels
from lab.api import Host, Lab, Process
from lifefacts import Facts

TOP = Path(__file__).resolve().parents[2]
DIST, OTHER = TOP / "dist", TOP / "build/other-version"
NEW = "0.1.1"
APT = "apt-get -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold -q -y"
INSTALL = f"{APT} install --no-install-recommends --allow-downgrades"
COMPILING = 2400.0
SPARED = os.environ.get("USB4RDMA_COMPILED") == "1"
HOW = "the module was compiled before" if SPARED else "DKMS compiles"
VERSIONS = "cat /sys/module/usb4_rdma/version; modinfo -F version usb4_rdma"

pytestmark = [
    pytest.mark.skipif(os.environ.get("USB4RDMA_LONG") != "1", reason="make test-lifecycle"),
    pytest.mark.timeout(5400),
]


def show(_fd: int, data: bytes) -> None:
    print(data.decode(errors="replace"), end="", flush=True)


def pings(client: Process) -> int:
    """How many messages have come back so far."""
    return client.out.count("ping data:")


def until_active(lab: Lab, seconds: float = 180.0) -> None:
    daemons.until_links(lab, "active", seconds=seconds)


def ends(lab: Lab) -> None:
    """Messages cross, and what was compiled is what runs."""
    scenario.run_rping(lab, count=5, seconds=120.0).check()


class TestFreshHosts:
    """Two Debian 13 hosts without us."""

    @pytest.fixture(scope="class")
    def lab_options(self) -> dict[str, Any]:
        build_debs.build(DIST)
        build_debs.build(OTHER, version=NEW)
        return {"install": "none", "init": "systemd", "cpus": 2, "mem": 1536, "disk": 6}

    def test_two_commands_then_upgrade_downgrade_and_purge(self, lab: Lab) -> None:
        facts = Facts("Debian 13, Linux 7.2, two virtual hosts of 2 processors without KVM")
        a, b = lab["a"], lab["b"]
        self.prepare(a, b)
        if SPARED:
            daemons.both(lab, lambda host: rooms.spare_compiling(host, self.modules()))
        first = {
            "a": f"{INSTALL} /root/dist/usb4rdma*.deb",
            "b": f"apt-get -q update && {INSTALL} usb4rdma",
        }

        def install(host: Host) -> float:
            return host.run(first[host.name], timeout=COMPILING, check=True, sink=show).seconds

        with ThreadPoolExecutor(2) as pool:
            took = dict(zip("ab", pool.map(install, (a, b)), strict=True))
        facts.add(f"apt install ./usb4rdma*.deb ({HOW})", took["a"])
        facts.add(
            f"apt update && apt install usb4rdma, from the signed repository ({HOW})", took["b"]
        )
        for host in (a, b):
            assert "installed" in host.run("dkms status usb4rdma", check=True).out
            assert host.run("systemctl is-enabled usb4rdmad").out.strip() == "disabled"
        with facts.timed("systemctl enable --now usb4rdmad on both hosts, until the link is up"):
            daemons.both(
                lab,
                lambda host: host.run("systemctl enable --now usb4rdmad", timeout=240, check=True),
            )
            until_active(lab)
        ends(lab)

        self.exchange(lab, facts, f"upgrade to {NEW} with an active link ({HOW})", "new")
        assert daemons.describe(a)["manager"]["Version"] == NEW
        assert f"usb4rdma/{NEW}" in a.run("dkms status usb4rdma", check=True).out
        assert a.run(VERSIONS, check=True).out.split() == [build_debs.versions.current(), NEW]
        assert "usb4rdma-dkms" in a.run("cat /run/reboot-required.pkgs", check=True).out.split()

        if not SPARED:
            a.run("touch /etc/dkms/no-autoinstall", check=True)
        self.exchange(lab, facts, "downgrade with an active link", "dist")
        assert daemons.describe(a)["manager"]["Version"] == build_debs.versions.current()
        facts.add("messages lost while the packages were exchanged", remark="none")

        with facts.timed("purge with an active link"):
            a.run(f"{APT} purge usb4rdma usb4rdmad usb4rdma-dkms", timeout=300, check=True)
        left = a.run(
            "ls -d /sys/module/usb4_rdma /etc/usb4rdma /var/lib/usb4rdma /usr/src/usb4rdma-* "
            "/var/lib/dkms/usb4rdma 2>/dev/null; find /usr/lib/modules -name 'usb4_rdma*'"
        ).out
        assert not left.strip(), left
        facts.write("fresh-hosts")

    def modules(self) -> dict[tuple[str, str], Path]:
        """What DKMS makes of both versions, by kernel and version."""
        kernel = kernels.ensure(kernels.DEFAULT)
        return {
            (kernel.version, build_debs.versions.current()): rooms.compiled(kernel, DIST),
            (kernel.version, NEW): rooms.compiled(kernel, OTHER),
        }

    def exchange(self, lab: Lab, facts: Facts, what: str, folder: str) -> None:
        """Install the packages in /root/FOLDER on a, while messages go back and forth."""
        a, b = lab["a"], lab["b"]
        here = scenario.rdma_address(b)
        with b.start(f"rping -s -a {here} -S 64") as server:
            scenario.wait_cm_listening(b, server)
            with a.start(f"rping -c -v -S 64 -a {here}") as client:
                client.wait_for("ping data:", 60)
                with facts.timed(what):
                    a.run(f"{INSTALL} /root/{folder}/*.deb", timeout=COMPILING, check=True)
                before = pings(client)
                scenario.until("traffic goes on", 60, lambda: pings(client) > before)
                assert client.running, client.out[-300:] + client.err

    def prepare(self, a: Host, b: Host) -> None:
        """Files for a, a repository for b; both trust at first sight, as nobody compares here."""
        a.put(DIST, "/root/dist")
        a.put(OTHER, "/root/new")
        with tempfile.TemporaryDirectory(prefix="repo-") as work:
            repo = Path(work) / "repository"
            build_repo.publish(build_repo.contents(DIST), repo)
            (repo / "usb4rdma.sources").write_text(build_repo.sources("file:/srv/repository"))
            b.put(repo, "/srv/repository")
        b.run(
            f"cp /srv/repository/{build_repo.KEYRING} /usr/share/keyrings/;"
            "find /etc/apt -name '*.list' -delete;"
            "cp /srv/repository/usb4rdma.sources /etc/apt/sources.list.d/",
            check=True,
        )


class TestFreshKernel:
    """A host on Linux 6.12 gets 7.2 from Debian's packages and reboots. Nothing is done by hand."""

    @pytest.fixture(scope="class")
    def lab_options(self) -> dict[str, Any]:
        build_debs.build(DIST)
        return {
            "install": "all",
            "kernel": "6.12",
            "init": "systemd",
            "cpus": 2,
            "mem": 1536,
            "disk": 8,
            "extra": ("kernel-packages",),
        }

    def test_link_is_up_after_the_reboot(self, lab: Lab) -> None:
        facts = Facts("Debian 13, two virtual hosts of 2 processors without KVM")
        a = lab["a"]
        new = kernels.ensure("7.2")
        until_active(lab)
        assert a.run("uname -r").out.startswith("6.12.")
        ends(lab)
        a.put(new.packages, "/root/kernel")
        if SPARED:
            version = build_debs.versions.current()
            rooms.spare_compiling(a, {(new.version, version): rooms.compiled(new, DIST)})
        with facts.timed(f"apt install of Linux 7.2 and its headers on 6.12 ({HOW})"):
            a.run(f"{INSTALL} /root/kernel/linux-*.deb", timeout=COMPILING, check=True, sink=show)
        assert f"{new.version}, x86_64: installed" in a.run("dkms status usb4rdma", check=True).out
        daemons.until_link(a, "active")
        made = f"/boot/vmlinuz-{new.version} -a -s /boot/initrd.img-{new.version}"
        a.run(f"test -s {made}", check=True)
        with facts.timed("power off, boot into 7.2, until the link is up"):
            a.boot_into("7.2")
            until_active(lab, 300.0)
        assert a.run("uname -r", check=True).out.strip() == new.version
        assert new.version in a.run("modinfo -n usb4_rdma", check=True).out
        ends(lab)
        facts.add("done by hand between the two", remark="nothing")
        facts.write("kernel-upgrade")
