# SPDX-License-Identifier: GPL-2.0-or-later
"""The fuzzers of the driver's parsers and queues, each for a moment: kept inputs and some new ones.

`make fuzz` runs them for long; what they look for is in tests/fuzz/targets.py.
"""

from __future__ import annotations

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, Target
from fuzz.userspace import LIBFUZZER

NEW = 3000


@pytest.fixture(scope="module")
def fuzzers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them, compiled side by side."""
    folder = tmp_path_factory.mktemp("fuzz")

    def compile_one(target: Target) -> Path:
        return target.compile(folder / target.name, "-O0", "-Werror", *LIBFUZZER, compiler="clang")

    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(compile_one, TARGETS))
    return {target.name: path for target, path in zip(TARGETS, built, strict=True)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_hostile_bytes_break_no_promise(
    fuzzers: dict[str, Path], target: Target, tmp_path: Path
) -> None:
    kept = target.unpack(tmp_path / "corpus")
    assert kept > 50  # else it begins from nothing
    runs = kept + NEW
    words = [str(fuzzers[target.name]), "-seed=1", f"-runs={runs}", f"-max_len={target.longest}"]
    words += ["-print_final_stats=1", f"-artifact_prefix={tmp_path}/", str(tmp_path / "corpus")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    ran = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    assert ran is not None
    assert int(ran[1]) >= runs
