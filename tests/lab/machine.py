# SPDX-License-Identifier: GPL-2.0-or-later
"""One host: its QEMU process and its agent, started, killed and started again."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, BinaryIO

from . import crashes, disk, qemu
from .channel import LINE_MAX, Channel
from .errors import BootError, GuestGone
from .plan import HostPlan, Plan
from .procs import ProcessId, identify

END_PATIENCE = 5.0


class Machine:
    """State: down (no QEMU), booting (no agent yet), up."""

    def __init__(self, plan: Plan, host: HostPlan, run_dir: Path) -> None:
        self.plan, self.host, self.run_dir = plan, host, run_dir
        self._up = asyncio.Event()
        self.channel = Channel(lambda _boot: self._up.set(), self.log)
        self._process: asyncio.subprocess.Process | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """down, booting or up."""
        if self._process is None or self._process.returncode is not None:
            return "down"
        return "up" if self._up.is_set() else "booting"

    @property
    def process(self) -> ProcessId | None:
        """QEMU, while it runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return identify(self._process.pid)

    def log(self, text: str) -> None:
        """A line in the host's agent log."""
        with (self.run_dir / f"{self.host.name}.log").open("a", encoding="utf-8") as handle:
            handle.write(text + "\n")

    async def start(self) -> None:
        """Start QEMU; GuestGone if it runs already."""
        if self.state != "down":
            raise GuestGone(f"host {self.host.name} is running already")
        name = self.host.name
        qemu.share_dir(self.run_dir, name).mkdir(exist_ok=True)
        qemu.kept_dir(self.run_dir, name).mkdir(exist_ok=True)
        own = disk.path(self.run_dir, name)
        if self.plan.options.disk and not own.exists():
            await asyncio.to_thread(disk.make, own, self.plan.options.disk)
        if self._server is None:
            path = qemu.agent_socket(self.run_dir, name)
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self.channel.serve, path, limit=LINE_MAX)
        self._up.clear()
        words = qemu.command(self.plan, self.host, self.run_dir)
        (self.run_dir / f"{name}.command").write_text("\n".join(words) + "\n", encoding="utf-8")
        with append_to(self.run_dir / f"{name}.qemu") as log:
            self._process = await asyncio.create_subprocess_exec(
                *words,
                env={**os.environ, **self.plan.qemu_env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._watch = asyncio.create_task(self._watch_process(self._process))

    async def _watch_process(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        self.log(f"QEMU ended with {code}")
        if crashes.is_one(code):
            crashes.note(self.plan.options.name, self.host.name)
        self._up.clear()
        self.channel.lost("the host's QEMU ended")

    async def wait_up(self, seconds: float, other_than: str = "") -> None:
        """Until the agent has said hello in this boot; BootError when time is up or QEMU ended."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.channel.boot in ("", other_than):
            self._up.clear()
            assert self._process is not None
            left = deadline - asyncio.get_running_loop().time()
            hello = asyncio.ensure_future(self._up.wait())
            ended = asyncio.ensure_future(self._process.wait())
            await asyncio.wait(
                (hello, ended), timeout=max(0.0, left), return_when="FIRST_COMPLETED"
            )
            hello.cancel()
            ended.cancel()
            if self._process.returncode is not None:
                raise BootError(
                    f"QEMU of host {self.host.name} ended with {self._process.returncode}:\n"
                    + tail(self.run_dir / f"{self.host.name}.qemu")
                    + "\nThe console says:\n"
                    + tail(qemu.console_log(self.run_dir, self.host.name))
                )
            if left <= 0:
                raise BootError(
                    f"host {self.host.name} did not answer in {seconds:.0f} s; the console says:\n"
                    + tail(qemu.console_log(self.run_dir, self.host.name))
                )
        self._up.set()

    def require_up(self) -> None:
        """GuestGone unless the host answers."""
        if self.state != "up":
            ended = ""
            if self._process is not None and self._process.returncode is not None:
                ended = f": its QEMU ended with {self._process.returncode}"
            raise GuestGone(
                f"host {self.host.name} is {self.state}{ended}",
                f"`lab start {self.host.name}` starts it",
            )

    async def run(self, request: dict[str, Any]) -> tuple[int, str]:
        """Run a command to its end; exit code and output. For the supervisor's own needs."""
        self.require_up()
        number, events = self.channel.start(request)
        try:
            while (event := await events.get())["op"] == "out":
                pass
        finally:
            self.channel.forget(number)
        return event.get("rc", -1), event["op"]

    async def kill(self) -> None:
        """Power off at once, as if the plug were pulled."""
        await self._end(signal.SIGKILL)

    async def wait_down(self, seconds: float) -> None:
        """Until QEMU has ended by itself; GuestGone if it does not."""
        assert self._process is not None and self._watch is not None
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            raise GuestGone(f"host {self.host.name} did not power off in {seconds:.0f} s") from None
        await self._watch

    async def end(self) -> None:
        """End QEMU in order, and the agent's socket."""
        await self._end(signal.SIGTERM)
        if self._server is not None:
            self._server.close()

    async def _end(self, number: int) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), END_PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._watch is not None:
            await self._watch


def append_to(path: Path) -> BinaryIO:
    """A log that a process writes to."""
    return path.open("ab")


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, indented."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "    (nothing)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"
