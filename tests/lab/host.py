# SPDX-License-Identifier: GPL-2.0-or-later
"""A host as tests and the command line see it: run commands, start programs, move files."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import client, disk, kernels, qemu
from .errors import GuestGone, LabError
from .patience import patient

DEFAULT_TIMEOUT = 60.0
COPY_TIMEOUT = 300.0
"""Seconds; packages of a kernel are 200 MB."""
SHARE = "/run/usb4rdma-lab/share"
TIMED_OUT = 124
_numbers = itertools.count(1)

Sink = Callable[[int, bytes], None]


@dataclass(frozen=True)
class Result:
    """How a command ended. `rc` is 124 when its time was up."""

    rc: int
    out: str
    err: str
    seconds: float
    command: str = ""

    def check(self) -> Result:
        """This, if the command succeeded; else LabError with its output."""
        if self.rc != 0:
            raise LabError(
                f"exit code {self.rc} of: {self.command}\n--- stdout\n{self.out}\n"
                f"--- stderr\n{self.err}"
            )
        return self


def _request(
    command: str | list[str], timeout: float | None, **fields: object
) -> dict[str, object]:
    timeout = None if timeout is None else patient(timeout)
    if isinstance(command, str):
        return {"shell": command, "timeout": timeout, **fields}
    return {"argv": [str(word) for word in command], "timeout": timeout, **fields}


class Process:
    """A program running in a host. Use it in a `with`, so that it does not outlive the test."""

    def __init__(
        self, host: Host, command: str | list[str], timeout: float | None, sink: Sink | None
    ) -> None:
        self.command = command if isinstance(command, str) else " ".join(command)
        self._sink = sink
        self._parts: dict[int, list[bytes]] = {1: [], 2: []}
        self._changed = threading.Condition()
        self._exit: client.Event | None = None
        self._error: LabError | None = None
        fields = _request(command, timeout, interactive=True)
        self._connection = client.Request(host.run_dir, "run", host=host.name, **fields)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            for event in self._connection.events():
                with self._changed:
                    if event["event"] == "out":
                        data = base64.b64decode(event["data"])
                        self._parts[event["fd"]].append(data)
                        if self._sink:
                            self._sink(event["fd"], data)
                    else:
                        self._exit = event
                    self._changed.notify_all()
        except (LabError, OSError, ValueError) as error:
            with self._changed:
                self._error = error if isinstance(error, LabError) else GuestGone(str(error))
                self._changed.notify_all()

    def _text(self, fd: int) -> str:
        return b"".join(self._parts[fd]).decode(errors="replace")

    @property
    def out(self) -> str:
        """Standard output so far."""
        return self._text(1)

    @property
    def err(self) -> str:
        """Standard error so far."""
        return self._text(2)

    @property
    def running(self) -> bool:
        """Whether it has not ended, as far as we know."""
        return self._exit is None and self._error is None

    def wait_for(self, text: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Until `text` is in its output or error output; LabError when it ends without it."""
        timeout = patient(timeout)
        with self._changed:
            found = self._changed.wait_for(
                lambda: text in self.out or text in self.err or not self.running, timeout
            )
            if text in self.out or text in self.err:
                return
        why = "ended" if found else f"did not within {timeout:.0f} s"
        raise LabError(f"{self.command}: {why}, without saying {text!r}:\n{self.out}{self.err}")

    def wait(self, timeout: float = DEFAULT_TIMEOUT) -> Result:
        """Until it ends. LabError if it does not in time; GuestGone if its host goes away."""
        timeout = patient(timeout)
        with self._changed:
            if not self._changed.wait_for(lambda: not self.running, timeout):
                raise LabError(
                    f"{self.command}: still runs after {timeout:.0f} s:\n{self.out}{self.err}"
                )
            if self._exit is None:
                raise self._error or GuestGone("the lab is gone")
            return Result(self._exit["rc"], self.out, self.err, self._exit["seconds"], self.command)

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to its process group."""
        self._connection.send({"op": "kill", "signal": int(number)})

    def write(self, data: str) -> None:
        """Write to its standard input; "" closes it."""
        self._connection.send({"op": "input", "data": base64.b64encode(data.encode()).decode()})

    def kill(self) -> Result | None:
        """Kill it and wait until it is gone; None if its host is gone as well."""
        try:
            if self.running:
                self.signal(signal.SIGKILL)
            return self.wait(DEFAULT_TIMEOUT)
        except (GuestGone, OSError):
            return None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._connection.close()


class Host:
    """One host of a running lab."""

    def __init__(self, run_dir: Path, name: str, index: int) -> None:
        self.run_dir, self.name, self.index = run_dir, name, index

    @property
    def address(self) -> str:
        """The address that the lab's gate opener gives to u4rdma0 (--install driver)."""
        return f"10.42.0.{self.index}"

    @property
    def net_address(self) -> str:
        """The address on the Ethernet of --net."""
        return f"192.168.77.{self.index}"

    def run(
        self,
        command: str | list[str],
        timeout: float | None = DEFAULT_TIMEOUT,
        stdin: bytes | None = None,
        check: bool = False,
        sink: Sink | None = None,
    ) -> Result:
        """Run a shell command (str) or a program (list); output is decoded, and given to `sink`."""
        data = None if stdin is None else base64.b64encode(stdin).decode()
        parts: dict[int, list[bytes]] = {1: [], 2: []}
        fields = _request(command, timeout, stdin=data)
        with client.Request(self.run_dir, "run", host=self.name, **fields) as request:
            for event in request.events():
                if event["event"] == "out":
                    chunk = base64.b64decode(event["data"])
                    parts[event["fd"]].append(chunk)
                    if sink:
                        sink(event["fd"], chunk)
        out, err = (b"".join(parts[fd]).decode(errors="replace") for fd in (1, 2))
        text = command if isinstance(command, str) else " ".join(command)
        result = Result(event["rc"], out, err, event["seconds"], text)
        return result.check() if check else result

    def start(
        self, command: str | list[str], timeout: float | None = None, sink: Sink | None = None
    ) -> Process:
        """Start a program and return at once; `timeout` kills it."""
        return Process(self, command, timeout, sink)

    def put(self, source: str | Path, destination: str) -> None:
        """Copy a file or a directory of this machine into the host, as `cp -a` would."""
        source = Path(source)
        if not source.exists():
            raise LabError(f"{source} does not exist")
        with _Parcel(self) as parcel:
            if source.is_dir():
                shutil.copytree(source, parcel.outside / source.name, symlinks=True)
            else:
                shutil.copy2(source, parcel.outside / source.name)
            inside = f"{parcel.inside}/{source.name}"
            copy = ["cp", "-dR", "--preserve=mode,timestamps", inside, destination]
            self.run(copy, timeout=COPY_TIMEOUT, check=True)

    def get(self, source: str, destination: str | Path) -> None:
        """Copy a file or a directory of the host to this machine."""
        with _Parcel(self) as parcel:
            copy = ["cp", "-RL", "--preserve=timestamps", source, parcel.inside]
            self.run(copy, timeout=COPY_TIMEOUT, check=True)
            (found,) = parcel.outside.iterdir()
            target = Path(destination)
            if target.is_dir():
                target = target / found.name
            if found.is_dir():
                shutil.copytree(found, target, dirs_exist_ok=True, ignore_dangling_symlinks=True)
            else:
                shutil.copyfile(found, target)

    def kill(self) -> None:
        """Power off at once."""
        client.ask(self.run_dir, "kill", host=self.name)

    def power_on(self) -> None:
        """Start it again after kill(), and wait until it answers."""
        client.ask(self.run_dir, "start", host=self.name)

    def reboot(self) -> None:
        """Reboot it and wait until it answers."""
        client.ask(self.run_dir, "reboot", host=self.name)

    def boot_into(self, label: str) -> None:
        """Power it off in order, boot it with the kernel called `label`, which is installed in it,
        and wait until it answers. Only a host with a disk finds again what it had."""
        kernel = kernels.ensure(label)
        client.ask(
            self.run_dir,
            "boot_into",
            host=self.name,
            vmlinux=str(kernel.vmlinux),
            initrd=str(disk.initrd(kernel)),
            kernel_version=kernel.version,
        )

    def console(self) -> str:
        """Its console output so far, of all boots."""
        path = qemu.console_log(self.run_dir, self.name)
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


class _Parcel:
    """A folder that both this machine and the host see, for the time of one copy."""

    def __init__(self, host: Host) -> None:
        name = f"{os.getpid()}-{next(_numbers)}"
        self.outside = qemu.share_dir(host.run_dir, host.name) / name
        self.inside = f"{SHARE}/{name}"

    def __enter__(self) -> _Parcel:
        self.outside.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.outside, ignore_errors=True)
