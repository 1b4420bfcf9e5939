# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile driver/transport for user space, with kernel_shim.h in place of the kernel."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
SHIM = TOP / "tests/unit/driver"
# Regions need the kernel's memory management; the programs have one of their own.
LEFT_OUT = {"mr"}
# Where the headers are included that the shim replaces; errno.h is the same everywhere.
INCLUDERS = ("transport", "link/link.h", "compat.h", "wire.h", "include/uapi/rdma")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LIBFUZZER = ("-fsanitize=fuzzer", *SANITIZERS)
# Headers of the user interface are the kernel's own; all others have a stand-in.
INTERFACE = {"linux/errno.h", "rdma/usb4_rdma.h", "rdma/rdma_user_rxe.h"}


def kernel_headers() -> set[str]:
    """Names of all <linux/...> headers that the transport and its interfaces include."""
    names: set[str] = set()
    for place in INCLUDERS:
        path = TOP / "driver" / place
        for file in sorted(path.rglob("*.[ch]")) if path.is_dir() else [path]:
            names.update(re.findall(r"#include <linux/(\w+)\.h>", file.read_text()))
    return names - {"errno"}


def build(program: Path, binary: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Compile `program` with the transport into `binary`; CalledProcessError if it does not.

    Flags that begin with -D are for the program alone, so that programs share the transport.
    """
    shared = tuple(flag for flag in flags if not flag.startswith("-D"))
    objects = transport(compiler, shared)
    words = [*command(compiler, objects), *flags, "-o", str(binary), str(program)]
    subprocess.run([*words, *(str(path) for path in sorted(objects.glob("*.o")))], check=True)
    return binary


def build_alone(program: Path, binary: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Compile a fuzzer that includes the driver's files itself; as build() otherwise."""
    with tempfile.TemporaryDirectory(prefix="usb4rdma-fuzz-") as folder:
        stand_ins(Path(folder))
        words = [*command(compiler, Path(folder)), *flags, "-o", str(binary), str(program)]
        subprocess.run(words, check=True)
    return binary


def build_verbs(program: Path, binary: Path, *flags: str, compiler: str = "gcc") -> Path:
    """As build_alone(), with the transport, and the user interface's headers of our kernels:
    this machine's may be older than what the driver speaks."""
    from lab import roots

    interface = roots.ensure(roots.BUILD) / "usr/include/rdma"
    objects = transport(compiler, tuple(flag for flag in flags if not flag.startswith("-D")))
    with tempfile.TemporaryDirectory(prefix="usb4rdma-fuzz-") as name:
        folder = Path(name)
        stand_ins(folder)
        for header in ("rdma_user_rxe.h", "ib_user_verbs.h", "ib_user_ioctl_verbs.h"):
            shutil.copy(interface / header, folder / "rdma" / header)
        words = [*command(compiler, folder), *flags, "-o", str(binary)]
        words += [str(path) for path in (program, *sorted(objects.glob("*.o")))]
        subprocess.run(words, check=True)
    return binary


def stand_ins(folder: Path) -> None:
    """An empty header for each of the kernel's that driver/ includes: a shim came before."""
    # What the interface's own headers include, and libc has.
    names = {"linux/socket.h", "linux/in.h", "linux/in6.h"}
    for file in (TOP / "driver").rglob("*.[ch]"):
        names.update(re.findall(r"#include <([\w-]+/[\w/-]+\.h)>", file.read_text()))
    for name in names - INTERFACE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def command(compiler: str, folder: Path) -> list[str]:
    """The compiler's words, with stand-ins of the kernel's headers in `folder`."""
    return [
        *(compiler, "-std=gnu11", "-g", "-Wall", "-Wno-unused-function", "-D__KERNEL__"),
        "-Wno-c2x-extensions",
        *("-DU4_HAVE_HRTIMER_SETUP", "-DU4_HAVE_RING_THROTTLING"),
        *(f"-I{folder}", f"-I{SHIM}", f"-I{TOP}/driver/include/uapi"),
    ]


@functools.cache
def transport(compiler: str, flags: tuple[str, ...]) -> Path:
    """A folder with the transport's object files; it goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="usb4rdma-transport-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "linux").mkdir()
    for name in kernel_headers():
        (folder / "linux" / f"{name}.h").write_text('#include "kernel_shim.h"\n')

    def compile_one(source: Path) -> None:
        words = [*command(compiler, folder), *flags, "-c", str(source)]
        subprocess.run([*words, "-o", str(folder / f"{source.stem}.o")], check=True)

    sources = sorted((TOP / "driver/transport").glob("*.c"))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(compile_one, [one for one in sources if one.stem not in LEFT_OUT]))
    return folder
