#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A request of the device waits for a page that its file system does not serve.

The memory is that of a file in a FUSE mount of ours, registered for paging on demand, and the
source of a WRITE. Prints "stuck" once the kernel has asked for the page; on a line of standard
input the page is served, and "served" is the last word. Protocol: include/uapi/linux/fuse.h.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import mmap
import os
import select
import stat
import struct
import sys
from pathlib import Path

import paging
from pyverbs import enums as e

MOUNT = Path("/run/stuck-page")
FILE_NODE = 2
IN, OUT = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ")
LOOKUP, FORGET, GETATTR, OPEN, READ, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 26, 36, 42
UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)
DEADLINE_MS = 120_000
MS_NOSUID, MS_NODEV = 2, 4


def attributes(node: int) -> bytes:
    """A struct fuse_attr: the root folder, or the one file in it."""
    mode = stat.S_IFREG | 0o600 if node == FILE_NODE else stat.S_IFDIR | 0o700
    times = bytes(3 * 8 + 3 * 4)
    return struct.pack("<QQQ", node, paging.SIZE, 0) + times + struct.pack(
        "<IIIIIII", mode, 1, 0, 0, 0, paging.PAGE, 0
    )  # fmt: skip


def served(opcode: int, node: int, data: bytes) -> bytes | int:
    """The body of the answer, or an errno."""
    if opcode == INIT:
        major, minor, readahead = struct.unpack_from("<III", data)
        if major != 7:
            return errno.EPROTO
        return struct.pack("<IIIIHHII", 7, min(minor, 36), readahead, 0, 16, 12, 4096, 1).ljust(
            64, b"\0"
        )
    if opcode == LOOKUP:
        return struct.pack("<QQQQII", FILE_NODE, 0, 1, 1, 0, 0) + attributes(FILE_NODE)
    if opcode == GETATTR:
        return struct.pack("<QII", 1, 0, 0) + attributes(node)
    if opcode == OPEN:
        return bytes(16)
    if opcode == READ:
        return bytes(struct.unpack_from("<QQI", data)[2])
    return errno.ENOSYS


def serve(device: int, asked: int, go: int) -> None:
    """The file system; before it serves the first page it says so and waits."""
    waited = False
    while True:
        try:
            request = os.read(device, 1 << 20)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):
                continue
            return
        _, opcode, unique, node, *_ = IN.unpack_from(request)
        if opcode in UNANSWERED:
            continue
        if opcode == READ and not waited:
            waited = True
            os.write(asked, b"r")
            os.read(go, 1)
        answer = served(opcode, node, request[IN.size :])
        error, body = (-answer, b"") if isinstance(answer, int) else (0, answer)
        os.write(device, OUT.pack(OUT.size + len(body), error, unique) + body)


def mounted() -> tuple[int, int]:
    """The mount, served by a child: where it says that it waits, and where it is told to go on."""
    device = os.open("/dev/fuse", os.O_RDWR)
    MOUNT.mkdir(exist_ok=True)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if paging.libc.mount(b"stuck", str(MOUNT).encode(), b"fuse", MS_NOSUID | MS_NODEV, data):
        raise OSError(ctypes.get_errno(), "mount")
    asked, go = os.pipe(), os.pipe()
    if os.fork() == 0:
        os.close(go[1])
        serve(device, asked[1], go[0])
        os._exit(0)
    os.close(device)
    return asked[0], go[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", required=True)
    parser.add_argument("--gid", type=int, required=True)
    options = parser.parse_args()
    options.seed = 1
    asked, go = mounted()
    bench = paging.Bench(options)
    file = os.open(MOUNT / "memory", os.O_RDWR)
    flags = mmap.MAP_PRIVATE | paging.MAP_FIXED
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    if paging.libc.mmap(bench.paged, paging.SIZE, protection, flags, file, 0) != bench.paged:
        raise OSError(ctypes.get_errno(), "mmap")
    bench.post(e.IBV_WR_RDMA_WRITE, bench.at_paged(), bench.at_plain(), paging.PAGE)
    if not select.select([asked], [], [], DEADLINE_MS / 1000)[0]:
        raise SystemExit("the kernel has not asked for the page")
    print("stuck", flush=True)
    sys.stdin.readline()
    os.write(go, b"g")
    print("served", flush=True)
    # The region is this process's memory; the mount goes with its server.
    os._exit(0)


if __name__ == "__main__":
    main()
