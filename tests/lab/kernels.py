# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock Debian kernels, made ready to boot fast: vmlinux, unpacked modules, a tiny initramfs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import bzimage, cache, chroot, cpio, debug_kernel, roots, tools
from .errors import BuildError, UsageError
from .paths import GUEST_FILES
from .progress import step

LABELS = (*roots.KERNELS, *debug_kernel.LABELS)
DEFAULT = "7.2"
_REVISION = 4

# What a host of the lab can never use; leaving it out makes the image a third of its size.
_LEFT_OUT = (
    "drivers/gpu drivers/media drivers/iio drivers/staging drivers/isdn drivers/input sound "
    "drivers/net/wireless drivers/net/ethernet drivers/net/can drivers/net/usb drivers/hwmon "
    "drivers/infiniband/hw drivers/comedi drivers/bluetooth net/bluetooth net/wireless "
    "net/mac80211 drivers/usb drivers/video drivers/mfd drivers/platform drivers/crypto "
    "drivers/accel drivers/ata drivers/mtd drivers/hid drivers/power drivers/regulator "
    "drivers/leds drivers/firewire drivers/edac drivers/gnss drivers/scsi/aic7xxx "
    "drivers/scsi/qla2xxx drivers/scsi/lpfc drivers/scsi/mpt3sas drivers/scsi/bfa fs/ocfs2 "
    "fs/xfs fs/btrfs fs/gfs2 fs/ceph fs/smb drivers/md drivers/w1 drivers/rtc drivers/memstick "
    "drivers/pcmcia drivers/parport drivers/ptp drivers/mmc drivers/net/ppp drivers/net/wan "
    "drivers/net/wwan drivers/net/arcnet drivers/net/hamradio net/batman-adv net/mac802154 "
    "net/tipc net/openvswitch net/ceph drivers/net/phy drivers/net/fddi drivers/net/pcs "
    "drivers/net/ieee802154 drivers/net/plip drivers/net/hippi drivers/net/slip drivers/atm"
).split()

_UNPACK = r"""
set -e
mkdir -p /out/unpacked /out/modules/usr/lib
for deb in /debs/linux-image-*.deb /debs/linux-binary-*.deb /debs/linux-modules-*.deb; do
    [ ! -e "$deb" ] || dpkg-deb -x "$deb" /out/unpacked
done
for lib in /out/unpacked/lib/modules /out/unpacked/usr/lib/modules; do
    [ ! -d $lib ] || cp -a $lib /out/modules/usr/lib/
done
for image in /out/unpacked/boot/vmlinuz-* /out/modules/usr/lib/modules/$VERSION/vmlinuz*; do
    [ ! -e "$image" ] || cp "$image" /out/bzImage
done
rm -f /out/modules/usr/lib/modules/$VERSION/vmlinuz*
rm -rf /out/unpacked
cd /out/modules/usr/lib/modules/$VERSION
rm -f build source
for folder in $LEFT_OUT; do rm -rf kernel/$folder; done
find . -name '*.ko.xz' -print0 | xargs -0 -r -n 100 -P 2 xz -d
find . -name '*.ko.zst' -print0 | xargs -0 -r -n 100 -P 2 zstd -q -d --rm
ln -s usr/lib /out/modules/lib
depmod -b /out/modules $VERSION
rm /out/modules/lib
"""


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache."""

    label: str
    version: str
    folder: Path

    @property
    def vmlinux(self) -> Path:
        """The uncompressed kernel, booted by its PVH entry."""
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        """An uncompressed initramfs that stacks the image layers and starts init."""
        return self.folder / "initrd.cpio"

    @property
    def modules_image(self) -> Path:
        """The erofs layer with /usr/lib/modules/VERSION."""
        return self.folder / "modules.erofs"

    @property
    def modules_tree(self) -> Path:
        """The same as a directory tree."""
        return self.folder / "modules"

    @property
    def packages(self) -> Path:
        """The .deb files of this kernel and of its headers."""
        return roots.path_of(roots.BUILD) / "srv/kernels" / self.label

    @property
    def headers(self) -> Path | None:
        """What modules are built against, if not in the build root: a sanitizer kernel's."""
        sanitizers = self.label in debug_kernel.LABELS
        return debug_kernel.folder(self.label) / "headers" if sanitizers else None


