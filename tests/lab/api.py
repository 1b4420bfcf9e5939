# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab for programs and tests: `with Lab.up(hosts=2) as lab: lab["a"].run("uname -r")`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import client, plan, procs, state, topology
from .errors import BootError, LabError, LabExists, NoSuchLab
from .host import Host, Process, Result
from .paths import REPOSITORY, check_name, labs_root, run_dir
from .patience import patient
from .progress import say

__all__ = ["Host", "Lab", "Process", "Result"]

LINK_SECONDS = 120.0
# After this long without links the cables are pushed in again, see Lab.wait_links().
REPLUG_SECONDS = 60.0
# Until no XDomain is left, at most 10 s.
WAIT_NO_XDOMAIN = (
    "for try in $(seq 50); do "
    "ls /sys/bus/thunderbolt/devices | grep -Eq '^[0-9]+-[1-9]' || exit 0; sleep 0.2; done; exit 1"
)
_ALARM = re.compile(
    r"WARNING: |BUG: |Oops|KASAN|general protection|Call Trace|Kernel panic|lockdep|"
    r"possible recursive locking|possible circular locking|suspicious RCU|UBSAN|refcount_t|"
    r"RIP: 0010:"
)


class Lab:
    """A running lab. Leaving the `with` ends it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.run_dir = run_dir(name)
        try:
            self.plan = plan.Plan.from_json((self.run_dir / state.PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise NoSuchLab(f"lab {name!r} is not running", "`lab up` starts one") from error
        self.hosts = {h.name: Host(self.run_dir, h.name, h.index) for h in self.plan.hosts}

    @classmethod
    def up(cls, *, wait_links: bool = True, **options: Any) -> Lab:
        """Build what is missing, start the hosts, wait until they answer.

        Options are those of plan.Options (hosts=2, cable=["a:1-b:1"], kernel="7.2", ...). With
        install="driver" or "all" it also waits for the links; BootError for that leaves the lab
        running, so that one can look at it.
        """
        for key in ("cable", "extra"):
            options[key] = tuple(options.get(key, ()))
        wanted = plan.Options(**options).checked()
        folder = run_dir(wanted.name)
        with _claim(wanted.name):
            if state.supervisor(folder) is not None:
                raise LabExists(
                    f"lab {wanted.name!r} is running already",
                    f"`lab down --name {wanted.name}` ends it, --name gives another name",
                )
            clean_up(wanted.name)
            made = plan.make(wanted)
            folder.mkdir(parents=True, mode=0o700)
            (folder / state.PLAN).write_text(made.to_json(), encoding="utf-8")
            _start_supervisor(folder)
        lab = cls(wanted.name)
        if wait_links and wanted.install != "none":
            lab.wait_links()
        return lab

    def __getitem__(self, name: str) -> Host:
        return self.hosts[self.plan.host(name).name]

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def wait_links(self, seconds: float = LINK_SECONDS) -> None:
        """Until each host's cabled links are active and addressed; BootError otherwise.

        A stock kernel that is starved of time sometimes never ends its discovery (one side
        bonds lanes, the other has given up). A person would push the cables in again, and so
        is done here, once.
        """
        seconds, replug = patient(seconds), patient(REPLUG_SECONDS)
        try:
            self._wait_links(min(seconds, replug))
        except BootError:
            if seconds <= replug:
                raise
            say("links are not up: the cables are pulled and pushed in again")
            for cable in self.plan.cables:
                self.unplug(cable)
            for host in self.hosts.values():
                host.run(WAIT_NO_XDOMAIN, timeout=30)
            for cable in self.plan.cables:
                self.plug(cable)
            self._wait_links(seconds)

    def _wait_links(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for name, host in self.hosts.items():
            ends = [end for cable in self.plan.cables for end in topology.parse_cable(cable)]
            count = sum(topology.host_of(end) == name for end in ends)
            if count:
                left = max(1.0, deadline - time.monotonic())
                words = ["/usr/lib/usb4rdma-lab/wait-links", str(count), str(left)]
                result = host.run(words, timeout=left + 30)
                if result.rc != 0:
                    raise BootError(
                        f"host {name}: {result.out.strip() or result.err.strip()}",
                        f"the lab still runs: lab log {name}, lab run {name} -- dmesg, lab down",
                    )

    # The cables

    def cable(self, cmd: str, **fields: Any) -> dict[str, Any]:
        """A request to the cables' control socket; its answer."""
        request = {"cmd": cmd, **fields}
        answer: dict[str, Any] = client.ask(self.run_dir, "cable", request=request)["answer"]
        return answer

    def plug(self, first: str, second: str = "") -> None:
        """Push a cable in: plug("a:1-b:1") or plug("a:1", "b:1")."""
        self.cable("plug", cable=_cable_name(first, second))

    def unplug(self, first: str, second: str = "") -> None:
        """Pull a cable out."""
        self.cable("unplug", cable=_cable_name(first, second))

    def inject(
        self,
        cable: str,
        what: str,
        *,
        rate: float | None = None,
        nth: int | None = None,
        seed: int | None = None,
        **more: Any,
    ) -> None:
        """Impair a cable: drop, crc, flip, delay, dupintr, nointr, notxdone; by rate or nth."""
        topology.parse_cable(cable)
        fields = {"rate": rate, "nth": nth, "seed": seed, **more}
        given = {key: value for key, value in fields.items() if value is not None}
        self.cable("inject", cable=cable, what=what, **given)

    def inject_off(self) -> None:
        """End all impairments."""
        self.cable("inject_off")

    def stat(self) -> dict[str, Any]:
        """The cables' counters, DMA faults among them."""
        return self.cable("stat")

    def trace(self, level: str) -> None:
        """What goes into cable.trace: off, control, frames or bytes."""
        self.cable("trace", level=level)

    @property
    def trace_file(self) -> Path:
        """The trace of the cables."""
        return self.run_dir / "cable.trace"

    # The whole

    def status(self) -> dict[str, str]:
        """The state of each host: down, booting or up."""
        hosts: dict[str, str] = client.ask(self.run_dir, "status")["hosts"]
        return hosts

    def alarms(self) -> list[str]:
        """Lines of the hosts' consoles in which a kernel complains, as "a: WARNING ..."."""
        return [
            f"{name}: {line.strip()}"
            for name, host in self.hosts.items()
            for line in host.console().splitlines()
            if _ALARM.search(line)
        ]

    def save_logs(self, folder: Path, from_hosts: bool = True) -> None:
        """Copy consoles, logs and traces to `folder`; with `from_hosts` also dmesg and journal."""
        folder.mkdir(parents=True, exist_ok=True)
        _copy_logs(self.run_dir, folder)
        if not from_hosts or state.supervisor(self.run_dir) is None:
            return
        for name, host in self.hosts.items():
            for title, command in _DIAGNOSES.items():
                with contextlib.suppress(LabError, OSError):
                    result = host.run(command, timeout=20)
                    (folder / f"{name}.{title}").write_text(
                        result.out + result.err, encoding="utf-8"
                    )
        with contextlib.suppress(LabError, OSError):
            text = json.dumps(self.stat(), indent=1)
            (folder / "cable.stat").write_text(text, encoding="utf-8")

    def down(self) -> None:
        """End all and remove the run directory."""
        supervisor = state.supervisor(self.run_dir)
        with contextlib.suppress(LabError, OSError):
            client.ask(self.run_dir, "quit")
        if supervisor is not None:
            _wait_for_end(supervisor, 15.0)
        clean_up(self.name)


