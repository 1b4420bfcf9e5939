# SPDX-License-Identifier: GPL-2.0-or-later
"""The background process of a lab: owns the cable, the hosts and their agents, serves requests.

Started by Lab.up() as `python3 -m lab.supervisor RUN_DIR`; what it says on standard output, one
JSON object a line, is the progress of the start. Afterwards it listens on RUN_DIR/lab.sock.
A request is one JSON line, the answer one or several; see `Supervisor.serve`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import debug_kernel, patience, state
from .cable import Cable
from .channel import LINE_MAX
from .errors import BootError, GuestGone, LabError, UsageError
from .ethernet import Hub
from .machine import Machine
from .plan import Plan
from .qemu import net_socket

ANSWER_SECONDS = {"fast": 120.0, "systemd": 300.0}
# How long after a command's own time limit its agent may be silent.
FROZEN_SECONDS = 45.0
Answer = dict[str, Any]


class Supervisor:
    """All of one lab."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.plan = Plan.from_json((run_dir / state.PLAN).read_text(encoding="utf-8"))
        self.machines = {h.name: Machine(self.plan, h, run_dir) for h in self.plan.hosts}
        self.cable = Cable(self.plan.topology, run_dir) if self.plan.has_cable else None
        self.hub = Hub() if self.plan.options.net else None
        self.quit = asyncio.Event()
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bring all up; BootError with the end of the log that explains it."""
        self.record()
        if self.cable is not None:
            await self.cable.start()
            self.record()
        if self.hub is not None:
            await self.hub.start(net_socket(self.run_dir))
        for machine in self.machines.values():
            await machine.start()
            self.record()
        say("progress", f"{len(self.machines)} hosts are booting ({self.plan.accel})")
        async with asyncio.TaskGroup() as group:
            for machine in self.machines.values():
                group.create_task(self.wait_answer(machine))

    def answer_seconds(self) -> float:
        """How long a host may take to boot or to go down."""
        slow = self.plan.options.kernel in debug_kernel.LABELS
        return ANSWER_SECONDS[self.plan.options.init] * max(
            patience.factor(), patience.DEBUG_KERNEL if slow else 1.0
        )

    async def wait_answer(self, machine: Machine, other_than: str = "") -> None:
        """Until a host answers, with systemd until all its units are started."""
        seconds = self.answer_seconds()
        started = asyncio.get_running_loop().time()
        await machine.wait_up(seconds, other_than)
        if self.plan.options.init == "systemd":
            request = {"argv": ["systemctl", "is-system-running", "--wait"], "timeout": seconds}
            while True:
                code, _ = await machine.run(request)
                if code not in (1, 124) or asyncio.get_running_loop().time() - started > seconds:
                    break
                # "degraded" is also 1; then the second question is answered at once.
                code, _ = await machine.run(
                    {"shell": "systemctl is-system-running | grep -q degraded"}
                )
                if code == 0:
                    break
        took = asyncio.get_running_loop().time() - started
        say("progress", f"host {machine.host.name} answers after {took:.1f} s")

    def record(self) -> None:
        """Write down which processes are ours, for a `lab down` that finds us dead."""
        processes = {"cable": self.cable.process if self.cable else None}
        processes |= {name: machine.process for name, machine in self.machines.items()}
        state.write_processes(self.run_dir, {k: v for k, v in processes.items() if v is not None})

    async def end(self) -> None:
        """End all processes."""
        await asyncio.gather(*(machine.end() for machine in self.machines.values()))
        if self.cable is not None:
            await self.cable.end()
        if self.hub is not None:
            self.hub.end()
        self.record()

    def machine(self, request: Answer) -> Machine:
        """The host a request names."""
        return self.machines[self.plan.host(str(request.get("host"))).name]

    # Requests

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request. Each answer has an "event": done, error, out, exit, gone."""

        def answer(event: str, **fields: Any) -> None:
            writer.write(json.dumps({"event": event, **fields}).encode() + b"\n")

        handlers: dict[str, Callable[[Answer], Awaitable[Answer]]] = {
            "cable": self.do_cable,
            "kill": self.do_kill,
            "start": self.do_start,
            "reboot": self.do_reboot,
            "boot_into": self.do_boot_into,
            "status": self.do_status,
            "quit": self.do_quit,
        }
        try:
            request = json.loads(await reader.readline())
            operation = request.pop("op", "")
            if operation == "run":
                await self.do_run(request, reader, writer, answer)
            elif operation in handlers:
                answer("done", **await handlers[operation](request))
            else:
                raise UsageError(f"unknown request {operation!r}")
            await writer.drain()
        except LabError as error:
            kind = type(error).__name__
            answer("error", kind=kind, message=error.message, hint=error.hint)
        except (ConnectionError, ValueError) as error:
            print(f"client: {error}", file=sys.stderr, flush=True)
        finally:
            with suppress(ConnectionError):
                writer.close()

    async def do_run(
        self,
        request: Answer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Callable[..., None],
    ) -> None:
        """Run a command; the client may send input and signals; hanging up kills it."""
        machine = self.machine(request)
        machine.require_up()
        number, events = machine.channel.start(request)
        limit = request.get("timeout")
        deadline = (
            None if limit is None else asyncio.get_running_loop().time() + limit + FROZEN_SECONDS
        )
        listening = asyncio.create_task(self._relay_input(machine, number, reader))
        try:
            while True:
                async with asyncio.timeout_at(deadline):
                    event = await events.get()
                answer(event.pop("op"), **event)
                await writer.drain()
                if "rc" in event or "why" in event:
                    return
        except TimeoutError:
            raise GuestGone(
                f"host {machine.host.name} did not end the command in time and says nothing",
                f"its kernel may hang: `lab log {machine.host.name}`",
            ) from None
        except ConnectionError:
            machine.channel.tell(number, {"op": "kill", "signal": int(signal.SIGKILL)})
        finally:
            listening.cancel()
            machine.channel.forget(number)

    async def _relay_input(
        self, machine: Machine, number: int, reader: asyncio.StreamReader
    ) -> None:
        while line := await reader.readline():
            machine.channel.tell(number, json.loads(line))
        machine.channel.tell(number, {"op": "kill", "signal": int(signal.SIGKILL)})

    async def do_cable(self, request: Answer) -> Answer:
        """Pass a request on to the cables."""
        if self.cable is None:
            raise UsageError("this lab was started without cables")
        return {"answer": await self.cable.ask(request["request"])}

    async def do_kill(self, request: Answer) -> Answer:
        """Power a host off, as if its plug were pulled."""
        await self.machine(request).kill()
        self.record()
        return {}

    async def do_start(self, request: Answer) -> Answer:
        """Start a host that is down, and wait until it answers."""
        machine = self.machine(request)
        await machine.start()
        self.record()
        await self.wait_answer(machine)
        return {}

    async def do_reboot(self, request: Answer) -> Answer:
        """Reboot a host in order (systemd) or at once (fast), and wait until it answers again."""
        machine = self.machine(request)
        machine.require_up()
        boot = machine.channel.boot
        fast = self.plan.options.init == "fast"
        shell = "sync; echo b >/proc/sysrq-trigger" if fast else "systemctl reboot"
        number, _ = machine.channel.start({"shell": shell, "timeout": 60})
        machine.channel.forget(number)
        await self.wait_answer(machine, other_than=boot)
        return {}

    async def do_boot_into(self, request: Answer) -> Answer:
        """Power a host off in order, and boot it with another kernel, as a boot loader would."""
        machine = self.machine(request)
        machine.require_up()
        number, _ = machine.channel.start({"shell": "systemctl poweroff", "timeout": 60})
        machine.channel.forget(number)
        await machine.wait_down(self.answer_seconds())
        machine.plan = dataclasses.replace(
            machine.plan, **{key: request[key] for key in ("vmlinux", "initrd", "kernel_version")}
        )
        return await self.do_start(request)

    async def do_status(self, _request: Answer) -> Answer:
        """Which hosts are in which state."""
        return {"hosts": {name: machine.state for name, machine in self.machines.items()}}

    async def do_quit(self, _request: Answer) -> Answer:
        """End the lab after this answer."""
        self.quit.set()
        return {}


def say(kind: str, text: str) -> None:
    """A line for Lab.up(), which may be gone by now."""
    with suppress(OSError, ValueError):
        print(json.dumps({kind: text}), flush=True)


async def serve(run_dir: Path) -> int:
    """Start the lab and serve it until it is told to quit; the exit code."""
    supervisor = Supervisor(run_dir)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.quit.set)
    starting = asyncio.create_task(supervisor.start())
    quitting = asyncio.create_task(supervisor.quit.wait())
    failed = True
    try:
        await asyncio.wait((starting, quitting), return_when="FIRST_COMPLETED")
        if not starting.done():
            starting.cancel()
            raise BootError("told to end while the hosts were booting")
        starting.result()
        server = await asyncio.start_unix_server(
            supervisor.serve, run_dir / state.SOCKET, limit=LINE_MAX
        )
        say("ready", "")
        await quitting
        server.close()
        failed = False
    except* LabError as group:
        say("error", "\n".join(str(error) for error in group.exceptions))
    except* Exception as group:
        say("error", "\n".join(repr(error) for error in group.exceptions))
        raise
    finally:
        await supervisor.end()
    return int(failed)


if __name__ == "__main__":
    sys.exit(asyncio.run(serve(Path(sys.argv[1]))))
