# SPDX-License-Identifier: GPL-2.0-or-later
"""packaging/release refuses a tree that is no release, and says why."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
import versions

TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def release() -> ModuleType:
    loader = SourceFileLoader("release", str(TOP / "packaging/release"))
    spec = importlib.util.spec_from_loader("release", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def commit(tree: Path) -> None:
    """Make `tree` a repository with all in it committed."""
    for words in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", "all"),
    ):
        subprocess.run(["git", "-C", str(tree), *words], check=True)


@pytest.fixture
def tree(tmp_path: Path, release: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all files that a release looks at."""
    for name in versions.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((TOP / name).read_bytes())
    commit(tmp_path)
    monkeypatch.setattr(release, "TOP", tmp_path)
    monkeypatch.setattr(
        release.versions, "everywhere", lambda real=versions.everywhere: real(tmp_path)
    )
    return tmp_path


def test_this_tree_could_be_released(tree: Path, release: ModuleType) -> None:
    version = versions.current()
    release.check_versions(version)
    release.check_changes(version)
    release.check_tree(version)


def test_each_place_with_another_version_is_named(tree: Path, release: ModuleType) -> None:
    conf = tree / "dkms.conf"
    conf.write_text(conf.read_text().replace(versions.current(), "7.7.7"))
    with pytest.raises(release.NotReady, match=r"dkms\.conf: 7\.7\.7$"):
        release.check_versions(versions.current())


def test_a_version_without_changes_is_no_release(tree: Path, release: ModuleType) -> None:
    with pytest.raises(release.NotReady, match="says nothing"):
        release.check_changes("9.9.9")
    changes = tree / "CHANGELOG.md"
    changes.write_text("# Changes\n\n## 9.9.9 (2030-01-01)\n\n## 0.1.0 (2026-11-21)\n\n- x\n")
    with pytest.raises(release.NotReady, match="says nothing"):
        release.check_changes("9.9.9")


def test_unreleased_and_uncommitted_are_no_release(tree: Path, release: ModuleType) -> None:
    changelog = tree / "packaging/debian/changelog"
    changelog.write_text(changelog.read_text().replace("trixie", "UNRELEASED", 1))
    with pytest.raises(release.NotReady, match="UNRELEASED"):
        release.check_changes(versions.current())
    with pytest.raises(release.NotReady, match="changelog"):
        release.check_tree(versions.current())


def test_what_was_released_is_not_released_again(tree: Path, release: ModuleType) -> None:
    subprocess.run(["git", "-C", str(tree), "tag", f"v{versions.current()}"], check=True)
    with pytest.raises(release.NotReady, match="there already"):
        release.check_tree(versions.current())


@pytest.fixture
def nobody(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git is told of no person."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    for name in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)


def started(release: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a release without tests."""
    monkeypatch.setattr(sys, "argv", ["release", versions.current(), "--no-tests", *words])
    code: int = release.main()
    return code


@pytest.mark.usefixtures("nobody")
def test_a_tag_wants_a_person_before_anything_is_built(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[str] = []
    monkeypatch.setattr(release, "build_twice", built.append)
    assert started(release, monkeypatch, "--tag") == 1
    assert "user.email" in capsys.readouterr().err and not built
    assert started(release, monkeypatch) == 0
    assert built == [versions.current()]


def test_what_changes_while_it_is_checked_is_not_tagged(
    tree: Path,
    release: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "t@t")
    tags = ["git", "-C", str(tree), "tag"]

    def change(_version: str) -> None:
        (tree / "new").write_text("")

    def change_and_commit(version: str) -> None:
        change(version)
        commit(tree)

    monkeypatch.setattr(release, "build_twice", change)
    assert started(release, monkeypatch, "--tag") == 1
    assert "not committed" in capsys.readouterr().err
    (tree / "new").unlink()
    monkeypatch.setattr(release, "build_twice", change_and_commit)
    assert started(release, monkeypatch, "--tag") == 1
    assert "no longer" in capsys.readouterr().err
    assert not subprocess.run(tags, capture_output=True, check=True).stdout
    monkeypatch.setattr(release, "build_twice", lambda _version: None)
    assert started(release, monkeypatch, "--tag") == 0
    assert subprocess.run(tags, capture_output=True, check=True).stdout.decode() == (
        f"v{versions.current()}\n"
    )


def test_a_version_has_three_numbers() -> None:
    words = [sys.executable, str(TOP / "packaging/release"), "1.2"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "MAJOR.MINOR.PATCH" in done.stderr
