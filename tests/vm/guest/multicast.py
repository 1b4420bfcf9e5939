#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Datagrams to multicast groups, with every byte of header and data looked at.

    multicast.py receive --device DEVICE --gid INDEX --group ADDRESS --datagrams N
    multicast.py send    ...the same...

The receiver has two queue pairs in the group, one of which has a wrong Q_Key, and one that left
the group again. The sender is a member too, and another queue pair of its host. The last line is
JSON: {"received": {"name": count}}; what is wrong raises an error.
"""

from __future__ import annotations

import argparse
import ctypes
import ipaddress
import json
import mmap
import select
import sys
import time

from raw_verbs import (
    POLL_CQ,
    POST_RECV,
    POST_SEND,
    SIGNALED,
    U8,
    UD,
    Cap,
    Library,
    Mr,
    P,
    RecvWr,
    SendWr,
    Sge,
    Wc,
)  # fmt: skip

QKEY = 0x11111111
GRH = 40
ROOM = 4096 + GRH
SIZES = (0, 1, 1000, 3992, 3993, 4096)
MULTICAST_QPN = 0xFFFFFF
WC_GRH = 1
# struct ibv_qp_attr, as far as it is needed: offsets in bytes.
ATTR_SIZE, ATTR_STATE, ATTR_QKEY, ATTR_SQ_PSN = 256, 0, 16, 24
ATTR_PKEY_INDEX, ATTR_PORT = 120, 129
STATE, PKEY_INDEX, PORT, SET_QKEY, SQ_PSN = 1, 16, 32, 64, 65536
INIT, RTR, RTS = 1, 2, 3


class Member:
    """A UD queue pair with receives."""

    def __init__(self, lib: Library, name: str, qkey: int, receives: int) -> None:
        self.lib, self.name = lib, name
        self.pd = lib.pd()
        self.cq = lib.cq(receives + 16)
        self.qp = lib.qp(self.pd, self.cq, Cap(16, receives, 1, 1, 0), UD)
        self.memory = mmap.mmap(-1, (receives + 1) * ROOM)
        self.start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        made = lib.mr(self.pd, self.start, len(self.memory))
        self.lkey = Mr.from_address(made).lkey
        self.receives = receives
        self.kept: list[object] = []
        self.modify(STATE | PKEY_INDEX | PORT | SET_QKEY, INIT, qkey)
        for slot in range(receives):
            self.post_receive(slot)
        self.modify(STATE, RTR)
        self.modify(STATE | SQ_PSN, RTS)

    def modify(self, mask: int, state: int, qkey: int = 0) -> None:
        """Change the state."""
        attr = ctypes.create_string_buffer(ATTR_SIZE)
        ctypes.c_uint32.from_buffer(attr, ATTR_STATE).value = state
        ctypes.c_uint32.from_buffer(attr, ATTR_QKEY).value = qkey
        U8.from_buffer(attr, ATTR_PORT).value = 1
        self.lib.do("ibv_modify_qp", P(self.qp), attr, mask)

    def place(self, slot: int, length: int) -> Sge:
        """Memory of a receive; the last slot is for sending."""
        return Sge(addr=self.start + slot * ROOM, length=length, lkey=self.lkey)

    def post_receive(self, slot: int) -> None:
        """One receive with room for any datagram."""
        sge, bad = self.place(slot, ROOM), P()
        wr = RecvWr(wr_id=slot, sg_list=ctypes.addressof(sge), num_sge=1)
        if self.lib.op(POST_RECV, P(self.qp), ctypes.byref(wr), ctypes.byref(bad)):
            raise OSError("post_recv")

    def send(self, handle: int, data: bytes) -> None:
        """A datagram to the group, and its completion."""
        sge, bad = self.place(self.receives, len(data)), P()
        ctypes.memmove(int(sge.addr), data, len(data))
        wr = SendWr(wr_id=1 << 32, sg_list=ctypes.addressof(sge), num_sge=1, opcode=2,
                    flags=SIGNALED, ah=handle, qpn=MULTICAST_QPN, qkey=QKEY)  # fmt: skip
        if self.lib.op(POST_SEND, P(self.qp), ctypes.byref(wr), ctypes.byref(bad)):
            raise OSError("post_send")
        done = self.next(20)
        if done is None or done.status or done.wr_id != 1 << 32:
            raise AssertionError(f"sending ended with {done and done.status}")

    def next(self, seconds: float) -> Wc | None:
        """The next completion."""
        until = time.monotonic() + seconds
        wc = Wc()
        while time.monotonic() < until:
            if self.lib.op(POLL_CQ, P(self.cq), 1, ctypes.byref(wc)) == 1:
                return wc
            select.select([], [], [], 0.002)
        return None

    def data(self, wc: Wc) -> tuple[bytes, bytes]:
        """Network header and payload of a completed receive."""
        got = ctypes.string_at(self.start + wc.wr_id * ROOM, wc.byte_len)
        return got[:GRH], got[GRH:]


def pattern(number: int) -> bytes:
    """What the datagram with this number holds."""
    size = SIZES[number % len(SIZES)]
    return bytes((number + i) & 0xFF for i in range(size))


def check(member: Member, group: bytes, datagrams: int) -> int:
    """All datagrams arrive once, in order and whole, from the same queue pair."""
    sources = set()
    for number in range(datagrams):
        wc = member.next(60)
        if wc is None:
            return number
        header, payload = member.data(wc)
        mapped = group[:12] == bytes(10) + b"\xff\xff"
        to = bytes(10) + b"\xff\xff" + header[36:40] if mapped else header[24:40]
        if wc.status or not wc.flags & WC_GRH or to != group or payload != pattern(number):
            raise AssertionError(
                f"{member.name}, datagram {number}: status {wc.status}, flags {wc.flags}, to {to!r}"
                f", {len(payload)} bytes"
            )
        sources.add(wc.src_qp)
    if len(sources) > 1 or member.next(0.5) is not None:
        raise AssertionError(f"{member.name}: something else came, from {sources}")
    return datagrams


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=["receive", "send"])
    parser.add_argument("--device", required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--datagrams", type=int, default=12)
    options = parser.parse_args()
    address = ipaddress.ip_address(options.group)
    group = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
    lib = Library(options.device)
    n = options.datagrams
    if options.role == "receive":
        members = [Member(lib, name, QKEY, n + 1) for name in ("first", "second", "left")]
        members.append(Member(lib, "other key", QKEY + 1, n + 1))
        for member in members:
            lib.attach(member.qp, group)
        lib.detach(members[2].qp, group)
        expected = [n, n, 0, 0]
        print("listening", flush=True)
    else:
        members = [Member(lib, name, QKEY, n + 1) for name in ("sender", "neighbour")]
        for member in members:
            lib.attach(member.qp, group)
        handle = lib.ah(members[0].pd, group, options.gid)
        for number in range(n):
            members[0].send(handle, pattern(number))
        expected = [0, n]
    received = {
        member.name: check(member, group, want)
        for member, want in zip(members, expected, strict=True)
    }
    print(json.dumps({"received": received}), flush=True)
    return 0 if list(received.values()) == expected else 1


if __name__ == "__main__":
    sys.exit(main())
