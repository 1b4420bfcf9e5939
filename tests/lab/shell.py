# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab shell`: a terminal of a host on our terminal."""

from __future__ import annotations

import base64
import os
import selectors
import shutil
import sys
import termios
import threading
import tty

from . import client
from .errors import UsageError
from .host import Host


def interact(host: Host) -> int:
    """Run a login shell in the host until it ends; its exit code."""
    if not sys.stdin.isatty():
        raise UsageError("lab shell needs a terminal", "use lab run HOST -- COMMAND instead")
    columns, rows = shutil.get_terminal_size()
    fields = {"argv": ["/bin/bash", "-l"], "pty": [rows, columns], "timeout": None}
    saved = termios.tcgetattr(sys.stdin)
    with client.Request(host.run_dir, "run", host=host.name, **fields) as request:
        done_read, done_write = os.pipe()
        typing = threading.Thread(target=_relay_keys, args=(request, done_read), daemon=True)
        try:
            tty.setraw(sys.stdin)
            typing.start()
            for event in request.events():
                if event["event"] == "out":
                    os.write(1, base64.b64decode(event["data"]))
        finally:
            os.write(done_write, b"x")
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
    return int(event["rc"])


def _relay_keys(request: client.Request, done: int) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(done, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if done in ready:
                return
            data = os.read(0, 4096)
            request.send({"op": "input", "data": base64.b64encode(data).decode()})
            if not data:
                return
