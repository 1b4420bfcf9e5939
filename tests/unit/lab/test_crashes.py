# SPDX-License-Identifier: GPL-2.0-or-later
"""A host that the machine has ended: noted, told from other ends, and worth one more run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lab import crashes

TESTS = Path(__file__).resolve().parents[2]
PLUGIN = """
import again, pathlib, pytest
NOTE = pathlib.Path("crashed")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    def take():
        found = NOTE.exists()
        NOTE.unlink(missing_ok=True)
        return ["QEMU of host a ended by SIGBUS"] if found else []
    return again.protocol(item, nextitem, take)
"""
EXAMPLES = """
import pathlib, pytest
NOTE = pathlib.Path("crashed")
runs = {}

def nth_run(name):
    runs[name] = runs.get(name, 0) + 1
    return runs[name]

@pytest.fixture(scope="module")
def kept():
    return nth_run("kept")

@pytest.fixture
def lab():
    yield
    if NOTE.exists():
        raise RuntimeError("the lab does not answer any more")

def test_crash_once(lab, kept):
    if nth_run("once") == 1:
        NOTE.touch()
        assert False, "host a is down"
    assert kept == 1

def test_crash_each_time(lab):
    nth_run("each")
    NOTE.touch()
    assert False, "host a is down"

def test_crash_seen_by_nobody_but_the_fixture(lab):
    if nth_run("fixture") == 1:
        NOTE.touch()

def test_crash_in_setup(lab_that_crashes_once):
    pass

@pytest.fixture
def lab_that_crashes_once():
    if nth_run("setup") == 1:
        NOTE.touch()
        raise RuntimeError("QEMU of host a ended")

def test_fails_for_a_reason_of_its_own():
    nth_run("own")
    assert False

def test_passes_in_spite_of_an_older_crash(lab_crashed_between_tests):
    nth_run("older")

@pytest.fixture
def lab_crashed_between_tests():
    NOTE.touch()
    yield
    NOTE.unlink()

def test_runs():
    assert runs == {
        "kept": 1, "once": 2, "each": 2, "fixture": 2, "setup": 2, "own": 1, "older": 1
    }
"""


@pytest.mark.parametrize("code", [0, 1, -6, -9, -11, -15])
def test_only_one_end_is_the_machines(code: int) -> None:
    assert crashes.is_one(-7)
    assert not crashes.is_one(code)


def test_a_note_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "labs_root", lambda: tmp_path)
    assert crashes.take("test-1") == []
    crashes.note("test-1", "a")
    crashes.note("test-1", "b")
    crashes.note("test-2", "a")
    assert crashes.take("test-1") == [f"QEMU of host {name} ended by SIGBUS" for name in "ab"]
    assert crashes.take("test-1") == []
    assert len(crashes.take("test-2")) == 1


def test_a_crash_earns_one_more_run_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(PLUGIN, encoding="ascii")
    (tmp_path / "test_examples.py").write_text(EXAMPLES, encoding="ascii")
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--rootdir", "."]
    ran = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(TESTS / "vm")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.search(r"^=+ 2 failed, 5 passed, 1 error in ", ran.stdout, re.M), ran.stdout
    for name in ("crash_each_time", "fails_for_a_reason_of_its_own"):
        assert f"FAILED test_examples.py::test_{name}" in ran.stdout
    for what_the_first_run_said in ("AssertionError: host a is down", "the lab does not answer"):
        assert what_the_first_run_said in ran.stdout.partition("= ERRORS =")[0]
    assert ran.stdout.count("QEMU of host a ended by SIGBUS: the test runs again") == 4
