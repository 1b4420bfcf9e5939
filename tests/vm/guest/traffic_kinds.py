# SPDX-License-Identifier: GPL-2.0-or-later
"""Each kind of traffic as a flow between two hosts: it goes on until it is told to stop or fails.

Every message names its number and is compared whole. A flow notes how it ended and what it still
waits for; nothing here blocks.
"""

from __future__ import annotations

import errno
import random
import socket
import struct
import time
from collections import Counter
from typing import Any

from pyverbs import enums as e
from pyverbs.addr import AH, GID, AHAttr, GlobalRoute
from pyverbs.pyverbs_error import PyverbsRDMAError
from pyverbs.wr import RecvWR, SendWR
from verbs_pair import QKEY, Device, End, status_name

GOES_ON = "goes on"
FLUSHED = "flushed"
MESSAGE = 12000
PLACE = 12288
WINDOW = 4
# Where things lie in the region: what is sent, what is received, answers, the peer's word.
SENT, TAKEN, ANSWERS, WORD = 0, WINDOW * PLACE, 2 * WINDOW * PLACE, 2 * WINDOW * PLACE + 4096
REGION = WORD + 4096
DATAGRAM, GRH, DATAGRAM_PLACE, DATAGRAMS = 1500, 40, 2048, 16
BLOCK = 8192
NOISE = random.Random("usb4rdma").randbytes(MESSAGE + 256)


def content(number: int, size: int) -> bytes:
    """The message with this number."""
    start = number % 251
    return struct.pack("<Q", number) + NOISE[start : start + size - 8]


class Flow:
    """What all kinds share: what was done, what was wrong, how and when it ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations = 0
        self.wrong: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.ended_at = 0.0

    @property
    def ended(self) -> bool:
        """Whether it has failed."""
        return bool(self.ended_at)

    @property
    def end(self) -> str:
        """How: what failed first, before all that was flushed behind it."""
        first = [status for status in self.statuses if status != FLUSHED]
        return first[0] if first else FLUSHED if self.ended else GOES_ON

    def fail(self, status: str) -> None:
        """It has failed; noted for each completion."""
        self.statuses[status] += 1
        if not self.ended:
            self.ended_at = time.monotonic()

    def check(self, good: bool, what: str) -> None:
        """Count an operation, or note what was wrong with it."""
        if good:
            self.operations += 1
        elif len(self.wrong) < 5:
            self.wrong.append(what)

    def left(self) -> int:
        """Requests that have not completed."""
        return 0

    def step(self) -> bool:
        """Do what can be done now; whether there was anything."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything."""


