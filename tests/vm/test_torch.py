# SPDX-License-Identifier: GPL-2.0-or-later
"""PyTorch's distributed package over the cable: its MPI backend, on Open MPI over UCX.

Run by `make test-frameworks`: the image is 1.8 GB larger and `import torch` alone takes an
emulated host more than half a minute.
"""

from __future__ import annotations

from typing import Any

import mpirun
import pairs
import pytest
import scenario
from compat import Compatibility
from lab.api import Lab

pytestmark = [pytest.mark.timeout(2400), pytest.mark.frameworks]


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    more = {"extra": ("torch",), "mem": 2560, "append": mpirun.KERNEL_ARGUMENTS}
    return pairs.lab_options() | more


def test_a_training_on_two_hosts_has_the_losses_of_one_process(
    lab: Lab, compat: Compatibility
) -> None:
    a = mpirun.launcher(lab, "torch_check.py")
    before = mpirun.moved(a)
    how = mpirun.over_ucx("rc", mpirun.ipv4(a))
    program = f"python3 {scenario.INSIDE}/torch_check.py"
    result = mpirun.mpi(a, 1, how, program, 1500)
    assert result.rc == 0, f"{result.out}\n{result.err}"
    summary = scenario.last_json(result)
    assert summary["ranks"] == 2
    assert mpirun.moved(a) > before + 1_000_000
    note = f"largest relative difference of a loss {summary['largest difference']:.1g}"
    area = "PyTorch, MPI backend over UCX"
    compat.works(area, "all_reduce, broadcast, all_gather")
    compat.works(area, "data-parallel training, losses of one process", note)
