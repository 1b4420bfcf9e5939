# SPDX-License-Identifier: GPL-2.0-or-later
"""authorized_peers.d: a file that cannot be used costs only its own host."""

from __future__ import annotations

from pathlib import Path

import pytest

from usb4rdmad import placed
from usb4rdmad.model import Trust

from .helpers import PEER_KEY

GOOD = f'public_key = "{PEER_KEY.hex()}"\nname = "mars"\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        'public_key = "7"\n',
        GOOD.replace("mars", "mars mars"),
        GOOD + "extra = 1\n",
        GOOD + "x = " + "[" * 3500,
        "#" * (placed.FILE_MAX + 1),
    ],
    ids=["empty", "no TOML", "no key", "no name", "more", "deep", "large"],
)
def test_a_bad_file_is_left_out_and_the_others_count(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "b.toml").write_text(GOOD)
    (found,) = placed.load(tmp_path)
    assert (found.public_key, found.name, found.trust) == (PEER_KEY, "mars", Trust.PLACED)


def test_no_folder_has_no_keys(tmp_path: Path) -> None:
    assert placed.load(tmp_path / "none") == ()
