# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU is started with: command line, initramfs, kernel image, module order, apt settings."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from lab import bzimage, cpio, kernels, qemu, sources
from lab.errors import BuildError
from lab.plan import HostPlan, Options, Plan


def plan(**options: object) -> Plan:
    fields = Options(**options).checked()  # type: ignore[arg-type]
    return Plan(
        options=fields,
        hosts=(HostPlan("a", 1, 1), HostPlan("b", 2, 2)),
        cables=("a:1-b:1",),
        topology="" if fields.cable == ("none",) else "[[host]]",
        kernel_version="7.2.1",
        vmlinux="/k/vmlinux",
        initrd="/k/initrd",
        layers=("/l/top", "/l/base"),
        accel="tcg",
        qemu=("qemu",),
        qemu_env={},
    )


def test_a_plan_survives_a_round_trip() -> None:
    before = plan(net=True, cable=("a:1-b:1",))
    assert Plan.from_json(before.to_json()) == before


def devices(words: list[str]) -> list[str]:
    return [words[i + 1] for i, word in enumerate(words) if word == "-device"]


def test_each_router_of_a_host_gets_its_socket() -> None:
    made = plan()
    words = qemu.command(made, made.hosts[1], Path("/run/x"))
    routers = [json.loads(d) for d in devices(words) if d.startswith("{")]
    assert [r["socket"]["path"] for r in routers] == ["/run/x/b-1.vfio", "/run/x/b-2.vfio"]


def test_guest_memory_is_shared_with_the_cable() -> None:
    made = plan(mem=900)
    words = qemu.command(made, made.hosts[0], Path("/run/x"))
    assert "memory-backend-memfd,id=mem,size=900M,share=on" in words
    assert any("memory-backend=mem" in word for word in words)


def test_the_iommu_comes_before_the_devices_it_translates_for() -> None:
    made = plan(iommu="strict")
    found = devices(qemu.command(made, made.hosts[0], Path("/run/x")))
    assert found[0] == "intel-iommu,caching-mode=on"
    assert "iommu.strict=1" in qemu.kernel_arguments(made, made.hosts[0])


def test_no_cable_means_no_host_router() -> None:
    made = plan(cable=("none",))
    assert not [d for d in devices(qemu.command(made, made.hosts[0], Path("/r"))) if "vfio" in d]
    assert "lab.cable" not in qemu.kernel_arguments(made, made.hosts[0])


def test_hosts_have_different_ethernet_addresses() -> None:
    made = plan(net=True)
    macs = [
        [d for d in devices(qemu.command(made, host, Path("/r"))) if "mac=" in d]
        for host in made.hosts
    ]
    assert len(macs[0]) == 1
    assert macs[0] != macs[1]


def test_the_kernel_learns_host_layers_and_init() -> None:
    fast = qemu.kernel_arguments(plan(), HostPlan("b", 2, 1)).split()
    assert {"lab.host=b", "lab.index=2", "lab.hosts=a,b", "lab.layers=vda,vdb"} <= set(fast)
    assert "init=/usr/lib/usb4rdma-lab/init" in fast
    assert (
        "init=/sbin/init"
        in qemu.kernel_arguments(plan(init="systemd"), HostPlan("b", 2, 1)).split()
    )


def entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content by name, read as Documentation/driver-api/early-userspace describes it."""
    found: dict[str, tuple[int, bytes]] = {}
    position = 0
    while True:
        assert archive[position : position + 6] == b"070701"
        fields = [int(archive[position + 6 + 8 * i : position + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        start = position + 110 + name_size
        name = archive[position + 110 : start - 1].decode()
        start += -start % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[start : start + size])
        position = start + size + -(start + size) % 4


def test_the_archive_holds_what_was_added() -> None:
    archive = cpio.Archive()
    archive.directory("d")
    archive.file("/d/f", b"hello", 0o755)
    archive.symlink("d/l", "f")
    archive.character_device("console", 5, 1)
    found = entries(bytes(archive))
    assert found["d"] == (0o040755, b"")
    assert found["d/f"] == (0o100755, b"hello")
    assert found["d/l"] == (0o120777, b"f")
    assert found["console"] == (0o020600, b"")


def test_modules_come_after_those_they_need() -> None:
    dep = (
        "kernel/fs/erofs/erofs.ko: kernel/fs/netfs.ko kernel/lib/lz4.ko\n"
        "kernel/fs/netfs.ko: kernel/lib/base.ko\nkernel/lib/lz4.ko:\nkernel/lib/base.ko:\n"
        "kernel/drivers/virtio-blk.ko:\n"
    )
    order = [
        Path(path).name for path in kernels.module_order(dep, ["built_in", "virtio_blk", "erofs"])
    ]
    assert order[0] == "virtio-blk.ko"
    assert order.index("base.ko") < order.index("netfs.ko") < order.index("erofs.ko")
    assert order.index("lz4.ko") < order.index("erofs.ko")
    assert len(order) == 5


def test_the_compressed_kernel_is_found_in_a_bzimage() -> None:
    image = bytearray(0x400 + 512 * 2)
    image[0x1F1] = 1
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", image, 0x248, 16, 8 + 4)
    start = 2 * 512 + 16
    image[start : start + 8] = b"\x28\xb5\x2f\xfdDATA"
    assert bzimage.payload(bytes(image)) == b"\x28\xb5\x2f\xfdDATA"


@pytest.mark.parametrize("image", [b"", b"MZ" + bytes(0x300)])
def test_what_is_no_bzimage_is_refused(image: bytes) -> None:
    with pytest.raises(BuildError):
        bzimage.payload(image)


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(BuildError, match="compression"):
        bzimage.unpacker(b"\0\0\0\0")


def test_the_mirror_is_that_of_this_machines_apt() -> None:
    text = "http://other/|Google|x\nhttp://mirror.example/debian/|Debian|Debian\n"
    assert sources.parse_mirror(text) == "http://mirror.example/debian"
    assert sources.parse_mirror("http://s/|Debian|Debian-Security\n") == sources.DEFAULT_MIRROR
    assert sources.parse_mirror("") == sources.DEFAULT_MIRROR


def test_proxies_and_clock_settings_are_carried_over_and_nothing_else() -> None:
    dump = (
        'Acquire::http::Proxy "http://p:1/";\nAcquire::Check-Valid-Until "false";\n'
        'APT::Get::Assume-Yes "1";\nDPkg::Pre-Install-Pkgs "x";\nAcquire::http::Proxy "a" ; b\n'
    )
    assert sources.parse_settings(dump) == [
        'Acquire::http::Proxy "http://p:1/";',
        'Acquire::Check-Valid-Until "false";',
    ]
