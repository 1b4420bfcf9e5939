# SPDX-License-Identifier: GPL-2.0-or-later
"""What holds for all tests: those in virtual machines are marked, and come last."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent


def pytest_configure() -> None:
    """A run that is told to end leaves no virtual machine behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _is_vm(item: pytest.Item) -> bool:
    return (TESTS / "vm") in item.path.parents


def _wants_own_lab(item: pytest.Item) -> bool:
    return hasattr(getattr(item, "module", None), "lab_options")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder, so that no test can forget; the cheap ones tell first what is broken.

    Among those in virtual machines, files that want the usual lab come first, so that it is
    booted once.
    """
    for item in items:
        if _is_vm(item):
            item.add_marker(pytest.mark.vm)
    items.sort(key=lambda item: (_is_vm(item), _wants_own_lab(item)))
