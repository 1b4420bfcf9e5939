# SPDX-License-Identifier: GPL-2.0-or-later
"""libibverbs without anything in between: for many objects, and for what pyverbs lacks.

Layouts are those of infiniband/verbs.h, which are an ABI. Functions that fail raise OSError with
the number that the library gave.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Callable
from typing import Any

P, U8, U16, U32, U64 = (
    ctypes.c_void_p, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64,
)  # fmt: skip
RC, UC, UD, RAW_PACKET, XRC_SEND = 2, 3, 4, 8, 9
LOCAL_WRITE = 1
SIGNALED = 2
# Places in struct ibv_context_ops.
POLL_CQ, POST_SEND, POST_RECV = 11, 25, 26


class Cap(ctypes.Structure):
    _fields_ = (
        ("send_wr", U32),
        ("recv_wr", U32),
        ("send_sge", U32),
        ("recv_sge", U32),
        ("inline", U32),
    )


class QpInit(ctypes.Structure):
    _fields_ = (
        ("context", P),
        ("send_cq", P),
        ("recv_cq", P),
        ("srq", P),
        ("cap", Cap),
        ("kind", U32),
        ("all_signaled", U32),
    )


class SrqInit(ctypes.Structure):
    _fields_ = (("context", P), ("wr", U32), ("sge", U32), ("limit", U32))


class AhAttr(ctypes.Structure):
    _fields_ = (
        ("dgid", U8 * 16),
        ("flow_label", U32),
        ("sgid_index", U8),
        ("hop_limit", U8),
        ("traffic_class", U8),
        ("dlid", U16),
        ("sl", U8),
        ("src_path_bits", U8),
        ("static_rate", U8),
        ("is_global", U8),
        ("port_num", U8),
    )


class Mr(ctypes.Structure):
    _fields_ = (
        ("context", P),
        ("pd", P),
        ("addr", P),
        ("length", U64),
        ("handle", U32),
        ("lkey", U32),
        ("rkey", U32),
    )


class Sge(ctypes.Structure):
    _fields_ = (("addr", U64), ("length", U32), ("lkey", U32))


class RecvWr(ctypes.Structure):
    _fields_ = (("wr_id", U64), ("next", P), ("sg_list", P), ("num_sge", U32))


class SendWr(ctypes.Structure):
    _fields_ = (
        ("wr_id", U64),
        ("next", P),
        ("sg_list", P),
        ("num_sge", U32),
        ("opcode", U32),
        ("flags", U32),
        ("imm", U32),
        ("ah", P),  # of the datagram's part of a union
        ("qpn", U32),
        ("qkey", U32),
        ("rest", U8 * 64),
    )


class Wc(ctypes.Structure):
    _fields_ = (
        ("wr_id", U64),
        ("status", U32),
        ("opcode", U32),
        ("vendor_err", U32),
        ("byte_len", U32),
        ("imm", U32),
        ("qp_num", U32),
        ("src_qp", U32),
        ("flags", U32),
        ("pkey_index", U16),
        ("slid", U16),
        ("sl", U8),
        ("dlid_path_bits", U8),
    )


class Library:
    """libibverbs and one open device."""

    def __init__(self, device: str) -> None:
        self.lib = ctypes.CDLL(ctypes.util.find_library("ibverbs"), use_errno=True)
        count = ctypes.c_int()
        listed = self.pointer("ibv_get_device_list")(ctypes.byref(count))
        name = self.function("ibv_get_device_name", ctypes.c_char_p)
        devices = [P.from_address(listed + 8 * i).value for i in range(count.value)]
        found = next(one for one in devices if name(P(one)) == device.encode())
        self.device = found
        self.ctx = self.make("ibv_open_device", P(found))
        self.ops = [P.from_address(self.ctx + 8 * (1 + i)).value for i in range(32)]

    def function(self, name: str, result: Any) -> Callable[..., Any]:
        """A function of the library."""
        function = getattr(self.lib, name)
        function.restype = result
        return function  # type: ignore[no-any-return]

    def pointer(self, name: str) -> Callable[..., Any]:
        """One that returns a pointer."""
        return self.function(name, P)

    def make(self, name: str, *args: Any) -> int:
        """Call a function that makes something; OSError when it does not."""
        made = self.pointer(name)(*args)
        if not made:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
        return int(made)

    def do(self, name: str, *args: Any) -> None:
        """Call a function that returns an error number."""
        number = abs(self.function(name, ctypes.c_int)(*args))
        if number:
            raise OSError(number, f"{name}: {os.strerror(number)}")

    def op(self, index: int, *args: Any) -> int:
        """Call one of the context's own operations."""
        kinds = [P] + [ctypes.c_int if isinstance(arg, int) else P for arg in args[1:]]
        return int(ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(self.ops[index])(*args))

    def open_again(self) -> int:
        """Another context of the same device."""
        return self.make("ibv_open_device", P(self.device))

    def pd(self) -> int:
        """A protection domain."""
        return self.make("ibv_alloc_pd", P(self.ctx))

    def cq(self, cqe: int) -> int:
        """A completion queue."""
        return self.make("ibv_create_cq", P(self.ctx), cqe, None, None, 0)

    def qp(self, pd: int, cq: int, cap: Cap, kind: int = RC) -> int:
        """A queue pair; `cap` then says what it got."""
        init = QpInit(send_cq=cq, recv_cq=cq, cap=cap, kind=kind)
        made = self.make("ibv_create_qp", P(pd), ctypes.byref(init))
        ctypes.memmove(ctypes.byref(cap), ctypes.byref(init.cap), ctypes.sizeof(cap))
        return made

    def srq(self, pd: int, wr: int, sge: int) -> int:
        """A shared receive queue."""
        init = SrqInit(wr=wr, sge=sge)
        return self.make("ibv_create_srq", P(pd), ctypes.byref(init))

    def mr(self, pd: int, addr: int, length: int, access: int = LOCAL_WRITE) -> int:
        """A memory region, as an address of struct ibv_mr."""
        return self.make("ibv_reg_mr", P(pd), P(addr), ctypes.c_size_t(length), access)

    def ah(self, pd: int, dgid: bytes, sgid_index: int) -> int:
        """An address handle."""
        attr = AhAttr(sgid_index=sgid_index, hop_limit=64, is_global=1, port_num=1)
        attr.dgid[:] = dgid
        return self.make("ibv_create_ah", P(pd), ctypes.byref(attr))

    def gid(self, index: int) -> bytes:
        """A GID of the port."""
        found = (U8 * 16)()
        self.do("ibv_query_gid", P(self.ctx), U8(1), index, ctypes.byref(found))
        return bytes(found)

    def attach(self, qp: int, gid: bytes) -> None:
        """Into a multicast group."""
        self.do("ibv_attach_mcast", P(qp), (U8 * 16)(*gid), U16(0))

    def detach(self, qp: int, gid: bytes) -> None:
        """Out of it."""
        self.do("ibv_detach_mcast", P(qp), (U8 * 16)(*gid), U16(0))
