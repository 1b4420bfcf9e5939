# SPDX-License-Identifier: GPL-2.0-or-later
"""Each known trouble, made on a fake PC: it is found, alone, and its cure is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from usb4rdmad import __version__
from usb4rdmad.cli import checks, doctor
from usb4rdmad.cli.checks import Level
from usb4rdmad.cli.render import Style
from usb4rdmad.cli.system import System

KERNEL = "6.12.1-amd64"
RUNS = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nResult=success\n"


class Pc:
    """A healthy one; tests break it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.says: dict[str, tuple[int, str]] = {"systemctl": (0, RUNS)}
        self.ran: list[tuple[str, ...]] = []
        self.memlock = 1 << 40
        self.uid = 1000
        self.kernel = KERNEL
        self.write("/sys/module/usb4_rdma/version", __version__)
        self.write("/sys/bus/thunderbolt/devices/domain0/iommu_dma_protection", "1")
        self.write("/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so")
        self.write("/dev/infiniband/uverbs0").chmod(0o666)
        self.write("/sys/class/net/u4rdma0/ifindex", "7")

    def write(self, path: str, text: str = "") -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def unloaded(self, built: bool, source: bool = True, headers: bool = True) -> None:
        self.remove("/sys/module/usb4_rdma/version")
        (self.root / "sys/module/usb4_rdma").rmdir()
        if built:
            self.write(f"/lib/modules/{KERNEL}/updates/dkms/usb4_rdma.ko.xz")
        if source:
            self.write("/usr/src/usb4rdma-0.1.0/dkms.conf")
        if headers:
            self.write(f"/lib/modules/{KERNEL}/build/Makefile")

    def run(self, command: tuple[str, ...]) -> tuple[int, str] | None:
        self.ran.append(command)
        return self.says.get(command[0])

    def system(self) -> System:
        return System(self.root, self.run, self.kernel, self.uid, self.memlock)


def link(**fields: Any) -> dict[str, Any]:
    return {
        "Name": "0-1",
        "State": "active",
        "StateReason": "",
        "PeerName": "mars",
        "PeerFingerprint": "ab" * 32,
        "Speed": 40_000_000_000,
        "Lanes": 2,
        "SelfTest": "passed",
        "NetworkInterface": "u4rdma0",
    } | fields


def found(*links: dict[str, Any]) -> dict[str, Any]:
    return {"manager": {"Version": __version__}, "links": list(links) or [link()]}


@pytest.fixture
def pc(tmp_path: Path) -> Pc:
    return Pc(tmp_path)


def troubles(pc: Pc, described: dict[str, Any] | None = None) -> list[checks.Finding]:
    findings = doctor.examine(pc.system(), described or found(), "")
    return [f for f in findings if f.level is not Level.OK]


def test_a_healthy_pc_has_nothing(pc: Pc) -> None:
    assert troubles(pc) == []
    assert "nothing is wrong" in doctor.render(doctor.examine(pc.system(), found(), ""), Style())


def _secure_boot(pc: Pc) -> None:
    pc.unloaded(built=True)
    file = pc.write("/sys/firmware/efi/efivars/SecureBoot-8be4df61")
    file.write_bytes(b"\x06\0\0\0\x01")
    pc.write("/var/lib/dkms/mok.pub")


def _enforced(pc: Pc) -> None:
    pc.unloaded(built=True)
    pc.write("/sys/module/module/parameters/sig_enforce", "Y")
    pc.write("/var/lib/shim-signed/mok/MOK.der")


def _unsigned(pc: Pc) -> None:
    _locked_down(pc)
    (pc.root / "var/lib/dkms/mok.pub").unlink()


def _locked_down(pc: Pc) -> None:
    pc.unloaded(built=True)
    pc.write("/sys/kernel/security/lockdown", "none [integrity] confidentiality")
    pc.write("/var/lib/dkms/mok.pub")
    pc.says["mokutil"] = (1, "/var/lib/dkms/mok.pub is not enrolled\n")


