# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile peer against the transport: the fuzzer's kept inputs, and random ones.

`make fuzz` looks for new ones. Memory outside of the region, locks taken twice, use counts that
leak: transport_fuzz.c and the sanitizers notice.
"""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from fuzz.userspace import SANITIZERS, TOP, build

FUZZ = TOP / "tests/fuzz"


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("fuzz") / "transport_fuzz"
    flags = ("-O1", "-Werror", "-DSTANDALONE", *SANITIZERS)
    return build(FUZZ / "transport_fuzz.c", binary, *flags)


def test_inputs_that_the_fuzzer_has_kept_are_survived(fuzzer: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(FUZZ / "transport.zip") as archive:
        names = archive.namelist()
        archive.extractall(tmp_path)
    words = [fuzzer, *(tmp_path / name for name in names)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.strip() == f"inputs={len(names)}"
    assert len(names) > 100


def test_random_scripts_of_a_hostile_peer_are_survived(fuzzer: Path) -> None:
    words = [fuzzer, "-r", "20261121", "1000"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.strip() == "inputs=1000"
