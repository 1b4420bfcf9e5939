#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs rdma-core's own tests on devices, one process a module, and tells how each test ended.

    rdma_core_suite.py --tests FOLDER --device NAME:GID-INDEX ... [--module NAME ...]

What all modules import is imported once; each module then runs in a fork of this process, since
an import of pyverbs costs seconds in an emulated host. A test that crashes its process, or does
not end, is an error; the rest of its module goes on in another process. The last line of the
output is a JSON object: {"version": ..., "seconds": ..., "left_out": [modules], "devices":
{device: {module: {"seconds": s, "tests": [{"test", "outcome", "seconds", "why"}]}}}}; an outcome
is pass, skip, fail or error.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
import typing
import unittest
from pathlib import Path

# Tests for devices of one maker, which ask the provider's library for things of its own.
OTHERS = ("test_mlx5", "test_efa", "test_cuda")
SHARED = ("tests.base", "tests.base_rdmacm", "tests.rdmacm_utils", "tests.utils")
PYVERBS = ("addr", "cmid", "cq", "device", "mr", "pd", "qp", "spec", "srq", "wr", "xrcd")
WHY_LENGTH = 3000

Record = dict[str, typing.Any]


def last_line(text: str) -> str:
    """The last line that says something: of a traceback the exception itself."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""


class Reporter(unittest.TestResult):
    """Sends each test's end through a pipe as soon as it is known."""

    def __init__(self, pipe: int, done: frozenset[str]) -> None:
        super().__init__()
        self.pipe = pipe
        self.done = done
        self.began = 0.0
        self.parts_failed = False

    def tell(self, **record: object) -> None:
        os.write(self.pipe, json.dumps(record).encode() + b"\n")

    def ended(self, test: unittest.TestCase, outcome: str, why: str = "") -> None:
        seconds = round(time.monotonic() - self.began, 2) if self.began else 0.0
        self.tell(test=test.id(), outcome=outcome, seconds=seconds, why=why[-WHY_LENGTH:])
        self.began = 0.0

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.began = time.monotonic()
        self.parts_failed = False
        self.tell(start=test.id())

    def addSuccess(self, test: unittest.TestCase) -> None:
        if not self.parts_failed:
            self.ended(test, "pass")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.ended(test, "skip", reason)

    def addFailure(self, test: unittest.TestCase, err: typing.Any) -> None:
        self.ended(test, "fail", "".join(traceback.format_exception(*err)))

    def addError(self, test: unittest.TestCase, err: typing.Any) -> None:
        self.ended(test, "error", "".join(traceback.format_exception(*err)))

    def addExpectedFailure(self, test: unittest.TestCase, err: typing.Any) -> None:
        self.ended(test, "pass")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.ended(test, "fail", "passed, but its author expects a failure")

    def addSubTest(
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: typing.Any
    ) -> None:
        if err is not None and not self.parts_failed:
            self.parts_failed = True
            self.ended(test, "fail", "".join(traceback.format_exception(*err)))


def cases(suite: unittest.TestSuite) -> list[unittest.TestCase]:
    """The single tests of a suite, in order."""
    found: list[unittest.TestCase] = []
    for entry in suite:
        found += cases(entry) if isinstance(entry, unittest.TestSuite) else [entry]
    return found


