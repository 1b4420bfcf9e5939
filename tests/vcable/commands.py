# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of the control socket: one JSON object in, one out."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from .impair import ImpairmentError, parse
from .topology import End, TopologyError
from .trace import Level
from .world import World, WorldError


class CommandError(Exception):
    """The command is wrong; the text names the field."""


class Commands:
    """Executes commands.  Whatever comes in, an answer with `ok` goes out."""

    def __init__(self, world: World, quit_: Callable[[], None]) -> None:
        self._world = world
        self._quit = quit_
        self._table: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "plug": self._plug,
            "unplug": self._unplug,
            "inject": self._inject,
            "inject_off": self._inject_off,
            "stat": self._stat,
            "reset_stat": self._reset_stat,
            "trace": self._trace,
            "peer": self._peer,
            "status": self._status,
            "quit": self._do_quit,
        }

    def execute_line(self, line: bytes) -> bytes:
        """One line to one line, without the newlines."""
        try:
            answer = self.execute(json.loads(line))
        except (ValueError, RecursionError) as error:
            answer = {"ok": False, "error": f"not JSON: {error}"}
        return json.dumps(answer).encode()

    def execute(self, request: object) -> dict[str, Any]:
        try:
            if not isinstance(request, dict):
                raise CommandError("a command must be a JSON object")
            name = request.get("cmd")
            handler = self._table.get(name) if isinstance(name, str) else None
            if handler is None:
                raise CommandError(f"cmd: must be one of {', '.join(self._table)}, not {name!r}")
            answer = {"ok": True, **handler(request)}
        except (CommandError, WorldError, ImpairmentError) as error:
            answer = {"ok": False, "error": str(error)}
        self._world.batch.run()
        return answer

    @staticmethod
    def _fields(request: dict[str, Any], *known: str) -> None:
        for key in request:
            if key != "cmd" and key not in known:
                text = ", ".join(known) or "none"
                raise CommandError(f"{key}: unknown field, this command knows: {text}")

    def _plug(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request, "cable")
        cable = self._world.plug(request.get("cable"))
        return {"cable": cable.name, "state": str(cable.state)}

    def _unplug(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request, "cable")
        cable = self._world.unplug(request.get("cable"))
        return {"cable": cable.name, "state": str(cable.state)}

    def _inject(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(
            request, "cable", "what", "rate", "nth", "seed", "from", "us", "silent", "reorder"
        )
        cable = self._world.cable(request.get("cable"))
        impairment = parse(
            request.get("what"),
            request.get("rate"),
            request.get("nth"),
            request.get("seed", 0),
            request.get("us"),
            request.get("silent", False),
            request.get("reorder", False),
            self._sender(request.get("from")),
        )
        self._world.inject(cable, impairment)
        return {"cable": cable.name, "what": str(impairment.kind)}

    @staticmethod
    def _sender(value: object) -> str | None:
        if value is None:
            return None
        try:
            return str(End.parse(value))
        except TopologyError as error:
            raise CommandError(f"from: {error}") from error

    def _inject_off(self, request: dict[str, Any]) -> dict[str, Any]:
        """All cables without a name."""
        self._fields(request, "cable")
        if request.get("cable") is None:
            cables = list(self._world.cables.values())
        else:
            cables = [self._world.cable(request["cable"])]
        for cable in cables:
            cable.inject_off()
        return {"cables": [cable.name for cable in cables]}

    def _stat(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request)
        return self._world.stat()

    def _peer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Hands the request to a scripted peer; what `do` may say is the peer's own."""
        peer = self._world.peers.get(str(request.get("host")))
        if peer is None:
            raise CommandError(f"host: there is no scripted peer {request.get('host')!r}")
        try:
            return peer.command(request)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise CommandError(f"peer: {type(error).__name__}: {error}") from error

    def _reset_stat(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request)
        self._world.reset_stat()
        return {}

    def _trace(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request, "level")
        level = request.get("level")
        names = [name.lower() for name in Level.__members__]
        if level not in names:
            raise CommandError(f"level: must be one of {', '.join(names)}, not {level!r}")
        # At least one of the two levels writes the line, so that a reader sees the change.
        self._world.trace.line(f"TRACE {level}")
        self._world.trace.level = Level[level.upper()]
        return {"level": level}

    def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request)
        world = self._world
        return {
            "routers": {
                r.name: {
                    "powered": r.router.powered,
                    "asleep": r.pci.asleep,
                    "managed": r.router.valid,
                    "version": r.router.version,
                    "ports": len(r.router.ports),
                    "rings": r.router.rings,
                }
                for r in world.routers.values()
            },
            "peers": list(world.peers),
            "cables": {
                name: {
                    "plugged": cable.plugged,
                    "state": str(cable.state),
                    "width": cable.width,
                    "speed": cable.gbps,
                }
                for name, cable in world.cables.items()
            },
            "trace": world.trace.level.name.lower(),
        }

    def _do_quit(self, request: dict[str, Any]) -> dict[str, Any]:
        self._fields(request)
        self._quit()
        return {}