def ensure(label: str = DEFAULT) -> Kernel:
    """The kernel called `label`, made ready if it was not."""
    if label in debug_kernel.LABELS:
        return _ensure_sanitizers(label)
    if label not in roots.KERNELS:
        raise UsageError(f"there is no kernel {label!r}", f"use one of {', '.join(LABELS)}")
    packages = roots.ensure(roots.BUILD) / "srv/kernels" / label
    if not (packages / "version").exists():
        raise BuildError(
            f"Debian's mirror had no kernel {label} when the build root was made",
            "use another --kernel, or see tests/lab/README.md on renewing the cache",
        )
    version = (packages / "version").read_text(encoding="ascii").strip()
    initrd_files = cache.digest_of_files(list(GUEST_FILES.glob("initrd-*")), GUEST_FILES)
    key = [version, _REVISION, _LEFT_OUT, _UNPACK, initrd_files, str(roots.path_of(roots.TOOLS))]
    folder = cache.ensure(
        "kernels", label, key, lambda target: _build(label, version, packages, target)
    )
    return Kernel(label, version, folder)


def _ensure_sanitizers(label: str) -> Kernel:
    built = debug_kernel.folder(label)
    version = (built / "version").read_text(encoding="ascii").strip()
    initrd_files = cache.digest_of_files(list(GUEST_FILES.glob("initrd-*")), GUEST_FILES)

    def make(target: Path) -> None:
        target.mkdir()
        shutil.copy2(built / "vmlinux", target / "vmlinux")
        shutil.copytree(built / "modules", target / "modules", symlinks=True)
        _finish(version, roots.ensure(roots.TOOLS), target)

    key = [built.name, _REVISION, initrd_files, str(roots.path_of(roots.TOOLS))]
    return Kernel(label, version, cache.ensure("kernels", label, key, make))


def _build(label: str, version: str, packages: Path, target: Path) -> None:
    tools_root = roots.ensure(roots.TOOLS)
    with step(f"preparing kernel {version}"):
        target.mkdir()
        chroot.run(
            tools_root,
            ["/bin/sh", "-c", _UNPACK],
            binds=[chroot.Bind(packages, "/debs"), chroot.Bind(target, "/out", writable=True)],
            env={"VERSION": version, "LEFT_OUT": " ".join(_LEFT_OUT)},
        )
        _unpack_vmlinux(target)
        _finish(version, tools_root, target)


def _finish(version: str, tools_root: Path, target: Path) -> None:
    """The images of a kernel whose vmlinux and modules/ are in `target`."""
    tools.make_erofs(target / "modules", target / "modules.erofs")
    init = (GUEST_FILES / "initrd-init").read_bytes()
    (target / "initrd.cpio").write_bytes(initrd(target / "modules", version, tools_root, init))
    (target / "version").write_text(version + "\n", encoding="ascii")


def _unpack_vmlinux(target: Path) -> None:
    compressed = bzimage.payload((target / "bzImage").read_bytes())
    words = tools.program("zstd") if compressed[:4] == b"\x28\xb5\x2f\xfd" else []
    words = [*words, "-d", "-q"] if words else bzimage.unpacker(compressed)
    done = subprocess.run(words, input=compressed, capture_output=True, check=False)
    if done.returncode != 0 or done.stdout[:4] != b"\x7fELF":
        raise BuildError(f"unpacking the kernel failed: {done.stderr.decode(errors='replace')}")
    (target / "vmlinux").write_bytes(done.stdout)


def module_order(modules_dep: str, wanted: list[str]) -> list[str]:
    """Paths of modules, each after those it needs; names that are built in are left out."""
    needs: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for line in modules_dep.splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        paths[Path(path).name.split(".ko")[0].replace("-", "_")] = path
    order: list[str] = []

    def visit(path: str) -> None:
        for needed in reversed(needs.get(path, [])):
            visit(needed)
        if path not in order:
            order.append(path)

    for name in wanted:
        if name in paths:
            visit(paths[name])
    return order


def initrd(
    modules: Path, version: str, tools_root: Path, init: bytes, more: tuple[str, ...] = ()
) -> bytes:
    """An initramfs with `init`, which loads the modules that the layers need, and `more`."""
    tree = modules / "usr/lib/modules" / version
    archive = cpio.Archive()
    for folder in ("bin", "dev", "proc", "modules", "layers", "rw", "root"):
        archive.directory(folder)
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, 0o666)
    archive.file("bin/busybox", (tools_root / "usr/bin/busybox").read_bytes(), 0o755)
    archive.file("init", init, 0o755)
    order = module_order(
        (tree / "modules.dep").read_text(encoding="utf-8"),
        # libcrc32c of 6.12 asks for the cipher crc32c by name, not by dependency.
        ["crc32c_generic", "virtio_pci", "virtio_blk", "virtio_console", "erofs", "overlay", *more],
    )
    names = []
    for path in order:
        names.append(Path(path).name)
        archive.file(f"modules/{names[-1]}", (tree / path).read_bytes())
    archive.file("modules/order", "".join(f"{name}\n" for name in names).encode())
    return bytes(archive)
