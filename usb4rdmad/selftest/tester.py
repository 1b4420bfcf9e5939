# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts and ends the processes that test links; ports.Prober for the daemon."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..log import log
from ..model import ENDPOINT_MAX, Measured, ProbePlan
from .__main__ import ANSWERER, INITIATOR

OPEN_SECONDS = 12.0
RUN_SECONDS = 12.0
LINE_MAX = 4096
COMMAND = (sys.executable, "-P", "-s", "-m", "usb4rdmad.selftest")
_FIELDS = ("latency_ns", "p99_ns", "bits_per_second", "operations")


class ChildFailed(Exception):
    """A sentence on what went wrong."""


class ChildProber:
    """ports.Prober: one short-lived process a test."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command

    def open(
        self, ibdev: str, gid: str, plan: ProbePlan, opened: Callable[[bytes | str], None]
    ) -> ChildProbe:
        """As ports.Prober says."""
        role = INITIATOR if plan.initiator else ANSWERER
        words = (ibdev, gid, plan.kind.value, str(plan.size), str(plan.count), role)
        return ChildProbe((*self._command, *words), opened)


class ChildProbe:
    """ports.Probe: one process, and the task that talks to it."""

    def __init__(self, words: tuple[str, ...], opened: Callable[[bytes | str], None]) -> None:
        loop = asyncio.get_running_loop()
        self._remote: asyncio.Future[tuple[bytes, Callable[[Measured], None]]]
        self._remote = loop.create_future()
        self._closed = False
        self._ending = False
        self._task = loop.create_task(self._live(words, opened), name="self-test")

    def run(self, remote: bytes, done: Callable[[Measured], None]) -> None:
        """As ports.Probe says."""
        if not self._remote.done():
            self._remote.set_result((remote, done))

    def close(self) -> None:
        """As ports.Probe says. The process is killed; its end is waited for in the background."""
        self._closed = True
        if not self._ending:
            self._task.cancel()

    async def _live(self, words: tuple[str, ...], opened: Callable[[bytes | str], None]) -> None:
        environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8"}
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, limit=LINE_MAX
            )
        except OSError as error:
            opened(f"the self-test could not be started: {error.strerror}")
            return
        try:
            endpoint = await _endpoint(process)
            if not self._closed:
                opened(endpoint)
            if isinstance(endpoint, str):
                return
            remote, done = await self._remote
            measured = await _measured(process, remote)
            if not self._closed:
                done(measured)
        finally:
            self._ending = True
            # Kills it and closes its pipes now: when garbage is collected the loop may be gone.
            inner: Any = process
            inner._transport.close()
            # Shielded: the cancelled task still has to collect its child.
            await asyncio.shield(process.wait())


async def _endpoint(process: Process) -> bytes | str:
    """The endpoint, or a sentence on why there is none."""
    try:
        endpoint = bytes.fromhex(str((await _line(process, OPEN_SECONDS)).get("endpoint")))
    except ChildFailed as error:
        return str(error)
    except ValueError:
        return "the self-test said nonsense"
    return endpoint if 1 <= len(endpoint) <= ENDPOINT_MAX else "the self-test said nonsense"


async def _measured(process: Process, remote: bytes) -> Measured:
    """Give it the other end; what it found."""
    try:
        assert process.stdin is not None
        process.stdin.write(remote.hex().encode() + b"\n")
        answer = await _line(process, RUN_SECONDS)
        latency, p99, rate, operations = (_count(answer.get(field, 0)) for field in _FIELDS)
        return Measured("", latency, p99, rate, operations)
    except (ChildFailed, OSError) as error:
        return Measured(error=str(error))


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise ChildFailed("the self-test said nonsense")
    return value


async def _line(process: Process, seconds: float) -> dict[str, Any]:
    """The next line of the process; ChildFailed with its error, or when there is none in time."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            line = await process.stdout.readline()
            if not line:
                code = await process.wait()
                raise ChildFailed(f"the self-test ended without a word (exit code {code})")
        answer = json.loads(line)
    except TimeoutError:
        raise ChildFailed(f"the self-test took more than {seconds:.0f} s") from None
    except ValueError:
        raise ChildFailed("the self-test said nonsense") from None
    if not isinstance(answer, dict):
        raise ChildFailed("the self-test said nonsense")
    if answer.get("error"):
        log.debug("self-test: %s", answer["error"])
        raise ChildFailed(str(answer["error"])[:200])
    return answer
