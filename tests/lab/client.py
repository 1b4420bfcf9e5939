# SPDX-License-Identifier: GPL-2.0-or-later
"""One request to a lab's supervisor over its Unix socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import errors
from .state import SOCKET

Event = dict[str, Any]


class Request:
    """A connection with one request on it. Close it, or use it in a `with`."""

    def __init__(self, run_dir: Path, operation: str, **fields: Any) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(run_dir / SOCKET))
        except OSError as error:
            self._socket.close()
            raise errors.NoSuchLab(
                f"lab {run_dir.name!r} is not running", "`lab up` starts one, `lab list` shows all"
            ) from error
        self._lines = self._socket.makefile("rb")
        self.send({"op": operation, **fields})

    def send(self, message: Event) -> None:
        """A further line to the supervisor: input or a signal for a running command."""
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def fileno(self) -> int:
        """For select()."""
        return self._socket.fileno()

    def events(self) -> Iterator[Event]:
        """The answers; raises the error that an answer reports."""
        for line in self._lines:
            event: Event = json.loads(line)
            if event["event"] == "error":
                kind = getattr(errors, str(event["kind"]), errors.LabError)
                raise kind(event["message"], event["hint"])
            if event["event"] == "gone":
                raise errors.GuestGone(str(event["why"]))
            yield event
            if event["event"] in ("done", "exit"):
                return
        raise errors.NoSuchLab("the lab ended before it answered")

    def close(self) -> None:
        """Hang up; a command that still runs is killed by that."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Request:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(run_dir: Path, operation: str, **fields: Any) -> Event:
    """One request with one answer."""
    with Request(run_dir, operation, **fields) as request:
        for event in request.events():
            return event
    raise errors.NoSuchLab("the lab ended before it answered")
