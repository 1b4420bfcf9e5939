# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines grow with what the environment says of the machine, and never shrink."""

from __future__ import annotations

import pytest
from lab.patience import VARIABLE, patient


@pytest.mark.parametrize(("asked", "seconds"), [("", 10.0), ("6", 60.0), ("0.1", 10.0)])
def test_a_deadline_is_as_much_longer_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, asked: str, seconds: float
) -> None:
    monkeypatch.setenv(VARIABLE, asked)
    assert patient(10.0) == seconds
