# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of what works is made from results, the same from the same results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import compatibility
import pytest
from compat import Compatibility, remember_soft_roce


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Rows of two tests on two kernels, written as tests in virtual machines write them."""
    folder = tmp_path / "compatibility"
    for kernel in ("7.2.13+deb13-amd64", "6.12.107+deb13-amd64"):
        one = Compatibility("test_perftest.test_all", kernel, folder)
        one.works("perftest", "ib_write_bw -q 16")
        one.works("perftest", "ib_write_bw -q 4")
        one.fails("perftest", "ib_write_bw -c XRC", "no XRC | at all")
        one.write()
    other = Compatibility("test_mpi.test_ring", "7.2.13+deb13-amd64", folder)
    other.works("mpi", "mpirun -np 4", "4 ranks", soft_roce="fails")
    other.write()
    remember_soft_roce("perftest", {"ib_write_bw -q 4": "works"}, tmp_path / "soft-roce")
    remember_soft_roce("perftest", {"ib_write_bw -q 16": "fails"}, tmp_path / "soft-roce")
    return tmp_path


EMPTY: dict[str, Any] = {"driver": "", "tests": {}, "soft-roce": {}}


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    """The folder in which those two tests stand."""
    (tmp_path / "test_perftest.py").write_text("def test_all(\n")
    (tmp_path / "test_mpi.py").write_text("def test_ring(\n")
    return tmp_path


@pytest.fixture
def kept(results: Path, tests: Path) -> dict[str, Any]:
    """What `make docs-data` keeps of them."""
    return compatibility.gather(EMPTY, results, tests)


def test_rows_of_several_kernels_are_one_line_and_stand_in_natural_order(
    kept: dict[str, Any],
) -> None:
    lines = compatibility.collect(kept)
    assert [line.how for line in lines] == [
        "ib_write_bw -c XRC",
        "ib_write_bw -q 4",
        "ib_write_bw -q 16",
        "mpirun -np 4",
    ]
    assert lines[1].kernels == {"6.12", "7.2"}


def test_what_soft_roce_did_comes_from_the_row_or_from_its_own_run(kept: dict[str, Any]) -> None:
    verdicts = {line.how: line.soft_roce for line in compatibility.collect(kept)}
    assert verdicts == {
        "ib_write_bw -c XRC": "",
        "ib_write_bw -q 4": "works",
        "ib_write_bw -q 16": "fails",
        "mpirun -np 4": "fails",
    }


def test_the_page_names_version_kernels_and_reasons(kept: dict[str, Any]) -> None:
    page = compatibility.render(compatibility.collect(kept), "1.2.3", "2026-01-02")
    assert "driver 1.2.3, kernel 6.12, 7.2, results of 2026-01-02" in page
    assert "| perftest | 3 | 2 | 1 | 1 of 2 |" in page
    assert "| perftest | `ib_write_bw -c XRC` |  | 6.12, 7.2 | no XRC \\| at all |" in page
    assert "| `mpirun -np 4` | works | fails | 7.2 | 4 ranks |" in page


def test_the_order_of_the_files_does_not_matter(
    kept: dict[str, Any], results: Path, tests: Path
) -> None:
    before = compatibility.collect(kept)
    for path in (results / "compatibility").iterdir():
        rows = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps(rows[::-1]), encoding="utf-8")
    again = compatibility.gather(EMPTY, results, tests)
    again["tests"] = dict(reversed(again["tests"].items()))
    assert compatibility.collect(again) == before


def test_a_result_that_differs_between_kernels_is_two_lines(results: Path, tests: Path) -> None:
    other = Compatibility("test_perftest.test_all-more-", "6.12.107", results / "compatibility")
    other.fails("perftest", "ib_write_bw -q 4", "not there yet")
    other.write()
    kept = compatibility.gather(EMPTY, results, tests)
    lines = [line for line in compatibility.collect(kept) if line.how == "ib_write_bw -q 4"]
    assert [(line.works, line.kernels) for line in lines] == [
        (False, {"6.12"}),
        (True, {"6.12", "7.2"}),
    ]


def test_what_is_kept_stays_until_its_test_is_run_again_or_is_gone(
    kept: dict[str, Any], tmp_path: Path, tests: Path
) -> None:
    nothing = tmp_path / "nothing"
    assert compatibility.gather(kept, nothing, tests) == kept | {
        "driver": compatibility.driver_version()
    }
    again = Compatibility("test_mpi.test_ring", "7.2.14+deb13-amd64", nothing / "compatibility")
    again.fails("mpi", "mpirun -np 4", "broken since")
    again.write()
    after = compatibility.gather(kept, nothing, tests)
    assert [(row["works"]) for row in after["tests"]["test_mpi.test_ring.7.2"]["rows"]] == [False]
    (tests / "test_mpi.py").write_text("def test_another(\n")
    assert not [n for n in compatibility.gather(kept, nothing, tests)["tests"] if "mpi" in n]


def test_the_page_tells_the_first_and_the_last_day_of_its_results(kept: dict[str, Any]) -> None:
    days = iter(("2026-02-03", "2026-02-01", "2026-02-02"))
    for one in kept["tests"].values():
        one["date"] = next(days)
    assert compatibility.dates(kept) == "2026-02-01 to 2026-02-03"


def test_the_driver_says_its_version() -> None:
    assert compatibility.driver_version()
