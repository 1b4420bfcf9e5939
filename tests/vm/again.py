# SPDX-License-Identifier: GPL-2.0-or-later
"""A second run for a test that failed because the machine under the lab ended one of its hosts.

Only for that reason, only once, and said where the person sees it, with what the first run said.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from _pytest.runner import runtestprotocol


def protocol(
    item: pytest.Item, nextitem: pytest.Item | None, take_crashes: Callable[[], list[str]]
) -> bool:
    """A pytest_runtest_protocol(). `take_crashes()` says which hosts the machine has ended since
    it was asked last, a sentence each."""
    take_crashes()
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    crashes = take_crashes() if any(report.failed for report in reports) else []
    if crashes:
        said = [report.longreprtext for report in reports if report.failed]
        _tell(item, [*said, f"{'; '.join(crashes)}: the test runs again"])
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _tell(item: pytest.Item, paragraphs: list[str]) -> None:
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.ensure_newline()
        for text in paragraphs:
            reporter.write_line(text, yellow=True)