_DIAGNOSES = {
    "dmesg": "dmesg",
    "links": "grep -sH . /sys/class/usb4rdma/*/*; rdma link; ip -s address; ibv_devinfo -v",
    "gate": "cat /run/usb4rdma-lab/gate.log",
    "journal": "test -d /run/systemd/system && journalctl -b --no-pager -o short-monotonic",
}
_LOG_SUFFIXES = {".console", ".qemu", ".log", ".trace", ".toml", ".command", ".json"}


def _cable_name(first: str, second: str) -> str:
    name = f"{first}-{second}" if second else first
    topology.parse_cable(name)
    return name


def _copy_logs(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_file() and path.suffix in _LOG_SUFFIXES:
            shutil.copyfile(path, target / path.name)


@contextlib.contextmanager
def _claim(name: str) -> Iterator[None]:
    """Nobody else starts a lab of this name meanwhile."""
    root = labs_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise LabError(f"{root} belongs to somebody else", "set TMPDIR to a directory of yours")
    with (root / f".{check_name(name)}.lock").open("w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LabExists(f"lab {name!r} is being started by another command") from error
        yield


def _start_supervisor(folder: Path) -> None:
    with (folder / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.supervisor", str(folder)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            text=True,
        )
    identity = procs.identify(process.pid)
    if identity is not None:
        state.write_supervisor(folder, identity)
    assert process.stdout is not None
    failure = ""
    try:
        for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                say(message["progress"])
            elif "error" in message:
                failure = message["error"]
            else:
                process.stdout.close()
                # The supervisor outlives us; nobody of this process waits for it.
                process.returncode = 0
                return
    except BaseException:
        process.terminate()
        process.wait()
        raise
    process.wait()
    kept = folder.with_name(f"{folder.name}.failed")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    _copy_logs(folder, kept)
    clean_up(folder.name)
    raise BootError(failure or "the lab's supervisor died", f"logs: {kept}")


def _wait_for_end(process: procs.ProcessId, seconds: float) -> None:
    procs.wait_gone(process, seconds)
    if process.alive():
        procs.end(process)


def clean_up(name: str) -> None:
    """End what a lab has left running and remove its run directory."""
    folder = run_dir(name)
    supervisor = state.supervisor(folder)
    if supervisor is not None:
        procs.end(supervisor, 15.0)
    for process in state.processes(folder).values():
        procs.end(process)
    shutil.rmtree(folder, ignore_errors=True)


def running() -> list[str]:
    """The names of this user's running labs."""
    root = labs_root()
    if not root.is_dir():
        return []
    return sorted(p.name for p in root.iterdir() if p.is_dir() and state.supervisor(p) is not None)
