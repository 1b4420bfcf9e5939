# SPDX-License-Identifier: GPL-2.0-or-later
"""The PC's ports in a fake sysfs, and keys in a directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from usb4rdmad import placed
from usb4rdmad.hardware import SysfsMachine
from usb4rdmad.model import Hardware, KernelLink, KernelState, Trust

KEY = "ab" * 32


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_ports_of_host_routers_are_found_and_nothing_else(tmp_path: Path) -> None:
    devices = tmp_path / "bus" / "thunderbolt" / "devices"
    write(devices / "domain0" / "iommu_dma_protection", "1\n")
    write(devices / "0-0" / "usb4_port3" / "link", "none\n")
    write(devices / "0-0" / "usb4_port1" / "link", "usb4\n")
    write(devices / "0-0" / "usb4_port999" / "link", "usb4\n")
    write(devices / "0-1" / "usb4_port1" / "link", "usb4\n")
    write(devices / "1-0" / "usb4_port1" / "link", "\x1b[31m\n")
    write(tmp_path / "kernel" / "security" / "lockdown", "none [integrity] confidentiality\n")
    found = SysfsMachine(tmp_path).hardware()
    assert [(p.domain, p.number, p.mode) for p in found.ports] == [
        (0, 1, "usb4"),
        (0, 3, "none"),
        (1, 1, ""),
    ]
    assert found.iommu and found.locked_down
    link = KernelLink("link0", KernelState.READY, domain=0, route=0x203)
    assert [p.number for p in found.ports if p.carries(link)] == [3]


def test_iommu_counts_only_if_it_guards_every_domain(tmp_path: Path) -> None:
    assert SysfsMachine(tmp_path).hardware() == Hardware()
    devices = tmp_path / "bus" / "thunderbolt" / "devices"
    write(devices / "domain0" / "iommu_dma_protection", "1\n")
    write(devices / "domain1" / "iommu_dma_protection", "0\n")
    assert not SysfsMachine(tmp_path).hardware().iommu


def test_placed_keys_are_read_and_a_bad_file_spoils_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.toml", f'public_key = "{KEY}"\nname = "mars"\n')
    write(tmp_path / "b.toml", f'public_key = "{KEY[:-2]}"\n')
    write(tmp_path / "c.toml", f'public_key = "{KEY}"\ncolour = "red"\n')
    write(tmp_path / "d.toml", "not toml")
    write(tmp_path / "e.toml", "#" * 5000)
    write(tmp_path / "f.txt", f'public_key = "{"cd" * 32}"\n')
    (peer,) = placed.load(tmp_path)
    assert (peer.public_key.hex(), peer.name, peer.trust) == (KEY, "mars", Trust.PLACED)
    assert placed.load(tmp_path / "none") == ()


def test_a_kernel_that_wants_signatures_is_known_without_lockdown(tmp_path: Path) -> None:
    assert not SysfsMachine(tmp_path).hardware().locked_down
    write(tmp_path / "kernel" / "security" / "lockdown", "[none] integrity confidentiality\n")
    write(tmp_path / "module" / "module" / "parameters" / "sig_enforce", "N\n")
    assert not SysfsMachine(tmp_path).hardware().locked_down
    write(tmp_path / "module" / "module" / "parameters" / "sig_enforce", "Y\n")
    assert SysfsMachine(tmp_path).hardware().locked_down
