# SPDX-License-Identifier: GPL-2.0-or-later
"""rdma-core's own tests, of the versions of Debian 13 and sid, on our device and on Soft-RoCE.

All by loopback on one host, one process a module: 56.1 in a, 65 in b, at the same time.
"""

from __future__ import annotations

from typing import Any

import pytest
import rdma_core
from compat import Compatibility
from lab.api import Lab
from rdma_core import SOFT_ROCE, Suite
from scenario import DEVICE

pytestmark = pytest.mark.timeout(1800)

# At least: Debian moves on.
VERSIONS = (56, 65)


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return rdma_core.lab_options()


def record(suite: Suite, compat: Compatibility) -> None:
    """Keep one version's figures, a row for each module."""
    suite.save()
    for module in suite.modules:
        ours = suite.counts(DEVICE, module)
        area = f"rdma-core {suite.version} tests"
        theirs = suite.note(SOFT_ROCE, module)
        if ours["pass"]:
            compat.works(area, module, suite.note(DEVICE, module), soft_roce=theirs)
        else:
            reasons = sorted({why for name, why in suite.skips(DEVICE) if name == module})
            compat.fails(area, module, f"skipped: {'; '.join(reasons)}", soft_roce=theirs)


def test_rdma_cores_own_tests_pass_as_on_soft_roce(
    lab: Lab, compat: Compatibility, capfd: pytest.CaptureFixture[str]
) -> None:
    a, b = lab["a"], lab["b"]
    for host in (a, b):
        rdma_core.prepare(host)
    suites = rdma_core.run_both({"": a, "rdma-core-65": b})
    for suite, version in zip(suites, VERSIONS, strict=True):
        assert int(suite.version.split(".")[0]) >= version
    with capfd.disabled():
        print("", *(suite.table() for suite in suites), sep="\n")
    for suite in suites:
        record(suite, compat)
    bad = [line for suite in suites for line in suite.bad(DEVICE)]
    assert not bad, "\n\n".join(bad)
    for suite in suites:
        ours, theirs = suite.counts(DEVICE)["pass"], suite.counts(SOFT_ROCE)["pass"]
        assert ours >= theirs, f"rdma-core {suite.version}: {ours} passed, Soft-RoCE has {theirs}"
        skipped = suite.counts(DEVICE, "test_rdmacm")["skip"]
        assert not skipped, f"rdma-core {suite.version}: {skipped} tests of rdmacm did not run"
