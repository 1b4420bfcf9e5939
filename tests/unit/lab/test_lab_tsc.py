# SPDX-License-Identifier: GPL-2.0-or-later
"""Emulated hosts are told how fast their time stamp counter runs."""

from __future__ import annotations

import platform

import pytest
from lab import tsc

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines have none")


def test_two_measurements_agree() -> None:
    first = tsc.kilohertz.__wrapped__()
    second = tsc.kilohertz.__wrapped__()
    assert first > 100_000
    assert abs(first - second) <= first // 500
