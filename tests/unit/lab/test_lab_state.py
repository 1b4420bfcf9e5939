# SPDX-License-Identifier: GPL-2.0-or-later
"""State files, process identities, the cache."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import cache, procs, state
from lab.errors import UsageError
from lab.paths import SOCKET_PATH_MAX, run_dir


@pytest.fixture
def sleeper() -> Iterator[procs.ProcessId]:
    process = subprocess.Popen(["sleep", "60"])
    identity = procs.identify(process.pid)
    assert identity is not None
    yield identity
    process.kill()
    process.wait()


def test_a_process_is_known_by_id_and_start_time(sleeper: procs.ProcessId) -> None:
    assert sleeper.alive()
    assert not procs.ProcessId(sleeper.pid, sleeper.started - 1).alive()


def test_another_process_with_a_reused_id_is_left_alone(sleeper: procs.ProcessId) -> None:
    procs.end(procs.ProcessId(sleeper.pid, sleeper.started - 1))
    assert sleeper.alive()


def test_end_kills_what_ignores_a_polite_request() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 60; done"
    process = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    identity = procs.identify(process.pid)
    assert identity is not None
    procs.end(identity, patience=0.2)
    assert process.wait(5) == -9
    process.stdout.close()
    os.killpg(process.pid, 9)


def test_state_survives_a_round_trip(tmp_path: Path, sleeper: procs.ProcessId) -> None:
    state.write_supervisor(tmp_path, sleeper)
    state.write_processes(tmp_path, {"a": sleeper, "gone": procs.ProcessId(sleeper.pid, 1)})
    assert state.supervisor(tmp_path) == sleeper
    assert state.processes(tmp_path) == {"a": sleeper}


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", "7", '{"a": 1}', '{"a": ["x", "y"]}', '{"a": [1]}', "\0"]
)
def test_garbled_state_counts_as_none(tmp_path: Path, garbage: str) -> None:
    (tmp_path / "supervisor.json").write_text(garbage)
    (tmp_path / "processes.json").write_text(garbage)
    assert state.supervisor(tmp_path) is None
    assert state.processes(tmp_path) == {}


def test_missing_state_counts_as_none(tmp_path: Path) -> None:
    assert state.supervisor(tmp_path / "no") is None
    assert state.processes(tmp_path / "no") == {}


def test_run_directories_leave_room_for_socket_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/tmp")
    assert len(str(run_dir("x" * 32))) < SOCKET_PATH_MAX
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/" + "y" * 90)
    with pytest.raises(UsageError, match="too long"):
        run_dir("x")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("USB4RDMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_thing_is_built_once_per_key(own_cache: Path) -> None:
    built: list[Path] = []

    def build(target: Path) -> None:
        built.append(target)
        target.write_text("x")

    first = cache.ensure("things", "t", {"v": 1}, build)
    assert cache.ensure("things", "t", {"v": 1}, build) == first
    assert cache.ensure("things", "t", {"v": 2}, build) != first
    assert len(built) == 2


def test_a_failed_build_leaves_nothing_that_looks_like_a_result(own_cache: Path) -> None:
    def fail(target: Path) -> None:
        target.mkdir()
        (target / "half").write_text("x")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        cache.ensure("things", "t", 1, fail)
    assert not cache.entry_path("things", "t", 1).exists()
    assert list((own_cache / "tmp").iterdir()) == []


def test_what_a_killed_build_left_is_not_mixed_into_the_next(own_cache: Path) -> None:
    left = own_cache / "tmp" / cache.entry_path("things", "t", 1).name
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    path = cache.ensure("things", "t", 1, lambda target: target.mkdir())
    assert list(path.iterdir()) == []


def test_only_the_newest_entries_of_a_name_are_kept(own_cache: Path) -> None:
    def build(target: Path) -> None:
        target.write_text("x")

    other = cache.ensure("things", "t-other", 1, build)
    paths = [cache.ensure("things", "t", number, build, keep=2) for number in range(4)]
    assert [path.exists() for path in paths].count(True) == 2
    assert paths[-1].exists()
    assert other.exists()


def test_the_digest_of_files_depends_on_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    before = cache.digest_of_files([one, two], tmp_path)
    assert cache.digest_of_files([two, one], tmp_path) == before
    two.write_text("3")
    assert cache.digest_of_files([one, two], tmp_path) != before
