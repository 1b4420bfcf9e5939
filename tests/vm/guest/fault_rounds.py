#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Rounds of traffic of one kind between two hosts, while somebody outside impairs the cable.

Runs in both hosts with the options of integrity.py. Each line of standard input is a round, `KIND
COUNT SEED`, the same for both sides; each round ends with one line of JSON, in which "operations"
counts what was done and checked:

  send, write, read   integrity.py's exchange on two queue pairs: every byte compared
  atomic              COUNT fetch-and-adds by each side: each returns the value before it
  datagram            COUNT datagrams by each side: those that arrive are whole, none twice
  net                 COUNT KiB by TCP through the network interface, digests compared
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import random
import socket
import struct
import sys
import time
from typing import Any

import integrity
from exchange_data import READ, SEND, SEND_IMM, WRITE, WRITE_IMM
from pyverbs import enums as e
from pyverbs.addr import AH, GID, AHAttr, GlobalRoute
from pyverbs.wr import RecvWR, SendWR
from verbs_pair import QKEY, SIZE, Device, End, completions

EXCHANGES = {
    "send": [SEND, SEND_IMM],
    "write": [WRITE, WRITE_IMM],
    "read": [READ],
}
DATAGRAM, GRH, DEPTH = 1500, 40, 16
OUTSTANDING = 4
NET_PORT = 18700
PATIENCE = 60.0


class Arrivals:
    """The datagrams that have come: their numbers, and what was wrong with any."""

    def __init__(self, end: End, noise: bytes) -> None:
        self.end, self.noise = end, noise
        self.seen: set[int] = set()
        self.wrong: list[str] = []
        self.free = list(range(DEPTH))

    def post(self) -> None:
        """A receive for each place that is free."""
        for slot in self.free:
            piece = self.end.piece(GRH + DATAGRAM, 2048 * slot)
            self.end.qp.post_recv(RecvWR(wr_id=slot, num_sge=1, sg=[piece]))
        self.free = []

    def take(self, stop: int) -> None:
        """What has completed by now; no number of `stop` or more has been sent."""
        _, found = self.end.recv_cq.poll(DEPTH)
        for wc in found or []:
            data = self.end.read(GRH + DATAGRAM, 2048 * int(wc.wr_id))
            (number,) = struct.unpack_from("I", data, GRH)
            if wc.status != e.IBV_WC_SUCCESS:
                self.wrong.append(f"status {wc.status}")
            if data[GRH + 4 :] != self.noise[4:] or wc.byte_len != GRH + DATAGRAM:
                self.wrong.append(f"{number} of {wc.byte_len} bytes differs")
            if number >= stop or number in self.seen:
                self.wrong.append(f"{number} came twice, or was not sent: {stop} were")
            self.seen.add(number)
            self.free.append(int(wc.wr_id))


