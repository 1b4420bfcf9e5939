# SPDX-License-Identifier: GPL-2.0-or-later
"""What ran on the sanitizer kernel is recorded and told as it was."""

from __future__ import annotations

from pathlib import Path

import sanitizers
from vm.sanitized import Outcomes

GOOD, BAD = "tests/vm/test_rdma.py::test_good", "tests/vm/test_rdma.py::test_bad[1]"


def test_a_report_after_a_test_makes_it_a_failed_one(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "sanitizers")
    for test, last in ((GOOD, "passed"), (BAD, "failed")):
        outcomes.note(test, "setup", "passed")
        outcomes.note(test, "call", "passed")
        outcomes.note(test, "teardown", last)
    outcomes.note("tests/vm/test_mpi.py::test_no_hosts", "setup", "failed")
    outcomes.note("tests/vm/test_torch.py::test_left_out", "setup", "skipped")
    outcomes.write("0.1.0", "debug", "7.2.12-usb4rdma-debug")
    kept = sanitizers.gather({}, tmp_path)
    assert set(kept) == {"test_mpi@debug", "test_rdma@debug"}
    day = kept["test_rdma@debug"]["day"]
    told = sanitizers.part(kept)
    assert f"| `test_mpi.py` | debug | 0 | `test_no_hosts` | 0.1.0, {day} |" in told
    assert f"| `test_rdma.py` | debug | 2 | `test_bad[1]` | 0.1.0, {day} |" in told
    assert told.endswith("Kernels: 7.2.12-usb4rdma-debug.")


def test_newer_results_stay(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "sanitizers")
    outcomes.note(GOOD, "call", "passed")
    outcomes.write("0.1.0", "debug", "7.2.12-usb4rdma-debug")
    newer = {"ran": 9, "failed": [], "driver": "9", "kernel": "9", "day": "2999-01-01"}
    kept = sanitizers.gather({"test_rdma@debug": newer, "test_rdma@kcsan": newer}, tmp_path)
    assert kept == {"test_rdma@debug": newer, "test_rdma@kcsan": newer}
    assert "| `test_rdma.py` | kcsan | 9 | none | 9, 2999-01-01 |" in sanitizers.part(kept)
