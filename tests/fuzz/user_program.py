# SPDX-License-Identifier: GPL-2.0-or-later
"""The fuzzer of the kernel's RDMA user interface (user/), as a program that runs in any guest."""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "user"


def build(binary: Path) -> Path:
    """Compile it into `binary`: static, since guests have another C library than we do."""
    words = ["gcc", "-std=gnu11", "-O1", "-g", "-static", "-pthread", "-Wall", "-Wextra", "-Werror"]
    # The kernel's structures on the wire are packed; x86 reads them anyhow.
    words += ["-Wno-address-of-packed-member", "-o", str(binary)]
    subprocess.run([*words, *(str(path) for path in sorted(SOURCES.glob("*.c")))], check=True)
    return binary
