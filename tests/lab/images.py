# SPDX-License-Identifier: GPL-2.0-or-later
"""The read-only layers that a host's root file system is stacked from, top layer first."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import build, cache, chroot, extras, kernels, roots, tools
from .errors import BuildError
from .kernels import Kernel
from .paths import GUEST_FILES, REPOSITORY
from .progress import say, step

_REVISION = 5
PROGRAMS = "usr/lib/usb4rdma-lab"
DIST = "dist"

# gcc and make compile the module in the guest: DKMS itself only recommends them.
_ADD_DKMS = r"""
set -e
apt-get update
apt-get install -y dkms gcc make openssl /debs/linux-headers-*.deb /debs/linux-kbuild-*.deb \
    $(ls /debs/linux-base-*.deb 2>/dev/null || true)
apt-get clean
rm -rf /var/lib/apt/lists/*
cp -an /modules/usr/lib/modules/$VERSION /usr/lib/modules/ || true
depmod $VERSION
test -e /usr/lib/modules/$VERSION/build/Makefile
"""

# The sanitizer kernel comes as trees, not as packages.
_ADD_DKMS_TO_DEBUG = r"""
set -e
apt-get update
apt-get install -y dkms gcc make
apt-get clean
rm -rf /var/lib/apt/lists/*
cp -a /modules/usr/lib/modules/$VERSION /usr/lib/modules/
cp -a /headers /usr/src/linux-headers-$VERSION
ln -s /usr/src/linux-headers-$VERSION /usr/lib/modules/$VERSION/build
depmod $VERSION
test -e /usr/lib/modules/$VERSION/build/Makefile
"""

# Services would start by themselves at boot; a test that wants one starts it.
_ADD_PACKAGES = r"""
set -e
apt-get update
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
apt-get install -y --no-install-recommends $PACKAGES
SCRIPT
rm /usr/sbin/policy-rc.d
apt-get clean
rm -rf /var/lib/apt/lists/*
"""

_INSTALL_PACKAGES = r"""
set -e
mkdir -p /var/lib/apt/lists/partial
apt-get install -y --no-install-recommends /dist/*.deb
apt-get clean
modinfo -k $VERSION usb4_rdma >/dev/null 2>&1 || dkms autoinstall -k $VERSION ||
    { cat /var/lib/dkms/*/*/build/make.log; exit 1; }
modinfo -k $VERSION usb4_rdma
systemctl enable usb4rdmad.service
"""


def layers(kernel: Kernel, init: str, install: str, extra: tuple[str, ...] = ()) -> list[Path]:
    """The images of a host, the top one first; `extra` are sets of extras.py."""
    in_root = extras.in_root(extra)
    base = extended_root(in_root)
    suffix = "".join(f"-{name}" for name in in_root)
    stack = [lab_layer(), *(foreign_layer(spec) for spec in extras.foreign(extra))]
    if install == "driver":
        stack.append(build.driver_layer(kernel))
    if install == "all":
        root = installed_root(kernel, base, suffix)
        stack.append(_image_of_root(f"all-{kernel.label}{suffix}", root))
    elif init == "systemd":
        root = dkms_root(kernel, base, suffix)
        stack.append(_image_of_root(f"dkms-{kernel.label}{suffix}", root))
    else:
        stack += [kernel.modules_image, _image_of_root(f"guest{suffix}", base)]
    return stack


def extended_root(names: tuple[str, ...]) -> Path:
    """The guest root with the packages of these sets, completed by their scripts."""
    base = roots.ensure(roots.GUEST)
    if not names:
        return base
    packages = extras.packages(names)
    script = _ADD_PACKAGES.replace("SCRIPT\n", extras.script(names))
    key: list[object] = [_REVISION, base.name, script, *packages]
    name = "guest-" + "-".join(names)
    return _derived_root(name, key, base, script, [], {"PACKAGES": " ".join(packages)})


def foreign_layer(spec: roots.RootSpec) -> Path:
    """An image with another Debian's root at /foreign/NAME."""
    root = roots.ensure(spec)

    def make(target: Path) -> None:
        with step(f"writing the image of the foreign root {spec.name}"):
            tools.make_erofs_of_root(root, target, f"foreign/{spec.name}")

    return cache.ensure("images", f"foreign-{spec.name}", [_REVISION, root.name], make)


