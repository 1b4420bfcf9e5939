# SPDX-License-Identifier: GPL-2.0-or-later
"""Labs for the tests: booted when first wanted, kept while the next test wants the same.

Two labs at once would starve each other on a small machine, so a test that wants another one
ends the one that runs. Tests that share a lab therefore stand in one file. A test that leaves a
lab broken costs the next one a boot, never its verdict.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import again
import pairs
import pytest
import scenario
import versions
from compat import Compatibility
from lab import crashes, debug_kernel, kernels
from lab.api import Lab
from lab.errors import LabError
from lab.patience import factor
from lab.progress import say
from sanitized import Outcomes

LAB = f"test-{os.getpid()}"
LOGS = Path(__file__).resolve().parents[2] / "build/test-logs"
KERNEL = os.environ.get(pairs.KERNEL) or kernels.DEFAULT
# Whether it is a kernel that looks for faults instead of running fast.
SANITIZERS = KERNEL in debug_kernel.LABELS
OUTCOMES = Outcomes()
REPORT = pytest.StashKey[dict[str, pytest.TestReport]]()
# Lines that a kernel prints for what a test does on purpose, and that mean no trouble.
# A program that crashes is not the kernel's trouble; whoever ran it looks at how it ended.
HARMLESS = re.compile(
    r"loading out-of-tree module|module verification failed|taints kernel|"
    r"traps: \S+ general protection fault ip:"
)


class Keeper:
    """The one lab that runs."""

    def __init__(self) -> None:
        self.lab: Lab | None = None
        self.options: dict[str, Any] = {}

    def want(self, options: dict[str, Any]) -> Lab:
        """The lab with these options, in working order; USB4RDMA_KERNEL says which kernel the
        hosts run where the test does not."""
        options = {"kernel": KERNEL} | options
        if self.lab is not None and (self.options != options or not self.healthy()):
            self.end()
        if self.lab is None:
            self.options = options
            try:
                self.lab = Lab.up(name=LAB, **options)
            except LabError:
                give_up(LAB)
                raise
            if options.get("kernel") == debug_kernel.DEBUG:
                scenario.scan_memory_at_the_end_only(self.lab)
        return self.lab

    def healthy(self) -> bool:
        """Whether the hosts answer, all cables are plugged and the links active."""
        assert self.lab is not None
        try:
            if set(self.lab.status().values()) != {"up"}:
                return False
            cables = self.lab.stat()["cables"]
            if not all(cables[name]["plugged"] for name in self.lab.plan.cables):
                return False
            if self.options.get("install", "none") != "none":
                self.lab.wait_links(30.0)
        except LabError as error:
            say(f"the lab is not in order, starting another: {error}")
            return False
        return True

    def end(self) -> None:
        """End the lab, if one runs; on the sanitizer kernel nothing may have leaked in it."""
        if self.lab is None:
            return
        leaks = ""
        if self.options.get("kernel") == debug_kernel.DEBUG:
            with contextlib.suppress(LabError):
                leaks = scenario.memory_leaks(self.lab)
        if leaks:
            self.lab.save_logs(LOGS / "leaks")
        self.lab.down()
        self.lab = None
        assert not leaks, f"kmemleak says:\n{leaks}"


def give_up(name: str) -> None:
    """End a lab that came up only halfway, and keep what it says."""
    with contextlib.suppress(LabError):
        lab = Lab(name)
        lab.save_logs(LOGS / "boot")
        say(f"logs: {(LOGS / 'boot').relative_to(LOGS.parents[1])}")
        lab.down()


@pytest.fixture(scope="session")
def keeper() -> Iterator[Keeper]:
    """The session's labs."""
    keeper = Keeper()
    yield keeper
    keeper.end()


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    """What lab the tests of a file want; the file says so by a fixture of this name."""
    return {"install": "driver", "net": True}


@pytest.fixture
def lab(
    request: pytest.FixtureRequest, keeper: Keeper, lab_options: dict[str, Any]
) -> Iterator[Lab]:
    """Two hosts with the driver loaded and the link active. After the test no kernel may have
    complained and no DMA may have gone astray, whatever else the test was about."""
    lab = keeper.want(lab_options)
    alarms = len(lab.alarms())
    lab.cable("reset_stat")
    yield lab
    reports = request.node.stash.get(REPORT, {})
    try:
        lab.inject_off()
        new = [line for line in lab.alarms()[alarms:] if not HARMLESS.search(line)]
        faults = scenario.dma_faults(lab)
    except LabError as error:
        new, faults = [f"the lab does not answer any more: {error}"], {}
    if new or faults or any(report.failed for report in reports.values()):
        folder = LOGS / re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.name)
        lab.save_logs(folder)
        say(f"logs: {folder.relative_to(LOGS.parents[1])}")
    if any("tb_cfg_request" in line for line in new):
        new.append("(a fault of thunderbolt's own looks so: docs/thunderbolt-core.md)")
    assert not new, "a kernel complained:\n" + "\n".join(new)
    assert not faults, f"DMA to memory that is not mapped: {faults}"


@pytest.fixture
def compat(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Compatibility]:
    """Where a test says which programs worked; kept only if the test passes, and on a kernel that
    people run."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{request.node.path.stem}.{request.node.name}")
    compat = Compatibility(name, lab.plan.kernel_version)
    yield compat
    reports = request.node.stash.get(REPORT, {})
    if not SANITIZERS and not any(report.failed for report in reports.values()):
        compat.write()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests may take longer where everything does."""
    for item in items:
        limit = item.get_closest_marker("timeout")
        if limit and factor() > 1:
            item.add_marker(pytest.mark.timeout(limit.args[0] * factor()), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A test whose host this machine has ended runs again, once."""
    if item.get_closest_marker("vm") is None:
        return None
    return again.protocol(item, nextitem, lambda: crashes.take(LAB))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the fixtures know how the test went."""
    report = yield
    if report.when == "setup":
        item.stash[REPORT] = {}
    item.stash[REPORT][report.when or ""] = report
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """What a sanitizer kernel had to say is kept."""
    if SANITIZERS:
        OUTCOMES.note(report.nodeid, report.when or "", report.outcome)


def pytest_sessionfinish() -> None:
    """For docs/reliability.md."""
    if SANITIZERS and (OUTCOMES.ran or OUTCOMES.failed):
        OUTCOMES.write(versions.current(), KERNEL, kernels.ensure(KERNEL).version)
