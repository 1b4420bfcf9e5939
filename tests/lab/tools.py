# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of the tools root, run as ordinary processes of this machine.

They are started by the root's own dynamic loader, so they need neither chroot nor privileges,
and the process that we start is the program itself.
"""

from __future__ import annotations

from pathlib import Path

from . import chroot, roots
from .errors import BuildError

_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio", "usr/lib")
_FOLDERS = ("usr/bin", "usr/sbin", "usr/libexec")


def program(name: str, root: Path | None = None) -> list[str]:
    """The first words of a command line that runs `name` from the tools root."""
    root = root or roots.ensure(roots.TOOLS)
    for folder in _FOLDERS:
        if (root / folder / name).exists():
            libraries = ":".join(str(root / path) for path in _LIBRARIES)
            loader = str(root / _LOADER)
            return [loader, "--library-path", libraries, str(root / folder / name)]
    raise BuildError(f"{name} is not in the tools root {root}")


def qemu(root: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """The first words of QEMU's command line and the environment it needs."""
    root = root or roots.ensure(roots.TOOLS)
    words = program("qemu-system-x86_64", root)
    for firmware in ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"):
        words += ["-L", str(root / firmware)]
    return words, {"QEMU_MODULE_DIR": str(root / "usr/lib/x86_64-linux-gnu/qemu")}


def make_erofs(source: Path, image: Path) -> None:
    """Write the tree `source` into the erofs image `image`, owned by root, uncompressed."""
    words = [*program("mkfs.erofs"), "--quiet", "-T0", "--all-root", str(image), str(source)]
    chroot.run_logged(words, what=f"mkfs.erofs for {image.name}")


def make_erofs_of_root(source: Path, image: Path, inside: str = "") -> None:
    """Like make_erofs(), for a tree with files of several owners: inside our namespaces.

    The files keep their times: Python compares them with those noted in its .pyc files. With
    `inside` the tree is at that path in the image.
    """
    top = f"/tree-at-{inside.replace('/', '-')}" if inside else "/tree"
    place = f"{top}/{inside}" if inside else top
    words = chroot.command(
        roots.ensure(roots.TOOLS),
        ["mkfs.erofs", "--quiet", f"/out/{image.name}", top],
        binds=[chroot.Bind(source, place), chroot.Bind(image.parent, "/out", writable=True)],
    )
    chroot.run_logged(words, what=f"mkfs.erofs for {image.name}")