def dkms_root(kernel: Kernel, base: Path, suffix: str) -> Path:
    """A guest root with this kernel's modules, its headers and DKMS."""
    headers, script = chroot.Bind(kernel.packages, "/debs"), _ADD_DKMS
    if kernel.headers:
        headers, script = chroot.Bind(kernel.headers, "/headers"), _ADD_DKMS_TO_DEBUG
    binds = [headers, chroot.Bind(kernel.modules_tree, "/modules")]
    key = [_REVISION, base.name, kernel.folder.name, script]
    return _derived_root(
        f"dkms-{kernel.label}{suffix}", key, base, script, binds, {"VERSION": kernel.version}
    )


def installed_root(kernel: Kernel, guest: Path, suffix: str) -> Path:
    """The DKMS root with this repository's packages installed by apt, the module built by DKMS."""
    dist = REPOSITORY / DIST
    packages = sorted(dist.glob("*.deb"))
    if not packages:
        raise BuildError(f"there are no packages in {DIST}/", "run `make packages` first")
    base = dkms_root(kernel, guest, suffix)
    key = [_REVISION, base.name, _INSTALL_PACKAGES, cache.digest_of_files(packages, dist)]
    binds = [chroot.Bind(dist, "/dist")]
    return _derived_root(
        f"all-{kernel.label}{suffix}",
        key,
        base,
        _INSTALL_PACKAGES,
        binds,
        {"VERSION": kernel.version},
    )


def _derived_root(
    name: str,
    key: list[object],
    base: Path,
    script: str,
    binds: list[chroot.Bind],
    env: dict[str, str],
) -> Path:
    def make(target: Path) -> None:
        with step(f"making the guest root {name}"):
            copy = ["cp", "-a", "--reflink=auto", str(base), str(target)]
            chroot.run_logged([*chroot.namespaces(), *copy], what=f"copying {base.name}")
            chroot.run(
                target,
                ["/bin/sh", "-c", script],
                binds=binds,
                writable=True,
                env=env,
                log=target.parent / f"{target.name}.log",
            )

    return cache.ensure("roots", name, key, make)


def _image_of_root(name: str, root: Path) -> Path:
    def make(target: Path) -> None:
        with step(f"writing the image {name}"):
            tools.make_erofs_of_root(root, target)

    return cache.ensure("images", name, [_REVISION, root.name], make)


def lab_layer() -> Path:
    """The top layer: the lab's own programs and units in a host."""
    files = [
        path
        for path in GUEST_FILES.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    key = [_REVISION, cache.digest_of_files(files, GUEST_FILES)]
    return cache.ensure(
        "layers", "lab", key, lambda target: _build_lab_layer(files, target), keep=4
    )


def _build_lab_layer(files: list[Path], target: Path) -> None:
    tree = target.parent / f"{target.name}.tree"
    chroot.remove_tree(tree)
    units = tree / "usr/lib/systemd/system"
    wanted = tree / "etc/systemd/system/sysinit.target.wants"
    wanted_late = tree / "etc/systemd/system/multi-user.target.wants"
    for folder in (tree / PROGRAMS, units, wanted, wanted_late):
        folder.mkdir(parents=True)
    config = tree / "etc/usb4rdma/usb4rdmad.toml.d"
    config.mkdir(parents=True)
    for path in files:
        destination = {".service": units, ".toml": config}.get(path.suffix, tree / PROGRAMS)
        shutil.copy2(path, destination / path.name)
    (wanted / "lab-agent.service").symlink_to("/usr/lib/systemd/system/lab-agent.service")
    (wanted_late / "lab-driver.service").symlink_to("/usr/lib/systemd/system/lab-driver.service")
    tools.make_erofs(tree, target)
    chroot.remove_tree(tree)


def build_all(labels: list[str]) -> None:
    """Fill the cache with what `lab up` needs for these kernels."""

    for label in labels:
        kernel = kernels.ensure(label)
        say(f"kernel {label} is {kernel.version}")
    _image_of_root("guest", extended_root(()))
    lab_layer()


def packages_available() -> bool:
    """Whether `make packages` has left packages to install."""
    return any((REPOSITORY / DIST).glob("*.deb"))


def check_tools() -> str:
    """QEMU's own version line; BuildError if it does not run."""
    words, env = tools.qemu()
    done = subprocess.run(
        [*words, "--version"], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BuildError(f"QEMU does not run: {done.stderr.strip()}")
    return done.stdout.splitlines()[0]
