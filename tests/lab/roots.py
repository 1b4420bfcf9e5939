# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian roots in the cache: tools (QEMU), build (compilers, headers), guest (what hosts boot).

A root is a directory tree made by mmdebstrap and then completed by a script that runs in it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from . import cache, chroot, sources
from .errors import BuildError, LabError, MissingTool
from .progress import say, step

STABLE = ("trixie", "trixie-updates", "trixie-backports")
NEEDED_BYTES = 4 << 30

TOOLS_PACKAGES = (
    "qemu-system-x86 qemu-utils seabios erofs-utils busybox-static kmod zstd xz-utils cpio"
).split()

BUILD_PACKAGES = (
    "build-essential bc bison flex libelf-dev libssl-dev kmod xz-utils zstd cpio rsync sparse "
    "debhelper devscripts fakeroot lintian dh-dkms dh-python dkms pybuild-plugin-pyproject "
    "python3-all python3-setuptools python3-pytest python3-pytest-asyncio python3-hypothesis "
    "mypy python3-dbus-next python3-pydantic python3-pyudev python3-systemd python3-pyroute2 "
    "python3-cryptography python3-pyverbs python3-typeshed libibverbs-dev librdmacm-dev rdma-core "
    "umockdev gir1.2-umockdev-1.0 python3-gi dbus dbus-daemon polkitd systemd man-db mandoc "
    "shellcheck git ca-certificates"
).split()

GUEST_PACKAGES = (
    "rdma-core ibverbs-utils ibverbs-providers rdmacm-utils perftest python3-pyverbs iproute2 "
    "ethtool kmod python3 systemd systemd-sysv dbus udev polkitd pkexec python3-dbus-next "
    "python3-pydantic python3-pyudev python3-systemd python3-pyroute2 python3-cryptography "
    "iputils-ping netcat-openbsd procps psmisc strace less libnss-myhostname bash-completion "
    "libpam-systemd"
).split()

KERNELS = ("6.12", "7.2", "7.3")
WHEEL_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "any")

# Kernel headers and images come in one step, so that their versions fit each other. The .deb
# files of the kernels, and of the headers for the DKMS guests, stay in /srv/kernels/LABEL.
# A kernel that the mirror has dropped is left out: asking for it later is the error.
_FETCH_KERNELS = r"""
mkdir -p /srv/kernels
for label in KERNELS; do
    headers=$(apt-cache pkgnames linux-headers-$label. |
        grep -E "^linux-headers-$label\.[0-9]+\+deb13-amd64$" | sort -V | tail -n 1)
    [ -n "$headers" ] || continue
    version=${headers#linux-headers-}
    apt-get install -y $headers
    packages="$headers $(dpkg-query -W -f '${Depends}' $headers | tr ',' '\n' |
        sed -n 's/^ *\(linux-\(headers\|kbuild\|base\)-[^ ]*\).*/\1/p')"
    if apt-cache show linux-modules-$version >/dev/null 2>&1; then
        binary=linux-binary-$version
        apt-cache show $binary >/dev/null 2>&1 || binary=linux-binary-unsigned-$version
        packages="$packages $binary linux-modules-$version linux-base/trixie-backports"
    fi
    # Where the kernel is in the other two, this one is signed, and may come days after them.
    if apt-cache show linux-image-$version >/dev/null 2>&1; then
        packages="$packages linux-image-$version"
    fi
    mkdir -p /srv/kernels/$label && chmod 1777 /srv/kernels/$label
    (cd /srv/kernels/$label && apt-get download $packages && echo $version > version)
done
""".replace("KERNELS;", " ".join(KERNELS) + ";")

