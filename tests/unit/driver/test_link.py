# SPDX-License-Identifier: GPL-2.0-or-later
"""The pure parts of the driver's link layer, compiled for user space with sanitizers.

Layouts are compared with the tables of docs/wire-protocol.md.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
SOURCE = Path(__file__).with_name("link_check.c")


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("link") / "link_check"
    subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
         "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         "-o", str(binary), str(SOURCE)],
        check=True,
    )  # fmt: skip
    return binary


def run(checker: Path, *args: str) -> str:
    done = subprocess.run([checker, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("done\n")
    return done.stdout


def counts(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", text)}


def documented(struct: str) -> dict[str, tuple[int, int]]:
    """Field -> (offset, size) from the table under the comment `<!-- layout: struct -->`."""
    text = (TOP / "docs" / "wire-protocol.md").read_text(encoding="utf-8")
    table = text.split(f"<!-- layout: {struct} -->", 1)[1].split("\n\n", 2)[1]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", table, re.M)
    return {name: (int(offset), int(size)) for offset, size, name in rows}


@pytest.mark.parametrize(
    "struct",
    ["u4_link_hdr", "u4_net_hdr", "u4_ctl_hdr", "u4_ctl_hello", "u4_ctl_relay", "u4_ctl_path"],
)
def test_layouts_are_those_of_the_documentation(checker: Path, struct: str) -> None:
    rows = re.findall(rf"^{struct}\.(\w+) (\d+) (\d+)$", run(checker, "layout"), re.M)
    real = {name: (int(offset), int(size)) for name, offset, size in rows}
    assert documented(struct) == real


def test_without_losses_every_run_is_whole(checker: Path) -> None:
    got = counts(run(checker, "clean"))
    # Every 17th burst has no raw frames; the last run is not confirmed by a header yet.
    assert got == {"whole": 1000 - 1000 // 17 - 1, "broken": 0, "lost": 0}


def test_a_run_with_fewer_or_more_frames_than_announced_is_not_whole(checker: Path) -> None:
    run(checker, "short")


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_run_with_a_lost_frame_is_never_called_whole(checker: Path, seed: str) -> None:
    got = counts(run(checker, "lossy", seed, "200000"))
    # Else the test looked at nothing: losses that hide from the rolling number must occur.
    assert got["dropped"] > 1000
    assert got["whole"] > 1000
    assert got["broken"] > 1000
    assert got["wrong_place"] > 0
