# SPDX-License-Identifier: GPL-2.0-or-later
"""The process of a test, as the daemon starts, hears and ends it."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from usb4rdmad.model import Measured, ProbeKind, ProbePlan
from usb4rdmad.selftest import tester
from usb4rdmad.selftest.tester import COMMAND, ChildProbe, ChildProber

PLAN = ProbePlan(ProbeKind.PING, 64, 100, True)
PLACE = ("usb4rdma0", "::ffff:169.254.7.8")
ENDPOINT = 'print(\'{"endpoint": "0102"}\', flush=True)\n'


def child(script: str) -> ChildProber:
    """A prober whose child is this script; it gets the words as sys.argv[1:]."""
    return ChildProber((sys.executable, "-c", "import sys, time\n" + script))


def play(prober: ChildProber, remote: bytes = b"\x09\x08") -> SimpleNamespace:
    """Open and run a test to its end; what was said."""

    async def story() -> SimpleNamespace:
        loop = asyncio.get_running_loop()
        endpoint: asyncio.Future[bytes | str] = loop.create_future()
        done: asyncio.Future[Measured] = loop.create_future()
        probe = prober.open(*PLACE, PLAN, endpoint.set_result)
        got = await asyncio.wait_for(endpoint, 60)
        measured = None
        if isinstance(got, bytes):
            probe.run(remote, done.set_result)
            measured = await asyncio.wait_for(done, 60)
        probe.close()
        await asyncio.wait({probe._task}, timeout=10)
        return SimpleNamespace(endpoint=got, measured=measured)

    return asyncio.run(story())


def test_endpoint_and_measurement_come_back() -> None:
    said = play(
        child(
            ENDPOINT + "remote = sys.stdin.readline().strip()\n"
            "assert remote == '0908' and sys.argv[1:] == "
            "['usb4rdma0', '::ffff:169.254.7.8', 'ping', '64', '100', 'initiator']\n"
            'print(\'{"latency_ns": 7000, "p99_ns": 9000, "operations": 100}\')\n'
        )
    )
    assert said.endpoint == b"\x01\x02"
    assert said.measured == Measured(latency_ns=7000, p99_ns=9000, operations=100)


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ('print(\'{"error": "no such device"}\')', "no such device"),
        ("sys.exit(3)", "exit code 3"),
        ("print('hello')", "nonsense"),
        ("print('[1]')", "nonsense"),
        ("print('{\"endpoint\": 5}')", "nonsense"),
        ('print(\'{"endpoint": ""}\')', "nonsense"),
        ('print(\'{"endpoint": "%s"}\' % ("ab" * 97))', "nonsense"),
        ("print('x' * 100000)", "nonsense"),
    ],
)
def test_no_endpoint_is_a_sentence(script: str, word: str) -> None:
    said = play(child(script))
    assert isinstance(said.endpoint, str)
    assert word in said.endpoint


@pytest.mark.parametrize(
    ("script", "word"),
    [
        ('print(\'{"error": "no acknowledgement came"}\')', "no acknowledgement"),
        ("sys.exit(0)", "exit code 0"),
        ("print('{\"latency_ns\": -1}')", "nonsense"),
        ('print(\'{"latency_ns": "fast"}\')', "nonsense"),
        ("print('{')", "nonsense"),
    ],
)
def test_no_measurement_is_a_sentence(script: str, word: str) -> None:
    said = play(child(ENDPOINT + "sys.stdin.readline()\n" + script))
    assert word in said.measured.error


def test_a_child_that_hangs_is_ended_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tester, "OPEN_SECONDS", 0.2)
    assert "more than" in play(child("time.sleep(60)")).endpoint
    monkeypatch.setattr(tester, "OPEN_SECONDS", 10)
    monkeypatch.setattr(tester, "RUN_SECONDS", 0.2)
    assert "more than" in play(child(ENDPOINT + "time.sleep(60)")).measured.error


def test_a_program_that_is_not_there_is_a_sentence() -> None:
    assert "could not be started" in play(ChildProber(("/nonexistent",))).endpoint


@pytest.mark.parametrize("when", ["at once", "opened", "running"])
def test_close_kills_the_child_and_says_nothing_more(when: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"import os\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\n"

    async def story() -> None:
        calls: list[object] = []
        opened = asyncio.Event()

        def heard(what: object) -> None:
            calls.append(what)
            opened.set()

        prober = child(script + ENDPOINT + "time.sleep(60)")
        probe = prober.open(*PLACE, PLAN, heard)
        if when != "at once":
            await asyncio.wait_for(opened.wait(), 60)
        if when == "running":
            probe.run(b"\1", calls.append)
            await asyncio.sleep(0)
        told = len(calls)
        probe.close()
        with pytest.raises(asyncio.CancelledError):
            await _task(probe)
        assert len(calls) == told

    asyncio.run(story())
    if pid.exists():
        assert not Path(f"/proc/{pid.read_text()}").exists()


async def _task(probe: ChildProbe) -> None:
    await asyncio.wait_for(probe._task, 60)


def test_the_real_child_without_a_device_says_so() -> None:
    if importlib.util.find_spec("pyverbs") is not None:
        pytest.skip("pyverbs is installed here")
    assert "pyverbs" in play(ChildProber()).endpoint


def test_the_child_ends_when_the_daemon_does() -> None:
    words = [*COMMAND, *PLACE, "ping", "64", "1", "answerer"]
    root = str(Path(tester.__file__).parents[2])
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, env={"PYTHONPATH": root}
    )
    assert done.returncode == 1