class Round:
    """What all rounds share: the device, the other side."""

    def __init__(self, arguments: argparse.Namespace, cable_address: str) -> None:
        self.arguments = arguments
        self.cable_address = cable_address
        self.dev = Device.open(arguments.device, arguments.gid)
        self.peer = self._meet()
        self.stream = self.peer.makefile("rw")

    def _meet(self) -> socket.socket:
        port = self.arguments.tcp + 1
        if not self.arguments.server:
            listener = socket.create_server(("", port))
            print("listening", flush=True)
            return listener.accept()[0]
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return socket.create_connection((self.arguments.server, port), timeout=PATIENCE)
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise

    def swap(self, ours: Any) -> Any:
        """Send a JSON line, take the other side's."""
        self.stream.write(json.dumps(ours) + "\n")
        self.stream.flush()
        return json.loads(self.stream.readline())

    def connected(self, kind: int) -> tuple[End, dict[str, Any]]:
        """A queue pair that is connected with the other side's, and what that one is."""
        end = End(self.dev, kind, depth=DEPTH, cqes=1024, all_signaled=True)
        gid = self.dev.ctx.query_gid(1, self.dev.gid).gid
        ours = {"qpn": end.qp.qp_num, "gid": gid, "address": end.mr.buf, "key": end.mr.rkey}
        theirs = self.swap(ours)
        route = GlobalRoute(dgid=GID(theirs["gid"]), sgid_index=self.dev.gid)
        theirs["way"] = AHAttr(gr=route, is_global=1, port_num=1)
        changes = {"dest_qp_num": theirs["qpn"], "ah_attr": theirs["way"]}
        end.connect(end, **changes, timeout=self.arguments.qp_timeout)
        self.swap("ready")
        return end, theirs

    def exchange(self, kind: str, count: int, seed: str) -> dict[str, Any]:
        """A round of integrity.py."""
        self.arguments.kinds, self.arguments.count = EXCHANGES[kind], count
        self.arguments.seed = seed
        run = integrity.Run(self.arguments)
        run.connect()
        run.exchange()
        verdict = run.verdict()
        good = verdict["differences"] == 0 and verdict["digests_equal"]
        return {"operations": verdict["messages"], "good": good}

    def atomics(self, count: int) -> dict[str, Any]:
        """Each side adds 1 to the other's word; a value that is wrong ends it."""
        end, theirs = self.connected(e.IBV_QPT_RC)
        posted = done = 0
        good = True
        # The word lies behind the places where answers come back.
        remote = (theirs["address"] + SIZE - 8, theirs["key"])
        end.fill(bytes(8), SIZE - 8)
        self.swap("zero")
        while done < count:
            while posted < count and posted - done < OUTSTANDING:
                wr = SendWR(
                    wr_id=posted,
                    opcode=e.IBV_WR_ATOMIC_FETCH_AND_ADD,
                    num_sge=1,
                    sg=[end.piece(8, 8 * (posted % OUTSTANDING))],
                    send_flags=e.IBV_SEND_SIGNALED,
                )
                wr.set_wr_atomic(remote[1], remote[0], 1, 0)
                end.qp.post_send(wr)
                posted += 1
            (wc,) = completions(end.send_cq, 1, PATIENCE)
            (value,) = struct.unpack("Q", end.read(8, 8 * (done % OUTSTANDING)))
            good = good and wc.status == e.IBV_WC_SUCCESS and wc.wr_id == done == value
            if not good:
                return {"operations": done, "good": False, "error": f"{wc.status} {value}"}
            done += 1
        self.swap("done")
        (total,) = struct.unpack("Q", end.read(8, SIZE - 8))
        return {"operations": done, "good": total == count}

    def datagrams(self, count: int, seed: str) -> dict[str, Any]:
        """Numbered datagrams both ways, in batches; what is lost is not asked for again, what is
        late may come with a later batch."""
        end, theirs = self.connected(e.IBV_QPT_UD)
        handle = AH(self.dev.pd, attr=theirs["way"])
        noise = random.Random(seed).randbytes(DATAGRAM)
        arrivals = Arrivals(end, noise)
        for start in range(0, count, DEPTH // 2):
            batch = range(start, min(count, start + DEPTH // 2))
            arrivals.take(start)
            arrivals.post()
            self.swap(start)
            for number in batch:
                end.fill(struct.pack("I", number) + noise[4:], 32768)
                wr = SendWR(
                    wr_id=number,
                    num_sge=1,
                    sg=[end.piece(DATAGRAM, 32768)],
                    send_flags=e.IBV_SEND_SIGNALED,
                )
                wr.set_wr_ud(handle, theirs["qpn"], QKEY)
                end.qp.post_send(wr)
                completions(end.send_cq, 1, PATIENCE)
            self.swap("sent")
            quiet = time.monotonic() + 0.3
            while time.monotonic() < quiet and not arrivals.seen.issuperset(batch):
                arrivals.take(batch.stop)
        self.swap("done")
        seen, wrong = arrivals.seen, arrivals.wrong
        return {"operations": len(seen), "good": bool(seen) and not wrong, "wrong": wrong}

    def net(self, count: int, seed: str) -> dict[str, Any]:
        """A stream through the network interface, from the client to the server."""
        data = random.Random(seed).randbytes(1 << 16)
        digest = hashlib.sha256()
        if self.arguments.server:
            self.swap("listening?")
            with socket.create_connection((self.cable_address, NET_PORT), timeout=PATIENCE) as out:
                for number in range(count // 64):
                    piece = struct.pack("I", number) + data[4:]
                    out.sendall(piece)
                    digest.update(piece)
            ours = digest.hexdigest()
            return {"operations": count // 64, "good": self.swap(ours) == ours}
        with socket.create_server((self.cable_address, NET_PORT)) as listener:
            self.swap("listening")
            stream = listener.accept()[0]
            stream.settimeout(PATIENCE)
            taken = 0
            while piece := stream.recv(1 << 16):
                digest.update(piece)
                taken += len(piece)
            stream.close()
        ours = digest.hexdigest()
        return {"operations": taken >> 16, "good": self.swap(ours) == ours}

    def play(self, kind: str, count: int, seed: str) -> dict[str, Any]:
        """One round."""
        if kind in EXCHANGES:
            return self.exchange(kind, count, seed)
        if kind == "atomic":
            return self.atomics(count)
        if kind == "datagram":
            return self.datagrams(count, seed)
        return self.net(count, seed)


def main() -> int:
    """Rounds until standard input ends."""
    parser = integrity.parser()
    parser.add_argument("--cable-address", required=True, help="server's, on the interface")
    arguments = parser.parse_args()
    rounds = Round(arguments, arguments.cable_address)
    for line in sys.stdin:
        kind, count, seed = line.split()
        faulthandler.dump_traceback_later(arguments.timeout, exit=True)
        started = time.monotonic()
        try:
            result = rounds.play(kind, int(count), seed)
        except Exception as error:  # whatever it is belongs into the table
            result = {"operations": 0, "good": False, "error": f"{type(error).__name__}: {error}"}
        faulthandler.cancel_dump_traceback_later()
        result |= {"kind": kind, "seconds": round(time.monotonic() - started, 1)}
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
