# SPDX-License-Identifier: GPL-2.0-or-later
"""apt installs the packages on a running host; DKMS builds the module there; removal is clean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import build_debs
import pytest
from lab.api import Lab

TOP = Path(__file__).resolve().parents[2]
APT = "apt-get -o Dpkg::Use-Pty=0 -q -y"
MODULE_FILES = "find /usr/lib/modules -name 'usb4_rdma.ko*'"


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    build_debs.build(TOP / "dist", lint=False)
    return {"install": "none", "init": "systemd", "hosts": 1, "mem": 2048, "cpus": 2}


@pytest.mark.timeout(1500)
def test_install_enable_remove(lab: Lab) -> None:
    host = lab["a"]
    host.put(TOP / "dist", "/root/dist")
    host.run(
        f"{APT} install --no-install-recommends /root/dist/*.deb",
        timeout=1200,
        check=True,
        sink=lambda _fd, data: print(data.decode(errors="replace"), end="", flush=True),
    )
    assert "installed" in host.run("dkms status usb4rdma", check=True).out
    assert host.run(MODULE_FILES).out.strip()
    assert host.run("id -u usb4rdma").rc == 0
    # Nothing runs before the administrator says so.
    assert host.run("systemctl is-enabled usb4rdmad").out.strip() == "disabled"
    assert host.run("systemctl is-active usb4rdmad").out.strip() == "inactive"
    host.run("systemctl enable --now usb4rdmad", timeout=120, check=True)
    assert host.run("systemctl is-active usb4rdmad").out.strip() == "active"
    assert host.run("usb4rdmactl status", check=True).out
    host.run("test -d /sys/module/usb4_rdma", check=True)

    host.run(f"{APT} purge usb4rdma usb4rdmad usb4rdma-dkms", timeout=300, check=True)
    assert host.run("systemctl is-active usb4rdmad").out.strip() != "active"
    assert not host.run(MODULE_FILES).out.strip()
    assert host.run("dkms status usb4rdma").out.strip() == ""
    for path in (
        "/etc/usb4rdma",
        "/var/lib/usb4rdma",
        "/usr/src/usb4rdma-*",
        "/usr/lib/python3/dist-packages/usb4rdmad",
    ):
        left = host.run(f"ls -dR {path} 2>/dev/null").out.strip()
        assert not left, left
