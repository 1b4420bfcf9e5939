#!/usr/bin/python3 -IS
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs pairs of programs back to back, servers on one host and clients on the other, in step.

  in_step.py server PORT                 does what a client asks, until that goes away
  in_step.py client PORT ADDRESS FILE    FILE holds a JSON list of cases; "-" is standard input

A case is {"server": shell command or "", "client": shell command or "", "ready": when the server
takes clients, "timeout": seconds for the client, "grace": seconds for the server after that,
"kill": true for a server that never ends by itself}. `ready` is one of
  {"tcp": port}    something listens on that TCP port
  {"cm": port}     something listens on that port of the RDMA connection manager
  {"text": "..."}  the server has said so
  {}               once it is started
For each case the client's side prints one line of JSON:
  {"ready": bool, "server": {"rc", "out", "seconds"}, "client": the same or null}
A code is the program's own, 128 + n for a signal, 124 when its time was up, 0 for a server that
was to be killed and was. No program of a case is left running when the next one begins.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import typing

READY_SECONDS = 30.0
LISTEN = "0A"
ASK_EVERY = 0.02
OUTPUT_KEPT = 6000

Message = dict[str, typing.Any]


class Program:
    """One running program, with its output in a file."""

    def __init__(self, command: str) -> None:
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def text(self) -> str:
        """What it has said so far; of a long output beginning and end."""
        data = os.pread(self.output.fileno(), 1 << 24, 0).decode(errors="replace")
        if len(data) <= OUTPUT_KEPT:
            return data
        return data[: OUTPUT_KEPT // 2] + "\n...\n" + data[-OUTPUT_KEPT // 2 :]

    def end(self, seconds: float, may_be_killed: bool = False) -> Message:
        """Wait for its end, or make one, and for that of all that it started."""
        try:
            code = self.process.wait(0.01 if may_be_killed else seconds)
            code = 128 - code if code < 0 else code
        except subprocess.TimeoutExpired:
            code = 0 if may_be_killed else 124
        took = time.monotonic() - self.started
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        answer = {"rc": code, "out": self.text(), "seconds": round(took, 2)}
        self.output.close()
        return answer


def tcp_listens(port: int) -> bool:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as handle:  # noqa: PTH123
            for line in handle:
                words = line.split()
                if words[3] == LISTEN and int(words[1].rsplit(":", 1)[1], 16) == port:
                    return True
    return False


def cm_listens(port: int) -> bool:
    shown = subprocess.run(
        ["rdma", "resource", "show", "cm_id"], capture_output=True, text=True, check=False
    ).stdout
    ends = (f":{port}", f":{port}]")
    lines = [line.split() for line in shown.splitlines()]
    return any("LISTEN" in words and any(w.endswith(ends) for w in words) for words in lines)


def is_ready(program: Program, ready: Message) -> bool:
    if "tcp" in ready:
        return tcp_listens(ready["tcp"])
    if "cm" in ready:
        return cm_listens(ready["cm"])
    if "text" in ready:
        return ready["text"] in program.text()
    return True


def wait_ready(program: Program, ready: Message) -> bool:
    """Whether it became ready; False if it ended before, or never said so."""
    deadline = time.monotonic() + READY_SECONDS
    # The kernel shows a connection manager's LISTEN a moment before it takes connections.
    looks = 2 if "cm" in ready else 1
    while looks:
        if is_ready(program, ready):
            looks -= 1
        elif time.monotonic() > deadline:
            return False
        if looks:
            try:
                program.process.wait(ASK_EVERY)
                # It may have become ready and have ended since we asked.
                return is_ready(program, ready)
            except subprocess.TimeoutExpired:
                pass
    return True


def serve(port: int) -> None:
    with socket.create_server(("", port)) as listener:
        print("in step", flush=True)
        connection, _ = listener.accept()
    program: Program | None = None
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            request: Message = json.loads(line)
            if request["do"] == "start":
                program = Program(request["command"])
                answer: Message = {"ready": wait_ready(program, request["ready"])}
            else:
                assert program is not None
                answer = program.end(request["grace"], request["kill"])
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


def run_case(case: Message, ask: typing.Callable[[Message], Message]) -> Message:
    result: Message = {"ready": True, "server": None, "client": None}
    grace = case.get("grace", 10.0)
    if case["server"]:
        answer = ask({"do": "start", "command": case["server"], "ready": case.get("ready", {})})
        result["ready"] = answer["ready"]
        if not result["ready"]:
            grace = 0.1
    if case["client"] and result["ready"]:
        result["client"] = Program(case["client"]).end(case.get("timeout", 60.0))
        if result["client"]["rc"] != 0:
            grace = min(grace, 2.0)
    if case["server"]:
        result["server"] = ask({"do": "end", "grace": grace, "kill": case.get("kill", False)})
    return result


def drive(port: int, address: str, file: str) -> None:
    if file == "-":
        cases = json.load(sys.stdin)
    else:
        with open(file, encoding="utf-8") as handle:  # noqa: PTH123
            cases = json.load(handle)
    with (
        socket.create_connection((address, port), READY_SECONDS) as connection,
        connection.makefile("rw", encoding="utf-8") as stream,
    ):
        # A case's own times are the limit, not the socket's.
        connection.settimeout(None)

        def ask(message: Message) -> Message:
            stream.write(json.dumps(message) + "\n")
            stream.flush()
            answer: Message = json.loads(stream.readline())
            return answer

        for case in cases:
            print(json.dumps(run_case(case, ask)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(int(sys.argv[2]))
    else:
        drive(int(sys.argv[2]), sys.argv[3], sys.argv[4])
