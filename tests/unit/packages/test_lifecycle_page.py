# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/lifecycle.md is made of what the tests wrote down."""

from __future__ import annotations

from pathlib import Path

import lifecycle
import lifefacts
import pytest
from pages.kept import load, save


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lifefacts, "RESULTS", tmp_path / "lifecycle")
    facts = lifefacts.Facts("two hosts")
    facts.add("upgrade", 75.04)
    facts.add("compile", 372.9, "DKMS")
    facts.add("messages lost", remark="none")
    facts.write("kernel-upgrade")
    return tmp_path


def test_the_page_has_each_step_with_its_time(results: Path) -> None:
    text = lifecycle.page(lifecycle.gather({}, results))
    assert "| upgrade | 75.0 s |  |" in text
    assert "| compile | 6 min 12 s | DKMS |" in text
    assert "| messages lost |  | none |" in text
    assert text.index("A kernel upgrade") < text.index("two hosts")


def test_newer_results_replace_older_ones_and_nothing_else(results: Path) -> None:
    old = {"date": "2020-01-01", "where": "", "version": "", "rows": []}
    newer = old | {"date": "2999-01-01"}
    merged = lifecycle.gather({"kernel-upgrade": old, "chroot": newer}, results)
    assert len(merged["kernel-upgrade"]["rows"]) == 3
    assert merged["chroot"] == newer
    assert lifecycle.gather({"kernel-upgrade": newer}, results)["kernel-upgrade"] == newer


def test_what_is_kept_comes_back(results: Path, tmp_path: Path) -> None:
    kept = lifecycle.gather({}, results)
    save(kept, tmp_path / "data/kept.json")
    assert load(tmp_path / "data/kept.json") == kept
    assert load(tmp_path / "none.json") == {}


def test_a_step_that_fails_is_not_written_down() -> None:
    facts = lifefacts.Facts("here")
    with pytest.raises(ValueError), facts.timed("broken"):
        raise ValueError
    assert not facts.rows