_LEAVE = "apt-get clean\nrm -rf /var/lib/apt/lists/*\n"
_PIN_HOOK = 'mkdir -p "$1"/etc/apt/preferences.d && cat {} >"$1"/etc/apt/preferences.d/lab'
_SMALLER = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/lintian/*")


@dataclass(frozen=True)
class RootSpec:
    """What a root is made of. `pins` lets package name globs come from another suite; `wheels`
    are of PyPI, for the Python `python`, in a virtual environment at /opt/venv."""

    name: str
    packages: tuple[str, ...]
    suites: tuple[str, ...] = STABLE
    pins: tuple[tuple[str, str], ...] = ()
    script: str = ""
    excluded_paths: tuple[str, ...] = _SMALLER
    revision: int = 1
    extra: dict[str, str] = field(default_factory=dict)
    wheels: tuple[str, ...] = ()
    python: str = ""

    def key(self) -> dict[str, object]:
        """What the cache names the root by."""
        more = {"wheels": [self.python, *self.wheels]} if self.wheels else {}
        return {
            **more,
            "packages": sorted(self.packages),
            "suites": self.suites,
            "pins": self.pins,
            "script": self.script,
            "excluded": self.excluded_paths,
            "revision": self.revision,
            "extra": self.extra,
            "owner": "root" if os.geteuid() == 0 else "namespace",
        }


TOOLS = RootSpec(
    name="tools",
    packages=tuple(TOOLS_PACKAGES),
    pins=(("qemu-*", "trixie-backports"), ("seabios", "trixie-backports")),
)

BUILD = RootSpec(
    name="build",
    packages=tuple(BUILD_PACKAGES),
    script=_FETCH_KERNELS,
)

GUEST = RootSpec(
    name="guest",
    packages=tuple(GUEST_PACKAGES),
    script=r"""
passwd -d root
rm -f /etc/machine-id /var/lib/dbus/machine-id /etc/hostname
: > /etc/machine-id
printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer man-db.timer systemd-firstboot.service systemd-pstore.service \
    systemd-timesyncd.service getty@tty1.service serial-getty@hvc0.service \
    systemd-update-utmp.service systemd-networkd-wait-online.service ldconfig.service \
    modprobe@drm.service
systemctl set-default multi-user.target
mkdir -p /etc/security/limits.d /etc/systemd/system.conf.d
printf '* - memlock unlimited\nroot - memlock unlimited\n' > /etc/security/limits.d/rdma.conf
printf '[Manager]\nDefaultLimitMEMLOCK=infinity\n' > /etc/systemd/system.conf.d/memlock.conf
""",
)


def path_of(spec: RootSpec) -> Path:
    """The root's directory; it is there only once it was built."""
    return cache.entry_path("roots", spec.name, spec.key())


def ensure(spec: RootSpec) -> Path:
    """Build the root if it is not there; the path of its directory."""
    return cache.ensure("roots", spec.name, spec.key(), lambda target: _build(spec, target))


def _build(spec: RootSpec, target: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise MissingTool("mmdebstrap is missing", "`make bootstrap` installs what the lab needs")
    if cache.free_bytes() < NEEDED_BYTES:
        raise LabError(
            f"less than {NEEDED_BYTES >> 30} GiB are free for the cache",
            "make room, or set USB4RDMA_CACHE to a directory on a larger disk",
        )
    with step(
        f"building the {spec.name} root (Debian {spec.suites[0]}, {len(spec.packages)} packages)"
    ):
        _bootstrap(spec, target)
        if spec.wheels:
            _add_wheels(spec, target)
        if spec.script:
            say(f"{spec.name} root: completing it")
            log = target.parent / f"{target.name}.log"
            script = f"set -e\napt-get update\n{spec.script}\n{_LEAVE}"
            chroot.run(target, ["/bin/sh", "-c", script], writable=True, log=log)


def _add_wheels(spec: RootSpec, target: Path) -> None:
    """Fetched out here, where pip has this machine's settings; installed in there."""
    say(f"{spec.name} root: {', '.join(spec.wheels)}")
    wheels = target.parent / f"{target.name}.wheels"
    chroot.remove_tree(wheels)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    which = ["--only-binary=:all:", f"--python-version={spec.python}"]
    which += [f"--platform={name}" for name in WHEEL_PLATFORMS]
    words = [*pip, *which, "--dest", str(wheels), *spec.wheels]
    chroot.run_logged(words, what=f"pip download {' '.join(spec.wheels)}")
    install = "python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-index /wheels/*.whl"
    binds = [chroot.Bind(wheels, "/wheels")]
    chroot.run(target, ["/bin/sh", "-c", install], binds=binds, writable=True)
    chroot.remove_tree(wheels)


def _bootstrap(spec: RootSpec, target: Path) -> None:
    workshop = target.parent
    (preferences := workshop / f"{target.name}.pref").write_text(
        _preferences(spec), encoding="utf-8"
    )
    (apt_conf := workshop / f"{target.name}.conf").write_text(
        "\n".join(sources.settings()) + "\n", encoding="utf-8"
    )
    as_root = os.geteuid() == 0
    words = [
        "mmdebstrap",
        f"--mode={'root' if as_root else 'unshare'}",
        "--variant=apt",
        f"--format={'directory' if as_root else 'tar'}",
        "--architectures=amd64",
        f"--keyring={sources.keyring()}",
        f"--aptopt={apt_conf}",
        "--dpkgopt=force-confold",
        "--include=debian-archive-keyring",
        f"--setup-hook={_PIN_HOOK.format(shlex.quote(str(preferences)))}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in spec.excluded_paths),
        *(f"--include={package}" for package in spec.packages),
        spec.suites[0],
        str(target) if as_root else "-",
        *sources.source_lines(list(spec.suites)),
    ]
    if as_root:
        _follow(words, spec.name)
    else:
        target.mkdir()
        unpack = [
            *chroot.namespaces(),
            "tar",
            "-x",
            "--numeric-owner",
            "-C",
            str(target),
            "--exclude=./dev/*",
        ]
        with subprocess.Popen(unpack, stdin=subprocess.PIPE) as tar:
            _follow(words, spec.name, stdout=tar.stdin)
            assert tar.stdin is not None
            tar.stdin.close()
        if tar.returncode != 0:
            raise BuildError(f"unpacking the {spec.name} root failed")
    preferences.unlink()
    apt_conf.unlink()


def _preferences(spec: RootSpec) -> str:
    return "\n".join(
        f"Package: {names}\nPin: release n={suite}\nPin-Priority: 900\n"
        for names, suite in spec.pins
    )


def _follow(
    words: list[str], name: str, stdout: int | IO[bytes] | None = subprocess.DEVNULL
) -> None:
    """Run mmdebstrap, show its own progress lines, and keep the rest for the error."""
    lines: list[str] = []
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line.rstrip())
            if line.startswith("I: "):
                say(f"{name} root: {line[3:].rstrip()}")
    if process.returncode != 0:
        tail = "\n".join(lines[-25:])
        raise BuildError(f"mmdebstrap failed for the {name} root:\n{tail}")
