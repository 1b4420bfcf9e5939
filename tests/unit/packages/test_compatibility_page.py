# SPDX-License-Identifier: GPL-2.0-or-later
"""The page of what works is made from results, the same from the same results."""

from __future__ import annotations

import json
from pathlib import Path

import compatibility
import pytest
from compat import Compatibility, remember_soft_roce


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Rows of two tests on two kernels, written as tests in virtual machines write them."""
    folder = tmp_path / "compatibility"
    for kernel in ("7.2.13+deb13-amd64", "6.12.107+deb13-amd64"):
        one = Compatibility("test_perftest.all", kernel, folder)
        one.works("perftest", "ib_write_bw -q 16")
        one.works("perftest", "ib_write_bw -q 4")
        one.fails("perftest", "ib_write_bw -c XRC", "no XRC | at all")
        one.write()
    other = Compatibility("test_mpi.ring", "7.2.13+deb13-amd64", folder)
    other.works("mpi", "mpirun -np 4", "4 ranks", soft_roce="fails")
    other.write()
    remember_soft_roce("perftest", {"ib_write_bw -q 4": "works"}, tmp_path / "soft-roce")
    remember_soft_roce("perftest", {"ib_write_bw -q 16": "fails"}, tmp_path / "soft-roce")
    return tmp_path


def test_rows_of_several_kernels_are_one_line_and_stand_in_natural_order(results: Path) -> None:
    lines = compatibility.collect(results)
    assert [line.how for line in lines] == [
        "ib_write_bw -c XRC",
        "ib_write_bw -q 4",
        "ib_write_bw -q 16",
        "mpirun -np 4",
    ]
    assert lines[1].kernels == {"6.12", "7.2"}


def test_what_soft_roce_did_comes_from_the_row_or_from_its_own_run(results: Path) -> None:
    verdicts = {line.how: line.soft_roce for line in compatibility.collect(results)}
    assert verdicts == {
        "ib_write_bw -c XRC": "",
        "ib_write_bw -q 4": "works",
        "ib_write_bw -q 16": "fails",
        "mpirun -np 4": "fails",
    }


def test_the_page_names_version_kernels_and_reasons(results: Path) -> None:
    page = compatibility.render(compatibility.collect(results), "1.2.3", "2026-01-02")
    assert "driver 1.2.3, kernel 6.12, 7.2, results of 2026-01-02" in page
    assert "| perftest | 3 | 2 | 1 | 1 of 2 |" in page
    assert "| perftest | `ib_write_bw -c XRC` |  | 6.12, 7.2 | no XRC \\| at all |" in page
    assert "| `mpirun -np 4` | works | fails | 7.2 | 4 ranks |" in page


def test_the_order_of_the_files_does_not_matter(results: Path) -> None:
    before = compatibility.collect(results)
    folder = results / "compatibility"
    for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
        rows = json.loads(path.read_text(encoding="utf-8"))
        (folder / f"{number}.json").write_text(json.dumps(rows[::-1]), encoding="utf-8")
        path.unlink()
    assert compatibility.collect(results) == before


def test_a_result_that_differs_between_kernels_is_two_lines(results: Path) -> None:
    other = Compatibility("test_perftest.all", "6.12.107", results / "compatibility")
    other.fails("perftest", "ib_write_bw -q 4", "not there yet")
    other.write()
    lines = [line for line in compatibility.collect(results) if line.how == "ib_write_bw -q 4"]
    assert [(line.works, line.kernels) for line in lines] == [(False, {"6.12"}), (True, {"7.2"})]


def test_nothing_is_written_without_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "page.md"
    arguments = ["compatibility.py", "--results", str(tmp_path), "--output", str(output)]
    monkeypatch.setattr("sys.argv", arguments)
    assert compatibility.main() == 1
    assert not output.exists()


def test_the_driver_says_its_version() -> None:
    assert compatibility.driver_version()