def _enrolled(pc: Pc) -> None:
    _locked_down(pc)
    pc.says["mokutil"] = (0, "/var/lib/dkms/mok.pub is already enrolled\n")


def _state(text: str) -> Callable[[Pc], None]:
    return lambda pc: pc.says.update(systemctl=(0, text))


def _iommu_off(pc: Pc) -> None:
    pc.write("/sys/bus/thunderbolt/devices/domain0/iommu_dma_protection", "0")


def _iommu_unprotected(pc: Pc) -> None:
    _iommu_off(pc)
    pc.write("/sys/kernel/iommu_groups/0/type", "DMA")


def _no_usb4(pc: Pc) -> None:
    pc.remove("/sys/bus/thunderbolt/devices/domain0/iommu_dma_protection")
    (pc.root / "sys/bus/thunderbolt/devices/domain0").rmdir()


def _cluster(pc: Pc) -> None:
    pc.write("/etc/usb4rdma/usb4rdmad.toml", '[pairing]\npolicy = "cluster"\n')
    pc.uid = 0


def _networkd(pc: Pc) -> None:
    pc.write(
        "/run/systemd/netif/links/7",
        "ADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/all.network\n",
    )


TROUBLES: list[tuple[str, str, Callable[[Pc], Any]]] = [
    ("kernel-too-old", "newer kernel", lambda pc: setattr(pc, "kernel", "6.1.0-42-amd64")),
    ("no-usb4", "modprobe thunderbolt", _no_usb4),
    (
        "xdomain-off",
        "thunderbolt.xdomain=0",
        lambda pc: pc.write("/sys/module/thunderbolt/parameters/xdomain", "N"),
    ),
    ("iommu-off", "VT-d", _iommu_off),
    ("iommu-unprotected", "Kernel DMA Protection", _iommu_unprotected),
    ("module-not-installed", "apt install usb4rdma-dkms", lambda pc: pc.unloaded(False, False)),
    (
        "headers-missing",
        f"apt install linux-headers-{KERNEL}",
        lambda pc: pc.unloaded(False, True, False),
    ),
    ("module-not-built", "dkms autoinstall", lambda pc: pc.unloaded(False)),
    ("module-not-loaded", "modprobe usb4_rdma", lambda pc: pc.unloaded(True)),
    ("module-not-loaded", "modprobe usb4_rdma", _enrolled),
    ("secure-boot", "mokutil --import /var/lib/dkms/mok.pub", _secure_boot),
    ("secure-boot", "mokutil --import /var/lib/dkms/mok.pub", _locked_down),
    ("secure-boot", "mokutil --import /var/lib/shim-signed/mok/MOK.der", _enforced),
    ("secure-boot-unsigned", "install openssl", _unsigned),
    (
        "driver-version",
        "modprobe -r usb4_rdma",
        lambda pc: pc.write("/sys/module/usb4_rdma/version", "0.0.1"),
    ),
    (
        "provider-missing",
        "apt install ibverbs-providers",
        lambda pc: pc.remove("/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so"),
    ),
    (
        "uverbs-permission",
        "rdma-core",
        lambda pc: (pc.root / "dev/infiniband/uverbs0").chmod(0o600),
    ),
    ("memlock", "memlock unlimited", lambda pc: setattr(pc, "memlock", 8 << 20)),
    (
        "config-invalid",
        "usb4rdmactl config check",
        lambda pc: pc.write("/etc/usb4rdma/usb4rdmad.toml", "[pairing]\npolicy = 7\n"),
    ),
    ("cluster-secret-missing", "/etc/credstore/usb4rdma.cluster", _cluster),
    ("daemon-not-installed", "apt install usb4rdmad", _state("LoadState=not-found\n")),
    (
        "daemon-not-running",
        "systemctl enable --now usb4rdmad",
        _state("LoadState=loaded\nActiveState=inactive\n"),
    ),
    (
        "daemon-failed",
        "journalctl -u usb4rdmad",
        _state("LoadState=loaded\nActiveState=failed\nResult=exit-code\n"),
    ),
    (
        "daemon-not-enabled",
        "systemctl enable usb4rdmad",
        _state("LoadState=loaded\nActiveState=active\nUnitFileState=disabled\n"),
    ),
    (
        "networkmanager",
        "managed no",
        lambda pc: pc.says.update(nmcli=(0, "100 (connected)\n")),
    ),
    ("networkd", "[Match]", _networkd),
]


