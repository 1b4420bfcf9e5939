# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab's hosts can have beside the usual (`lab up --with SET`).

A set keeps what few tests want, some of it large, out of everyone's image. It is some more
Debian packages, a script that completes the root when they are there, or a foreign root: a
whole other Debian, read-only at /foreign/SET, entered by `/usr/lib/usb4rdma-lab/in-foreign`.
"""

from __future__ import annotations

from . import roots
from .errors import UsageError

# The tests come in python3-pyverbs, as documentation, which roots leave out to be small.
_RDMA_CORE_TESTS = r"""
mkdir -p /usr/share/doc/rdma-core
tests=--path-include=/usr/share/doc/rdma-core/tests/*
apt-get install -y --reinstall --no-install-recommends -o "DPkg::Options::=$tests" python3-pyverbs
mv /usr/share/doc/rdma-core/tests /usr/share/rdma-core-tests
gunzip /usr/share/rdma-core-tests/*.gz
python3 -m compileall -q /usr/share/rdma-core-tests
"""

EXTRAS: dict[str, tuple[str, ...]] = {
    # Measuring programs and libraries' own tests.
    "clients": ("qperf", "libfabric-bin"),
    # Storage over RDMA, both ends.
    "storage": (
        *("diod", "e2fsprogs", "fio", "nfs-common", "nfs-kernel-server"),
        *("nvme-cli", "open-iscsi"),
    ),
    # Message passing.
    "mpi": (
        "libfabric-bin",
        "mpich",
        "openmpi-bin",
        "openssh-server",
        "python3-mpi4py",
        "ucx-utils",
    ),
    # PyTorch with its MPI backend: 1.8 GB.
    "torch": ("openmpi-bin", "openssh-server", "python3-torch"),
    # GLib's own tools: gdbus.
    "glib": ("libglib2.0-bin",),
    # What Debian's kernel packages need to be installed.
    "kernel-packages": ("gcc-14-for-host", "initramfs-tools", "linux-base", "pahole"),
    # rdma-core's own tests, of the version that the hosts have, in /usr/share/rdma-core-tests.
    "rdma-core-tests": (),
}

# The lab boots hosts by an initramfs of its own; a small one of Debian's is made all the same.
_KERNEL_PACKAGES = r"""
printf 'MODULES=list\nCOMPRESS=lz4\n' > /etc/initramfs-tools/conf.d/lab
"""

SCRIPTS: dict[str, str] = {
    "rdma-core-tests": _RDMA_CORE_TESTS,
    "kernel-packages": _KERNEL_PACKAGES,
}

# What an image of a container has: the providers and programs, nothing of the device's own.
_CONTAINER = ("ibverbs-providers", "ibverbs-utils", "iproute2", "perftest", "rdmacm-utils")

FOREIGN: dict[str, roots.RootSpec] = {
    # rdma-core 44.
    "debian-12": roots.RootSpec(name="debian-12", packages=_CONTAINER, suites=("bookworm",)),
    # rdma-core 56.
    "debian-13": roots.RootSpec(name="debian-13", packages=_CONTAINER, suites=("trixie",)),
    # rdma-core 65 with its own tests.
    "rdma-core-65": roots.RootSpec(
        name="rdma-core-65",
        packages=(*_CONTAINER, "python3-pyverbs", "rdma-core"),
        suites=("sid",),
        script=_RDMA_CORE_TESTS,
    ),
    # Debian 13 with a framework of PyPI that finds libibverbs by itself: the transfer engine by
    # which vLLM and SGLang move key-value caches.
    "pypi": roots.RootSpec(
        name="pypi",
        packages=(*_CONTAINER, "libcurl4t64", "libnuma1", "python3", "python3-venv"),
        suites=("trixie",),
        wheels=("mooncake-transfer-engine-non-cuda==0.3.13.post1",),
        python="3.13",
    ),
}


def checked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in order, each once; UsageError for one that is not known."""
    for name in names:
        if name not in EXTRAS and name not in FOREIGN:
            known = ", ".join(sorted([*EXTRAS, *FOREIGN]))
            raise UsageError(f"--with {name}: use one of {known}")
    return tuple(sorted(set(names)))


def packages(names: tuple[str, ...]) -> tuple[str, ...]:
    """All packages of these sets."""
    return tuple(sorted({package for name in names for package in EXTRAS.get(name, ())}))


def script(names: tuple[str, ...]) -> str:
    """What completes a root that has the packages of these sets."""
    return "".join(SCRIPTS.get(name, "") for name in names)


def in_root(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the sets that change the hosts' root."""
    return tuple(name for name in names if name in EXTRAS)


def foreign(names: tuple[str, ...]) -> tuple[roots.RootSpec, ...]:
    """The foreign roots among these sets."""
    return tuple(FOREIGN[name] for name in names if name in FOREIGN)
