# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages, read once."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_pages import Page, read

TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def pages() -> dict[Path, Page]:
    """Every page of the tree that is read as documentation, by its path."""
    return read(TOP)