class QueuePair(Flow):
    """A flow on a queue pair of its own."""

    receives = 0

    def __init__(self, name: str, dev: Device, kind: int = e.IBV_QPT_RC) -> None:
        super().__init__(name)
        self.end_point = End(
            dev, kind, depth=DATAGRAMS, sges=1, inline=0, cqes=128, size=REGION, all_signaled=True
        )
        self.sending = self.receiving = self.posted = self.done = self.taken = 0

    def describe(self) -> dict[str, int]:
        """What the other side must know."""
        point = self.end_point
        return {"qpn": point.qp.qp_num, "address": point.mr.buf, "key": point.mr.rkey}

    def connect(self, theirs: dict[str, int], way: AHAttr, timeout: int) -> None:
        """Up to RTS, with all receives posted."""
        self.theirs = theirs
        changes = {"dest_qp_num": theirs["qpn"], "ah_attr": way, "timeout": timeout}
        self.end_point.connect(self.end_point, **changes, min_rnr_timer=12)
        for number in range(self.receives):
            self.receive(number)

    def receive(self, number: int) -> None:
        """Post the receive for the message with this number."""
        piece = self.end_point.piece(MESSAGE, TAKEN + PLACE * (number % WINDOW))
        self.end_point.qp.post_recv(RecvWR(wr_id=number, num_sge=1, sg=[piece]))
        self.receiving += 1

    def request(self, opcode: int, size: int, offset: int) -> SendWR:
        """The next send request."""
        return SendWR(
            wr_id=self.posted,
            opcode=opcode,
            num_sge=1,
            sg=[self.end_point.piece(size, offset)],
            send_flags=e.IBV_SEND_SIGNALED,
        )

    def give(self, request: SendWR) -> None:
        """Post it."""
        self.end_point.qp.post_send(request)
        self.posted += 1
        self.sending += 1

    def left(self) -> int:
        return self.sending + self.receiving

    def step(self) -> bool:
        try:
            found = self._poll(self.end_point.send_cq, True)
            found |= self._poll(self.end_point.recv_cq, False)
            if not self.ended:
                while self.sending < WINDOW:
                    self.post()
        except PyverbsRDMAError as error:
            # A doorbell of a device that is gone.
            self.fail(f"refused: {errno.errorcode.get(error.error_code, error)}")
            found = True
        return found

    def _poll(self, cq: Any, sends: bool) -> bool:
        count, completions = cq.poll(16)
        for wc in completions if count else []:
            if sends:
                self.sending -= 1
            else:
                self.receiving -= 1
            if wc.status != e.IBV_WC_SUCCESS:
                self.fail(status_name(wc.status))
            elif sends:
                self.sent(wc)
            else:
                self.took(wc)
        return bool(count)

    def post(self) -> None:
        """Post the next request."""
        raise NotImplementedError

    def sent(self, wc: Any) -> None:
        """A request of ours is done."""
        self.check(wc.wr_id == self.done, f"request {wc.wr_id} done in place of {self.done}")
        self.done += 1

    def took(self, wc: Any) -> None:
        """A message of the peer is there: in order, whole."""
        number = self.taken
        data = self.end_point.read(MESSAGE, TAKEN + PLACE * (number % WINDOW))
        good = wc.wr_id == number and data == content(number, MESSAGE)
        self.check(good, f"message {number}: differs, or came as {wc.wr_id}")
        self.taken += 1
        self.receive(number + WINDOW)

    def close(self) -> None:
        point = self.end_point
        for thing in (point.qp, point.send_cq, point.recv_cq, point.mr):
            thing.close()


class Sends(QueuePair):
    """Messages into receives."""

    receives = WINDOW

    def post(self) -> None:
        place = SENT + PLACE * (self.posted % WINDOW)
        self.end_point.fill(content(self.posted, MESSAGE), place)
        self.give(self.request(e.IBV_WR_SEND, MESSAGE, place))


class Writes(QueuePair):
    """Into the peer's memory, with an immediate word that tells it so."""

    receives = WINDOW

    def post(self) -> None:
        offset = PLACE * (self.posted % WINDOW)
        self.end_point.fill(content(self.posted, MESSAGE), SENT + offset)
        request = self.request(e.IBV_WR_RDMA_WRITE_WITH_IMM, MESSAGE, SENT + offset)
        request.set_wr_rdma(self.theirs["key"], self.theirs["address"] + TAKEN + offset)
        self.give(request)


class Reads(QueuePair):
    """Out of the peer's memory."""

    def connect(self, theirs: dict[str, int], way: AHAttr, timeout: int) -> None:
        for number in range(WINDOW):
            self.end_point.fill(content(number, MESSAGE), SENT + PLACE * number)
        super().connect(theirs, way, timeout)

    def post(self) -> None:
        offset = PLACE * (self.posted % WINDOW)
        self.end_point.fill(bytes(MESSAGE), TAKEN + offset)
        request = self.request(e.IBV_WR_RDMA_READ, MESSAGE, TAKEN + offset)
        request.set_wr_rdma(self.theirs["key"], self.theirs["address"] + SENT + offset)
        self.give(request)

    def sent(self, wc: Any) -> None:
        number = self.done % WINDOW
        data = self.end_point.read(MESSAGE, TAKEN + PLACE * number)
        self.check(data == content(number, MESSAGE), f"READ {self.done} differs")
        self.done += 1