def run_in_child(
    name: str, device: str, pipe: int, output: int, done: frozenset[str]
) -> typing.NoReturn:
    """The forked process: the tests of one module that are not `done`."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    # pyverbs 56 crashes when what a skipped test has left behind is collected in any order.
    gc.disable()
    reporter = Reporter(pipe, done)
    try:
        choose(device)
        module = importlib.import_module(f"tests.{name}")
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        wanted = [case for case in cases(suite) if case.id() not in done]
        unittest.TestSuite(wanted).run(reporter)
    except BaseException:
        reporter.tell(test=name, outcome="error", seconds=0.0, why=traceback.format_exc())
    reporter.tell(end=True)
    # Without the interpreter's end: pyverbs 56 crashes there when a test was skipped half-way.
    os._exit(0)


class Module:
    """One module's run on one device."""

    def __init__(self, name: str, device: str, patience: float) -> None:
        self.name = name
        self.device = device
        self.patience = patience
        self.records: list[Record] = []
        self.running = ""
        self.complete = False

    def run(self) -> Record:
        """All tests, in as many processes as it takes."""
        began = time.monotonic()
        while not self.complete:
            before = len(self.records)
            self._run_once()
            if len(self.records) == before and not self.complete:
                break
        return {"seconds": round(time.monotonic() - began, 1), "tests": self.records}

    def _run_once(self) -> None:
        done = frozenset(record["test"] for record in self.records)
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as output:
            child = os.fork()
            if child == 0:
                os.close(reading)
                run_in_child(self.name, self.device, writing, output.fileno(), done)
            os.close(writing)
            fault = self._follow(child, reading)
            os.close(reading)
            if fault:
                output.seek(0)
                text = output.read().decode(errors="replace")[-WHY_LENGTH:]
                test = self.running or self.name
                record = {"test": test, "outcome": "error", "seconds": 0.0}
                self.records.append(record | {"why": f"{text}\n{fault}".strip()})
                # Without a test to leave out the next try would end in the same way.
                self.complete = self.complete or not self.running
                self.running = ""

    def _follow(self, child: int, reading: int) -> str:
        """Collect what the child tells until it ends; what went wrong, or nothing."""
        watched = os.pidfd_open(child)
        pending = b""
        late = False
        while True:
            ready, _, _ = select.select([reading, watched], [], [], self.patience)
            if reading in ready:
                data = os.read(reading, 65536)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
                if data:
                    continue
                # Every writer has gone; what is left is the child's own end.
                select.select([watched], [], [], 10.0)
                break
            if watched in ready:
                break
            late = True
            break
        os.close(watched)
        try:
            # Also those that the test itself has started.
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass
        _, status = os.waitpid(child, 0)
        if late:
            return f"it did not end within {self.patience:.0f} s"
        if self.complete:
            return ""
        return f"its process ended early, exit code {os.waitstatus_to_exitcode(status)}"

    def _take(self, message: Record) -> None:
        if "start" in message:
            self.running = message["start"]
        elif "end" in message:
            self.complete = True
        else:
            self.running = ""
            self.records.append(message)


def prepare(folder: Path) -> None:
    """Import what the modules share."""
    sys.path.insert(0, str(folder))
    # The real package imports every module, those for other makers' devices as well.
    package = types.ModuleType("tests")
    package.__path__ = [str(folder)]
    sys.modules["tests"] = package
    for name in (*(f"pyverbs.{part}" for part in PYVERBS), *SHARED):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def choose(device: str) -> None:
    """Tell the tests which device (NAME:GID-INDEX) they are about."""
    name, _, gid = device.partition(":")
    sys.argv[1:] = ["--dev", name, "--port", "1", "--gid", gid]
    importlib.import_module("args_parser").parser.parse_args()


def package_version() -> str:
    """The version of the Debian package that pyverbs comes in."""
    words = ["dpkg-query", "-W", "-f", "${Version}", "python3-pyverbs"]
    return subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", required=True, type=Path, help="rdma-core's folder of tests")
    parser.add_argument("--device", required=True, action="append", help="NAME:GID-INDEX")
    parser.add_argument("--module", action="append", help="only this one")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds a test may take")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    began = time.monotonic()
    present = sorted(path.stem for path in options.tests.glob("test_*.py"))
    left_out = [name for name in present if name.startswith(OTHERS)]
    wanted = options.module or [name for name in present if name not in left_out]
    prepare(options.tests)
    results: dict[str, Record] = {}
    for device in options.device:
        done = results[device.partition(":")[0]] = {}
        for name in wanted:
            done[name] = Module(name, device, options.patience).run()
            print(f"{device} {name}: {len(done[name]['tests'])} tests, {done[name]['seconds']} s")
            for record in done[name]["tests"]:
                if record["outcome"] in ("fail", "error"):
                    why = last_line(record["why"])
                    print(f"  {record['outcome']}: {record['test']}: {why}")
            sys.stdout.flush()
    seconds = round(time.monotonic() - began, 1)
    head = {"version": package_version(), "seconds": seconds, "left_out": left_out}
    print(json.dumps(head | {"devices": results}))


if __name__ == "__main__":
    main()
