#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the kernel module for one of the lab's kernels, in the build root, into build/KERNEL/.

With --strict the build has W=1 and sparse, and any warning is a failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests"))

from lab import build, chroot, kernels, roots  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.progress import say  # noqa: E402

_BUILD = r"""
set -e
cp -r /src/driver /tmp/driver
make -C "$KDIR" M=/tmp/driver clean >/dev/null
make -C "$KDIR" M=/tmp/driver -j"$(nproc)" $OPTIONS modules
cp /tmp/driver/usb4_rdma.ko /out/
"""


def warnings(output: str) -> list[str]:
    """The lines of a kernel build that complain; BTF needs a vmlinux that Debian does not ship."""
    return [
        line
        for line in output.splitlines()
        if ("warning:" in line.lower() or "error:" in line.lower()) and "BTF" not in line
    ]


def main() -> int:
    """Entry point of `make driver` and of `make lint`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernel", choices=kernels.LABELS)
    parser.add_argument("--strict", action="store_true")
    arguments = parser.parse_args()
    output = TOP / "build" / arguments.kernel
    output.mkdir(parents=True, exist_ok=True)
    say(f"building the module for {build.headers_of(arguments.kernel).removeprefix('/usr/src/')}")
    done = subprocess.run(
        chroot.command(
            roots.ensure(roots.BUILD),
            ["/bin/sh", "-c", _BUILD],
            binds=[chroot.Bind(TOP, "/src"), chroot.Bind(output, "/out", writable=True)],
            env={
                "KDIR": build.headers_of(arguments.kernel),
                "OPTIONS": "W=1 C=1" if arguments.strict else "",
            },
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    complaints = warnings(done.stdout)
    if done.returncode != 0:
        print(done.stdout)
    elif arguments.strict and complaints:
        print("\n".join(complaints))
        return 1
    else:
        say(f"build/{arguments.kernel}/usb4_rdma.ko, {len(complaints)} warnings")
    return done.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"lab: {error}")
