# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent of a host, talking over a socket in place of its virtio-serial port."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lab import procs
from lab.paths import GUEST_FILES

Message = dict[str, Any]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_guest_agent", GUEST_FILES / "agent.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Outside:
    """The other end of the port; the agent is a child process."""

    def __init__(self, home: Path) -> None:
        self.socket, port = socket.socketpair()
        self.child = os.fork()
        if self.child == 0:
            self.socket.close()
            try:
                port.setblocking(False)
                agent = load()
                agent.open_port = port.fileno  # type: ignore[attr-defined]
                agent.HOME = str(home)  # type: ignore[attr-defined]
                agent.Agent().run()
            finally:
                os._exit(1)
        port.close()
        self.socket.settimeout(20)
        self.lines = self.socket.makefile("rb")

    def send(self, **message: Any) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Message:
        message: Message = json.loads(self.lines.readline())
        return message

    def finish(self, number: int) -> tuple[Message, bytes, bytes]:
        """Collect a command's output until it ends."""
        parts = {1: b"", 2: b""}
        while True:
            message = self.receive()
            assert message["id"] == number
            if message["op"] == "exit":
                return message, parts[1], parts[2]
            parts[message["fd"]] += base64.b64decode(message["data"])

    def close(self) -> None:
        os.kill(self.child, 9)
        os.waitpid(self.child, 0)
        self.lines.close()
        self.socket.close()


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    end = Outside(tmp_path)
    assert end.receive()["op"] == "hello"
    yield end
    end.close()


def test_output_error_output_and_exit_code_are_kept_apart(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="echo out; echo err >&2; exit 7")
    end, out, err = outside.finish(1)
    assert (end["rc"], end["timed_out"], out, err) == (7, False, b"out\n", b"err\n")


def test_a_program_gets_its_arguments_untouched(outside: Outside) -> None:
    outside.send(
        op="start", id=1, argv=[sys.executable, "-c", "import sys; print(sys.argv)", "a b", "*"]
    )
    assert outside.finish(1)[1] == b"['-c', 'a b', '*']\n"


def test_a_command_whose_time_is_up_is_killed_with_its_children(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="sleep 300 & echo $!; wait", timeout=0.3)
    end, out, _ = outside.finish(1)
    assert (end["rc"], end["timed_out"]) == (124, True)
    child = procs.identify(int(out))
    if child is not None:
        procs.wait_gone(child, 10.0)
        assert not child.alive()


def test_a_signal_shows_in_the_exit_code(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="echo up; exec sleep 300")
    assert outside.receive()["op"] == "out"
    outside.send(op="kill", id=1, signal=15)
    assert outside.finish(1)[0]["rc"] == 143


def test_what_cannot_be_started_is_127(outside: Outside) -> None:
    outside.send(op="start", id=1, argv=["/nonexistent/program"])
    end, _, err = outside.finish(1)
    assert end["rc"] == 127
    assert b"cannot start" in err


def test_commands_run_at_the_same_time(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="read line; echo $line", interactive=True)
    outside.send(op="start", id=2, shell="echo second")
    assert outside.finish(2)[1] == b"second\n"
    outside.send(op="input", id=1, data=base64.b64encode(b"first\n").decode())
    assert outside.finish(1)[1] == b"first\n"


def test_standard_input_arrives_whole_and_ends(outside: Outside) -> None:
    data = os.urandom(300_000)
    outside.send(op="start", id=1, argv=["sha256sum"], stdin=base64.b64encode(data).decode())
    assert outside.finish(1)[1].split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_large_output_arrives_whole(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="head -c 5000000 /dev/zero")
    end, out, _ = outside.finish(1)
    assert (end["rc"], len(out)) == (0, 5_000_000)


def test_a_program_left_in_the_background_does_not_hold_up_the_end(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="sleep 300 & echo started $!")
    end, out, _ = outside.finish(1)
    assert end["rc"] == 0
    os.kill(int(out.split()[1]), 9)


def test_a_terminal_has_the_size_it_was_asked_for(outside: Outside) -> None:
    outside.send(op="start", id=1, shell="stty size; tty >/dev/null", pty=[33, 77])
    end, out, _ = outside.finish(1)
    assert (end["rc"], out) == (0, b"33 77\r\n")


def test_messages_about_commands_that_ended_are_ignored(outside: Outside) -> None:
    outside.send(op="kill", id=99, signal=9)
    outside.send(op="input", id=99, data="")
    outside.send(op="hello")
    assert outside.receive()["op"] == "hello"