class Atomics(QueuePair):
    """One more each time: an add that is lost or done twice shows in the next answer."""

    def post(self) -> None:
        place = ANSWERS + 8 * (self.posted % WINDOW)
        request = self.request(e.IBV_WR_ATOMIC_FETCH_AND_ADD, 8, place)
        request.set_wr_atomic(self.theirs["key"], self.theirs["address"] + WORD, 1, 0)
        self.give(request)

    def sent(self, wc: Any) -> None:
        (value,) = struct.unpack("Q", self.end_point.read(8, ANSWERS + 8 * (self.done % WINDOW)))
        self.check(value == self.done, f"the word was {value} in place of {self.done}")
        self.done += 1


class Datagrams(QueuePair):
    """Those that arrive are whole, and none comes twice."""

    receives = DATAGRAMS

    def __init__(self, name: str, dev: Device) -> None:
        super().__init__(name, dev, e.IBV_QPT_UD)
        self.dev = dev
        self.seen = -1

    def connect(self, theirs: dict[str, int], way: AHAttr, timeout: int) -> None:
        super().connect(theirs, way, timeout)
        self.handle = AH(self.dev.pd, attr=way)

    def receive(self, number: int) -> None:
        offset = DATAGRAM_PLACE * (number % DATAGRAMS)
        piece = self.end_point.piece(GRH + DATAGRAM, TAKEN + offset)
        self.end_point.qp.post_recv(RecvWR(wr_id=number, num_sge=1, sg=[piece]))
        self.receiving += 1

    def post(self) -> None:
        place = SENT + DATAGRAM_PLACE * (self.posted % WINDOW)
        self.end_point.fill(content(self.posted, DATAGRAM), place)
        request = self.request(e.IBV_WR_SEND, DATAGRAM, place)
        request.set_wr_ud(self.handle, self.theirs["qpn"], QKEY)
        self.give(request)

    def sent(self, wc: Any) -> None:
        self.done += 1

    def took(self, wc: Any) -> None:
        place = TAKEN + DATAGRAM_PLACE * (wc.wr_id % DATAGRAMS)
        data = self.end_point.read(GRH + DATAGRAM, place)[GRH:]
        (number,) = struct.unpack_from("<Q", data)
        good = number > self.seen and data == content(number, DATAGRAM)
        self.check(good, f"datagram {number} after {self.seen}: differs, or is late")
        self.seen = number
        self.receive(wc.wr_id + DATAGRAMS)

    def close(self) -> None:
        self.handle.close()
        super().close()


class Net(Flow):
    """Numbered blocks by TCP through the network interface, both ways."""

    def __init__(self, name: str, stream: socket.socket, seconds: float) -> None:
        super().__init__(name)
        self.stream = stream
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * BLOCK)
        self.going, self.coming = b"", b""
        self.posted = self.taken = 0

    def step(self) -> bool:
        if self.ended:
            return False
        try:
            return self._send() | self._receive()
        except OSError as error:
            self.fail(errno.errorcode.get(error.errno or 0, str(error)))
            return True

    def _send(self) -> bool:
        if not self.going:
            self.going = content(self.posted, BLOCK)
            self.posted += 1
        try:
            self.going = self.going[self.stream.send(self.going) :]
        except BlockingIOError:
            return False
        return True

    def _receive(self) -> bool:
        try:
            data = self.stream.recv(4 * BLOCK)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "the peer has closed it")
        self.coming += data
        while len(self.coming) >= BLOCK:
            good = self.coming[:BLOCK] == content(self.taken, BLOCK)
            self.check(good, f"block {self.taken} differs")
            self.coming = self.coming[BLOCK:]
            self.taken += 1
        return True

    def close(self) -> None:
        self.stream.close()


def queue_pairs(dev: Device) -> list[QueuePair]:
    """One flow of each kind."""
    return [
        Sends("SEND", dev),
        Writes("WRITE", dev),
        Reads("READ", dev),
        Atomics("atomic", dev),
        Datagrams("datagram", dev),
    ]


def way_to(gid: str, index: int) -> AHAttr:
    """The way to the host with this GID."""
    return AHAttr(gr=GlobalRoute(dgid=GID(gid), sgid_index=index), is_global=1, port_num=1)
