#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""All kinds of traffic at once between two hosts, while somebody outside pulls things away.

Runs in both hosts; takes commands from standard input and says what happens, a JSON object a line:

  round GID TIMEOUT SECONDS  new flows: RC queue pairs of this timeout, TCP that gives up after
                             SECONDS; "flowing" once each has done some
  event                      from now on count the time until a flow ends ("ended")
  again FLOW...              "again" once each of these flows has done some more
  stop                       "result": how each flow ended or that it goes on, what it still waits
                             for, asynchronous events
  close                      let go of everything: "closed"

After "stop" the queue pairs stay as they are until "close", so that one side does not end the
other's. The server waits for its client in each round, which may be another one each time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import socket
import sys
import time
from typing import Any

import traffic_kinds
from pyverbs import enums as e
from pyverbs.pyverbs_error import PyverbsError
from traffic_kinds import Flow, Net, QueuePair
from verbs_pair import Device, Events

PORT, NET_PORT = 18800, 18801
PATIENCE = 90.0
SOME = 6
IDLE = 0.002
EVENT = {
    e.IBV_EVENT_DEVICE_FATAL: "device fatal",
    e.IBV_EVENT_QP_FATAL: "QP fatal",
    e.IBV_EVENT_PORT_ERR: "port error",
    e.IBV_EVENT_PORT_ACTIVE: "port active",
    e.IBV_EVENT_GID_CHANGE: "GID change",
}


def say(what: str, **more: Any) -> None:
    """Tell the scenario."""
    print(json.dumps({"say": what, **more}), flush=True)


class Door:
    """Where the two sides meet: the server listens for as long as it lives."""

    def __init__(self, server: str, cable_address: str) -> None:
        self.addresses = {PORT: server, NET_PORT: cable_address}
        self.listeners: dict[int, socket.socket] = {}
        if not server:
            self.listeners = {port: socket.create_server(("", port)) for port in self.addresses}

    def stream(self, port: int) -> socket.socket:
        """A connection with the other side."""
        if self.listeners:
            stream = self.listeners[port].accept()[0]
        else:
            stream = self._connect(port)
        stream.settimeout(PATIENCE)
        return stream

    def _connect(self, port: int) -> socket.socket:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return socket.create_connection((self.addresses[port], port), timeout=PATIENCE)
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise


class Round:
    """The flows of a round."""

    def __init__(self, device: str, door: Door, gid: int, timeout: int, seconds: float) -> None:
        self.dev = Device.open(device, gid)
        self.events = Events(self.dev.ctx)
        self.happened: list[str] = []
        self.pairs = traffic_kinds.queue_pairs(self.dev)
        self.meeting = door.stream(PORT)
        ours = {
            "gid": self.dev.ctx.query_gid(1, gid).gid,
            "flows": [flow.describe() for flow in self.pairs],
        }
        theirs = self.swap(ours)
        for flow, other in zip(self.pairs, theirs["flows"], strict=True):
            flow.connect(other, traffic_kinds.way_to(theirs["gid"], gid), timeout)
        self.flows: list[Flow] = [*self.pairs, Net("net", door.stream(NET_PORT), seconds)]
        self.swap("ready")
        self.event_at = time.monotonic()
        self.told: set[str] = set()
        self.fatal = False

    def swap(self, ours: Any) -> Any:
        """Send a JSON line, take the other side's."""
        self.meeting.sendall(json.dumps(ours).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            piece = self.meeting.recv(1)
            if not piece:
                raise ConnectionResetError("the other side has gone")
            line += piece
        return json.loads(line)

    def step(self) -> bool:
        """One turn of all flows; whether there was anything to do."""
        found = False
        for flow in self.flows:
            moved = flow.step()
            found |= moved
            if self.fatal and isinstance(flow, QueuePair) and not (moved or flow.ended):
                flow.fail("device fatal")
            if flow.ended and flow.name not in self.told and (self.fatal or not flow.left()):
                self.told.add(flow.name)
                after = round(flow.ended_at - self.event_at, 2)
                say("ended", flow=flow.name, end=flow.end, after=after)
        return found

    def take_event(self) -> None:
        """An asynchronous event is there."""
        event = self.dev.ctx.get_async_event()
        self.happened.append(EVENT.get(event.event_type, f"event {event.event_type}"))
        self.fatal |= event.event_type == e.IBV_EVENT_DEVICE_FATAL
        with contextlib.suppress(PyverbsError):
            event.ack()

    def counts(self) -> dict[str, int]:
        """What each flow has done."""
        return {flow.name: flow.operations for flow in self.flows}

    def result(self) -> dict[str, Any]:
        """How each flow is."""
        return {
            flow.name: {
                "operations": flow.operations,
                "end": flow.end,
                "after": round(flow.ended_at - self.event_at, 2) if flow.ended else None,
                "left": flow.left() if flow.ended else 0,
                "wrong": flow.wrong,
            }
            for flow in self.flows
        }

    def close(self) -> None:
        """Destroy all; a device that is gone makes no difference."""
        for flow in self.flows:
            flow.close()
        self.meeting.close()
        self.dev.pd.close()
        self.dev.ctx.close()


class Program:
    """The loop: commands, flows, events."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device = arguments.device
        self.door = Door(arguments.server, arguments.cable_address)
        self.round: Round | None = None
        # What to say once these flows have done so much.
        self.waiting: tuple[str, dict[str, int]] | None = None
        self.stopped = False
        self.input = b""

    def run(self) -> int:
        """Until standard input ends."""
        say("listening")
        busy = False
        while True:
            sources: list[int] = [0]
            if self.round and not self.round.fatal:
                sources.append(self.round.events.fd)
            resting = self.round is None or self.stopped
            pause = None if resting else 0 if busy else IDLE
            ready = select.select(sources, [], [], pause)[0]
            if self.round and self.round.events.fd in ready:
                self.round.take_event()
            if 0 in ready:
                data = os.read(0, 4096)
                if not data:
                    return 0
                self.input += data
                while b"\n" in self.input:
                    line, self.input = self.input.split(b"\n", 1)
                    self.obey(line.decode().split())
            if self.round and not self.stopped:
                busy = self.round.step()
                self.look()

    def look(self) -> None:
        """Whether what somebody waits for has come."""
        assert self.round
        if not self.waiting:
            return
        what, wanted = self.waiting
        now = self.round.counts()
        if all(now[name] >= count for name, count in wanted.items()):
            self.waiting = None
            say(what)

    def obey(self, words: list[str]) -> None:
        """One command."""
        if words[0] == "round":
            gid, timeout, seconds = words[1:]
            self.round = Round(self.device, self.door, int(gid), int(timeout), float(seconds))
            self.stopped = False
            self.waiting = ("flowing", dict.fromkeys(self.round.counts(), SOME))
            return
        assert self.round, "no round"
        if words[0] == "event":
            self.round.event_at = time.monotonic()
            say("noted")
        elif words[0] == "again":
            now = self.round.counts()
            self.waiting = ("again", {name: now[name] + SOME for name in words[1:]})
        elif words[0] == "stop":
            self.stopped = True
            say("result", flows=self.round.result(), events=self.round.happened)
        elif words[0] == "close":
            self.round.close()
            self.round = None
            gc.collect()
            say("closed")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", default="", help="address of the side that listens")
    parser.add_argument("--device", default="usb4rdma0")
    parser.add_argument("--cable-address", required=True, help="server's, on the interface")
    return Program(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
