# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile driver/transport for user space, with kernel_shim.h in place of the kernel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SHIM = TOP / "tests/unit/driver"
# Regions need the kernel's memory management; the programs have one of their own.
LEFT_OUT = {"mr"}
# Where the headers are included that the shim replaces; errno.h is the same everywhere.
INCLUDERS = ("transport", "link/link.h", "compat.h", "wire.h", "include/uapi/rdma")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def kernel_headers() -> set[str]:
    """Names of all <linux/...> headers that the transport and its interfaces include."""
    names: set[str] = set()
    for place in INCLUDERS:
        path = TOP / "driver" / place
        for file in sorted(path.rglob("*.[ch]")) if path.is_dir() else [path]:
            names.update(re.findall(r"#include <linux/(\w+)\.h>", file.read_text()))
    return names - {"errno"}


def build(program: Path, binary: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Compile `program` with the transport into `binary`; CalledProcessError if it does not."""
    headers = binary.parent / f"{binary.name}.include"
    (headers / "linux").mkdir(parents=True, exist_ok=True)
    for name in kernel_headers():
        (headers / "linux" / f"{name}.h").write_text('#include "kernel_shim.h"\n')
    sources = sorted((TOP / "driver/transport").glob("*.c"))
    subprocess.run(
        [
            *(compiler, "-std=gnu11", "-g", "-Wall", "-Wno-unused-function", "-D__KERNEL__"),
            *("-DU4_HAVE_HRTIMER_SETUP", "-DU4_HAVE_RING_THROTTLING"),
            *(f"-I{headers}", f"-I{SHIM}", f"-I{TOP}/driver/include/uapi"),
            *flags,
            *("-o", str(binary), str(program)),
            *(str(source) for source in sources if source.stem not in LEFT_OUT),
        ],
        check=True,
    )
    return binary
