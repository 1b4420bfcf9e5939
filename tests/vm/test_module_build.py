# SPDX-License-Identifier: GPL-2.0-or-later
"""The module builds on every kernel we support, and nothing complains."""

from __future__ import annotations

from pathlib import Path

import build_module
import pytest


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kernel", ["6.12", "7.2", "7.3"])
def test_the_module_builds_without_warnings(kernel: str, tmp_path: Path) -> None:
    done = build_module.build_module(kernel, tmp_path, options=build_module.STRICT)
    assert done.code == 0, done.output[-4000:]
    assert not done.warnings, "\n".join(done.warnings)
    assert (tmp_path / build_module.MODULE).exists()
