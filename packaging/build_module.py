#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the kernel module for one of the lab's kernels, in the build root, into build/KERNEL/.

With --strict the build has W=1 and sparse, and any warning is a failure; so is a file that sparse
did not look at.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab import build, chroot, kernels, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say  # noqa: E402

MODULE = "usb4_rdma.ko"
STRICT = "W=1"
# Debian's headers lack the script by which the kernel's makefiles ask whether sparse is new enough,
# and then do without it; Debian's sparse does not know __typeof_unqual__ yet.
SPARSE = "C=1 KBUILD_CHECKSRC=1 CF=-D__typeof_unqual__=__typeof__"
# What such a sparse says of each MODULE_LICENSE() and the like.
_TOO_NEW = "error: bad constant expression"

# $EDIT is a sed script for wire.h: tests build a module of another protocol version by it.
_BUILD = r"""
set -e
cp -r /src/driver /tmp/driver
sed -i "$EDIT" /tmp/driver/wire.h
make -C "$KDIR" M=/tmp/driver clean >/dev/null
make -C "$KDIR" M=/tmp/driver -j"$(nproc)" $OPTIONS modules
cp /tmp/driver/usb4_rdma.ko /out/
"""


@dataclass(frozen=True)
class Build:
    """How a build went: exit code, all output, the lines that complain."""

    code: int
    output: str
    warnings: tuple[str, ...]


def warnings(output: str) -> tuple[str, ...]:
    """The lines of a kernel build that complain; BTF needs a vmlinux that Debian does not ship."""
    return tuple(
        line
        for line in output.splitlines()
        if ("warning:" in line.lower() or "error:" in line.lower())
        and "BTF" not in line
        and not line.endswith(_TOO_NEW)
    )


def build_module(kernel: str, output: Path, *, options: str = "", edit: str = "") -> Build:
    """Build for `kernel` into `output`/usb4_rdma.ko."""
    output.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        chroot.command(
            roots.ensure(roots.BUILD),
            ["/bin/sh", "-c", _BUILD],
            binds=[chroot.Bind(TOP, "/src"), chroot.Bind(output.resolve(), "/out", writable=True)],
            env={"KDIR": build.headers_of(kernel), "OPTIONS": options, "EDIT": edit},
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Build(done.returncode, done.stdout, warnings(done.stdout))


def main() -> int:
    """Entry point of `make driver` and of `make lint`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", choices=kernels.LABELS)
    parser.add_argument("--strict", action="store_true")
    arguments = parser.parse_args()
    say(f"building the module for {build.headers_of(arguments.kernel).removeprefix('/usr/src/')}")
    done = build_module(
        arguments.kernel,
        TOP / "build" / arguments.kernel,
        options=f"{STRICT} {SPARSE}" if arguments.strict else "",
    )
    if done.code != 0:
        print(done.output)
        return done.code
    if done.warnings:
        print("\n".join(done.warnings))
    say(f"build/{arguments.kernel}/{MODULE}, {len(done.warnings)} warnings")
    looked, files = done.output.count("  CHECK "), len(list((TOP / "driver").rglob("*.c")))
    if arguments.strict and looked < files:
        say(f"sparse has looked at {looked} of {files} files")
        return 1
    return 1 if arguments.strict and done.warnings else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