@pytest.mark.parametrize(("wanted", "cure", "spoil"), TROUBLES, ids=[t[0] for t in TROUBLES])
def test_each_trouble_is_found_alone_with_its_cure(
    pc: Pc, wanted: str, cure: str, spoil: Callable[[Pc], Any]
) -> None:
    spoil(pc)
    (finding,) = troubles(pc)
    assert finding.id == wanted
    assert cure in finding.cure
    shown = doctor.render([finding], Style())
    assert finding.text in shown and f"cure: {finding.cure}" in shown


def test_nothing_is_ever_changed_and_only_questions_are_run(pc: Pc) -> None:
    _locked_down(pc)
    before = {p: p.stat().st_mtime_ns for p in pc.root.rglob("*")}
    troubles(pc)
    assert {p: p.stat().st_mtime_ns for p in pc.root.rglob("*")} == before
    assert {c[:2] for c in pc.ran} == {
        ("systemctl", "show"),
        ("mokutil", "--test-key"),
        ("nmcli", "-g"),
    }


LINKS = [
    (link(State="waiting-approval", StateReason="unknown-peer"), "usb4rdmactl pair 0-1"),
    (link(State="handshaking", StateReason="peer-silent"), "enable --now usb4rdmad"),
    (link(State="blocked", StateReason="key-changed"), "usb4rdmactl forget mars"),
    (link(State="blocked", StateReason="policy-off"), "usb4rdmactl policy confirm"),
    (link(State="incompatible", StateReason="protocol-version"), "same version"),
    (link(State="handshaking", StateReason="cluster-secret"), "credstore/usb4rdma.cluster"),
    (link(State="degraded", StateReason="waiting-peer"), "on the other host"),
    (link(Speed=20_000_000_000), "40 Gb/s"),
    (link(Speed=20_000_000_000, Lanes=1), "40 Gb/s"),
    (link(SelfTest="failed"), "usb4rdmactl test 0-1"),
]


@pytest.mark.parametrize(("spoilt", "cure"), LINKS)
def test_each_trouble_of_a_link_has_a_cure(pc: Pc, spoilt: dict[str, Any], cure: str) -> None:
    (finding,) = troubles(pc, found(spoilt))
    assert cure in finding.cure


def test_no_link_and_an_old_daemon_are_told(pc: Pc) -> None:
    none = {"manager": {"Version": "0.0.1"}, "links": []}
    assert [f.id for f in troubles(pc, none)] == ["daemon-version", "no-link"]


def test_an_unreachable_daemon_is_told_once(pc: Pc) -> None:
    findings = doctor.examine(pc.system(), None, "cannot connect to the message bus")
    assert [f.id for f in findings if f.level is Level.TROUBLE] == ["daemon-unreachable"]
    _state("LoadState=loaded\nActiveState=inactive\n")(pc)
    findings = doctor.examine(pc.system(), None, "ServiceUnknown")
    assert [f.id for f in findings if f.level is Level.TROUBLE] == ["daemon-not-running"]


def test_what_only_root_can_see_is_unknown_to_others(pc: Pc) -> None:
    _cluster(pc)
    pc.uid = 1000
    (finding,) = troubles(pc)
    assert (finding.id, finding.level) == ("cluster-secret", Level.UNKNOWN)
    pc.write("/etc/credstore/usb4rdma.cluster")
    assert troubles(pc) == []


def test_the_real_system_can_be_examined() -> None:
    findings = doctor.examine(System(), None, "not asked")
    assert {f.id for f in findings} & {"kernel", "kernel-too-old"}
