# SPDX-License-Identifier: GPL-2.0-or-later
"""A host whose kernel loads signed modules only: the driver's state has a name, doctor the cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import build_debs
import pytest
from daemons import OPTIONS, ROOT, SERVICE
from lab.api import Lab

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    build_debs.build(TOP / "dist")
    return {
        "install": "all",
        "init": "systemd",
        "extra": OPTIONS["extra"],  # the root is made already
        "hosts": 1,
        "append": "lockdown=integrity",
    }


@pytest.mark.timeout(600)
def test_refused_module_is_named_on_the_bus_and_cured_by_doctor(lab: Lab) -> None:
    host = lab["a"]
    assert "[integrity]" in host.run("cat /sys/kernel/security/lockdown", check=True).out
    # DKMS has signed it with its own key, which no firmware knows here.
    assert host.run("modinfo -F signer usb4_rdma", check=True).out.strip()
    refused = host.run("modprobe usb4_rdma")
    assert refused.rc != 0 and "Operation not permitted" in refused.err, refused
    assert host.run("systemctl is-active usb4rdmad").out.strip() == "active"
    asked = ["busctl", "--json=short", "get-property", SERVICE, ROOT, f"{SERVICE}.Manager"]
    said = host.run([*asked, "DriverState", "DriverVersion"], check=True).out.splitlines()
    assert [json.loads(line)["data"] for line in said] == ["locked-down", ""]
    doctor = host.run("usb4rdmactl doctor --json")
    findings = {one["id"]: one for one in json.loads(doctor.out)["findings"]}
    assert doctor.rc == 1
    assert "mokutil --import /var/lib/dkms/mok.pub" in findings["secure-boot"]["cure"]
    assert host.run("test -s /var/lib/dkms/mok.pub").rc == 0
