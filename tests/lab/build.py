# SPDX-License-Identifier: GPL-2.0-or-later
"""Work in the build root: a clean Debian 13 with compilers, packaging tools and kernel headers.

The root is read-only for the command; the repository is /src (read-only), results go to /out.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import cache, chroot, kernels, roots, tools
from .errors import BuildError, UsageError
from .paths import REPOSITORY
from .progress import step

DRIVER = "driver"
MODULE = "usb4_rdma"
_REVISION = 2


def exec_build(argv: list[str], out: Path, label: str = kernels.DEFAULT) -> None:
    """Replace this process by `argv` running in the build root; $KDIR names the headers."""
    if not argv:
        raise UsageError("no command for the build root", "lab exec-build -- COMMAND...")
    out.mkdir(parents=True, exist_ok=True)
    root = roots.ensure(roots.BUILD)
    words = chroot.command(
        root,
        argv,
        binds=[chroot.Bind(REPOSITORY, "/src"), chroot.Bind(out.resolve(), "/out", writable=True)],
        env={"KDIR": headers_of(label), "KERNELS": " ".join(roots.KERNELS)},
        cwd="/src",
    )
    os.execvp(words[0], words)


def headers_of(label: str) -> str:
    """The directory of a kernel's headers inside the build root."""
    mark = roots.ensure(roots.BUILD) / "srv/kernels" / label / "version"
    if not mark.exists():
        raise UsageError(f"the build root has no headers of kernel {label!r}")
    return f"/usr/src/linux-headers-{mark.read_text(encoding='ascii').strip()}"


def driver_layer(kernel: kernels.Kernel) -> Path:
    """An erofs layer with the module built from driver/ for `kernel`, where modprobe finds it."""
    source = REPOSITORY / DRIVER
    files = [
        path
        for path in source.rglob("*")
        if path.is_file()
        and (path.suffix in {".c", ".h", ".sh"} or path.name in {"Kbuild", "Makefile"})
        and not path.name.endswith(".mod.c")
    ]
    if not files:
        raise BuildError("driver/ has no sources", "use --install none to boot without the driver")
    key = [
        kernel.version,
        str(kernel.folder),
        _REVISION,
        cache.digest_of_files(files, source),
    ]
    return cache.ensure(
        "drivers",
        f"driver-{kernel.label}",
        key,
        lambda target: _build_driver(kernel, target),
        keep=6,
    )


_BUILD_MODULE = r"""
set -e
cp -a /src/driver /tmp/driver
make -C "$KDIR" M=/tmp/driver -j"$(nproc)" clean >/dev/null
make -C "$KDIR" M=/tmp/driver -j"$(nproc)" modules
updates=/out/tree/usr/lib/modules/$VERSION/updates
mkdir -p $updates
find /tmp/driver -name '*.ko' -exec cp {} $updates/ \;
strip --strip-debug $updates/*.ko
mkdir -p /tmp/all/lib/modules
cp -as /modules/usr/lib/modules/$VERSION /tmp/all/lib/modules/
cp -r $updates /tmp/all/lib/modules/$VERSION/
depmod -b /tmp/all $VERSION
for index in /tmp/all/lib/modules/$VERSION/modules.*; do
    [ -L $index ] || cp $index /out/tree/usr/lib/modules/$VERSION/
done
"""


def _build_driver(kernel: kernels.Kernel, target: Path) -> None:
    workshop = target.parent / f"{target.name}.tree"
    chroot.remove_tree(workshop)
    workshop.mkdir()
    binds = [
        chroot.Bind(REPOSITORY, "/src"),
        chroot.Bind(kernel.modules_tree, "/modules"),
        chroot.Bind(workshop, "/out", writable=True),
    ]
    if kernel.headers:
        binds.append(chroot.Bind(kernel.headers, "/headers"))
    kdir = "/headers" if kernel.headers else headers_of(kernel.label)
    with step(f"building the driver for {kernel.version}"):
        chroot.run(
            roots.ensure(roots.BUILD),
            ["/bin/sh", "-c", _BUILD_MODULE],
            binds=binds,
            env={"KDIR": kdir, "VERSION": kernel.version},
        )
        tools.make_erofs(workshop / "tree", target)
    chroot.remove_tree(workshop)
