# SPDX-License-Identifier: GPL-2.0-or-later
"""transfer_engine.py OWN-ADDRESS SIZE [SESSION REMOTE]: Mooncake's transfer engine over RDMA.

Without SESSION it waits with an empty buffer, tells its session and the buffer's address, and,
when it is sent a line, what is in the buffer. With it, it writes the pattern there and says
how that went. Runs with a stock Python and the wheel of PyPI, in a container.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import sys
from pathlib import Path

from mooncake.engine import TransferEngine

PATTERN = hashlib.shake_128(b"usb4rdma").digest(1 << 20)


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main(own: str, size: int, session: str = "", remote: str = "") -> None:
    engine = TransferEngine()
    ready = engine.initialize(own, "P2PHANDSHAKE", "rdma", "usb4rdma0")
    buffer = (ctypes.c_char * size)()
    address = ctypes.addressof(buffer)
    registered = engine.register_memory(address, size)
    if ready or registered:
        raise SystemExit(f"initialize {ready}, register_memory {registered}")
    maps = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()
    verbs = sorted({line.split()[-1] for line in maps if "libibverbs.so" in line})
    if not session:
        tell(session=f"{own}:{engine.get_rpc_port()}", address=address, verbs=verbs)
        sys.stdin.readline()
        tell(sha256=hashlib.sha256(buffer.raw).hexdigest())
    else:
        pattern = (PATTERN * (size // len(PATTERN) + 1))[:size]
        ctypes.memmove(address, pattern, size)
        result = engine.transfer_sync_write(session, address, int(remote), size)
        tell(result=result, sha256=hashlib.sha256(pattern).hexdigest(), verbs=verbs)


main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
