#!/usr/bin/python3 -IS
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab's agent in a host: runs commands for the outside, over a virtio-serial port.

One JSON object a line, both ways. From outside:
  {"op": "start", "id": N, "argv": [...] | "shell": "...", "timeout": seconds or null,
   "stdin": base64 or null, "interactive": bool, "pty": [rows, columns] or null, "env": {...}}
  {"op": "input", "id": N, "data": base64 ("" closes standard input)}
  {"op": "kill", "id": N, "signal": number}
  {"op": "hello"}
To the outside:
  {"op": "hello", "boot": boot id, "host": name}            once at start, and when asked
  {"op": "out", "id": N, "fd": 1 or 2, "data": base64}
  {"op": "exit", "id": N, "rc": code, "seconds": s, "timed_out": bool}
A command's exit code is its own, 128 + n when a signal ended it, 124 when its time was up (its
whole process group is killed then), 127 when it could not be started. What a command leaves
running in the background keeps running, but its output is not read after the command's end.
"""

import base64
import errno
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import termios
import time
import typing

PORT = "usb4rdma-lab"
HOME = "/root"
CHUNK = 65536
BACKLOG = 1 << 20

Message = dict[str, typing.Any]


def read_text(path: str) -> str:
    """What a small file says. No pathlib here: it costs start-up time under emulation."""
    with open(path, encoding="ascii") as handle:  # noqa: PTH123
        return handle.read().strip()


def open_port() -> int:
    """The file descriptor of our port, whatever number it got."""
    folder = "/sys/class/virtio-ports"
    for entry in os.listdir(folder):
        # The console is a port as well, one without a name.
        try:
            if read_text(f"{folder}/{entry}/name") == PORT:
                return os.open(f"/dev/{entry}", os.O_RDWR | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
    raise SystemExit(f"no virtio-serial port {PORT}")


class Command:
    """One running command."""

    def __init__(self, request: Message) -> None:
        self.id = request["id"]
        self.started = time.monotonic()
        timeout = request.get("timeout")
        self.deadline = None if timeout is None else self.started + timeout
        self.timed_out = False
        self.readers: dict[int, int] = {}
        self.stdin: int | None = None
        self.pending_input = bytearray()
        self.close_input = False
        argv = request.get("argv") or ["/bin/bash", "-c", request["shell"]]
        env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": HOME,
            "USER": "root",
            "LOGNAME": "root",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "xterm" if request.get("pty") else "dumb",
        } | (request.get("env") or {})
        options = {"env": env, "cwd": HOME, "start_new_session": True}
        if request.get("pty"):
            self._start_on_terminal(argv, options, request["pty"])
        else:
            self._start_on_pipes(argv, options, request)

    def _start_on_pipes(self, argv: list[str], options: Message, request: Message) -> None:
        wants_input = request.get("interactive") or request.get("stdin") is not None
        inner = [subprocess.DEVNULL, 0, 0]
        ours = [-1, 0, 0]
        if wants_input:
            inner[0], ours[0] = os.pipe()
        for number in (1, 2):
            ours[number], inner[number] = os.pipe()
        try:
            self.process = subprocess.Popen(
                argv, stdin=inner[0], stdout=inner[1], stderr=inner[2], **options
            )
        except OSError:
            for one in ours:
                if one >= 0:
                    os.close(one)
            raise
        finally:
            for one in inner:
                if one >= 0:
                    os.close(one)
        for one in ours:
            if one >= 0:
                os.set_blocking(one, False)
        self.readers = {ours[1]: 1, ours[2]: 2}
        if wants_input:
            self.stdin = ours[0]
        if request.get("stdin") is not None:
            self.feed(base64.b64decode(request["stdin"]))
            self.feed(b"")

    def _start_on_terminal(self, argv: list[str], options: Message, size: list[int]) -> None:
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            **options,
        )
        os.close(slave)
        os.set_blocking(master, False)
        self.stdin = os.dup(master)
        self.readers = {master: 1}

    def feed(self, data: bytes) -> None:
        """Queue input; no data closes standard input once all is written."""
        self.pending_input += data
        self.close_input |= not data
        self.write_input()

    def write_input(self) -> None:
        """Write what standard input takes now."""
        if self.stdin is None:
            return
        try:
            while self.pending_input:
                del self.pending_input[: os.write(self.stdin, self.pending_input)]
        except BlockingIOError:
            return
        except OSError:
            self.pending_input.clear()
            self.close_input = True
        if self.close_input:
            self.drop_input()

    def drop_input(self) -> None:
        """Close standard input."""
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None

    def read(self, reader: int) -> bytes | None:
        """What is there to read; None at the end of this stream."""
        try:
            return os.read(reader, CHUNK) or None
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno == errno.EIO:
                return None
            raise

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


class Agent:
    """The loop."""

    def __init__(self) -> None:
        self.port = open_port()
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.commands: dict[int, Command] = {}
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def send(self, **message: object) -> None:
        self.outgoing += json.dumps(message).encode() + b"\n"

    def hello(self) -> None:
        boot = read_text("/proc/sys/kernel/random/boot_id")
        self.send(op="hello", boot=boot, host=os.uname().nodename)

    def run(self) -> None:
        self.hello()
        while True:
            self.turn()

    def turn(self) -> None:
        poll = select.poll()
        poll.register(self.port, select.POLLIN | (select.POLLOUT if self.outgoing else 0))
        poll.register(self.wake_read, select.POLLIN)
        owners: dict[int, Command] = {}
        for command in self.commands.values():
            for reader in command.readers:
                if len(self.outgoing) < BACKLOG:
                    poll.register(reader, select.POLLIN)
                owners[reader] = command
            if command.pending_input and command.stdin is not None:
                poll.register(command.stdin, select.POLLOUT)
                owners[command.stdin] = command
        events = dict(poll.poll(self.patience()))
        if self.wake_read in events:
            os.read(self.wake_read, CHUNK)
        for source, command in owners.items():
            if source in events:
                if source in command.readers:
                    self.relay(command, source)
                else:
                    command.write_input()
        if events.get(self.port, 0) & select.POLLIN:
            self.receive()
        if self.outgoing:
            self.flush()
        if events.get(self.port, 0) == select.POLLHUP:
            # Nobody listens outside; do not spin until somebody does.
            select.select([self.wake_read], [], [], 0.2)
        self.expire()
        self.reap()

    def patience(self) -> float | None:
        deadlines = [c.deadline for c in self.commands.values() if c.deadline is not None]
        if not deadlines:
            return None
        left: float = min(deadlines) - time.monotonic()
        return max(0.0, left * 1000)

    def flush(self) -> None:
        try:
            while self.outgoing:
                del self.outgoing[: os.write(self.port, self.outgoing[:CHUNK])]
        except (BlockingIOError, BrokenPipeError):
            pass

    def receive(self) -> None:
        try:
            data = os.read(self.port, CHUNK)
        except BlockingIOError:
            return
        self.incoming += data
        while (end := self.incoming.find(b"\n")) >= 0:
            line = bytes(self.incoming[:end])
            del self.incoming[: end + 1]
            if line:
                self.handle(json.loads(line))

    def handle(self, request: Message) -> None:
        command = self.commands.get(request.get("id", 0))
        if request["op"] == "hello":
            self.hello()
        elif request["op"] == "start":
            self.start(request)
        elif command and request["op"] == "input":
            command.feed(base64.b64decode(request["data"]))
        elif command and request["op"] == "kill":
            command.signal(request["signal"])

    def start(self, request: Message) -> None:
        try:
            self.commands[request["id"]] = Command(request)
        except OSError as error:
            text = f"lab: cannot start: {error}\n".encode()
            self.send(op="out", id=request["id"], fd=2, data=base64.b64encode(text).decode())
            self.send(op="exit", id=request["id"], rc=127, seconds=0.0, timed_out=False)

    def relay(self, command: Command, reader: int) -> None:
        data = command.read(reader)
        if data is None:
            del command.readers[reader]
            os.close(reader)
        elif data:
            self.send(
                op="out",
                id=command.id,
                fd=command.readers[reader],
                data=base64.b64encode(data).decode(),
            )

    def expire(self) -> None:
        now = time.monotonic()
        for command in self.commands.values():
            if command.deadline is not None and now >= command.deadline:
                command.timed_out = True
                command.deadline = None
                command.signal(signal.SIGKILL)

    def reap(self) -> None:
        for command in list(self.commands.values()):
            code = command.process.poll()
            if code is None:
                continue
            for reader in list(command.readers):
                while reader in command.readers:
                    before = len(self.outgoing)
                    self.relay(command, reader)
                    if len(self.outgoing) == before:
                        break
            for reader in command.readers:
                os.close(reader)
            command.drop_input()
            rc = 124 if command.timed_out else code if code >= 0 else 128 - code
            self.send(
                op="exit",
                id=command.id,
                rc=rc,
                timed_out=command.timed_out,
                seconds=round(time.monotonic() - command.started, 3),
            )
            del self.commands[command.id]


if __name__ == "__main__":
    Agent().run()
