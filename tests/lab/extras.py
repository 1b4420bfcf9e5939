# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets of Debian packages that a lab's hosts can have beside the usual ones (`lab up --with SET`).

A set keeps programs that few tests want, some of them large, out of everyone's image.
"""

from __future__ import annotations

from .errors import UsageError

EXTRAS: dict[str, tuple[str, ...]] = {
    # Measuring programs and libraries' own tests.
    "clients": ("qperf", "libfabric-bin"),
    # Storage over RDMA, both ends.
    "storage": ("nvme-cli", "nfs-kernel-server", "nfs-common", "open-iscsi", "fio"),
    # Message passing.
    "mpi": ("openmpi-bin", "python3-mpi4py", "python3-numpy", "ucx-utils", "openssh-server"),
}


def checked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names in order, each once; UsageError for one that is not known."""
    for name in names:
        if name not in EXTRAS:
            raise UsageError(f"--with {name}: use one of {', '.join(sorted(EXTRAS))}")
    return tuple(sorted(set(names)))


def packages(names: tuple[str, ...]) -> tuple[str, ...]:
    """All packages of these sets."""
    return tuple(sorted({package for name in names for package in EXTRAS[name]}))
