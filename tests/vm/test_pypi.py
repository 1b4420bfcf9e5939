# SPDX-License-Identifier: GPL-2.0-or-later
"""A framework of PyPI in a virtual environment in a container: it finds the system's libibverbs,
that finds the device, and a buffer goes to the other host by RDMA.

The framework is Mooncake's transfer engine, by which vLLM and SGLang move key-value caches. Run
by `make test-frameworks`.
"""

from __future__ import annotations

import json
from typing import Any

import mpirun
import pairs
import pytest
import scenario
from compat import Compatibility
from lab.api import Host, Lab

pytestmark = [pytest.mark.timeout(1200), pytest.mark.frameworks]

SIZE = 4 << 20
SYSTEM_LIBRARY = "/usr/lib/x86_64-linux-gnu/libibverbs.so.1"


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return pairs.lab_options() | {"extra": ("pypi",), "mem": 2560}


def engine(host: Host, *words: str) -> list[str]:
    """The command that runs the program in the container of `host`."""
    text = (scenario.GUEST_PROGRAMS / "transfer_engine.py").read_text(encoding="utf-8")
    container = scenario.program(host, "in_container")
    own = scenario.rdma_address(host)
    return [container, "pypi", "/opt/venv/bin/python", "-c", text, own, str(SIZE), *words]


def test_a_wheel_of_pypi_in_a_container_writes_by_rdma(lab: Lab, compat: Compatibility) -> None:
    a, b = lab["a"], lab["b"]
    before = mpirun.moved(a)
    with b.start(engine(b), timeout=600) as receiver:
        receiver.wait_for('"session"', timeout=300)
        line = next(line for line in receiver.out.splitlines() if '"session"' in line)
        ready = json.loads(line)
        words = engine(a, ready["session"], str(ready["address"]))
        sent = scenario.last_json(a.run(words, timeout=600).check())
        receiver.write("done\n")
        received = scenario.last_json(receiver.wait(60).check())
    assert sent["result"] == 0
    assert received["sha256"] == sent["sha256"]
    for side in (ready, sent):
        assert any(path.startswith(SYSTEM_LIBRARY) for path in side["verbs"]), side
    assert mpirun.moved(a) >= before + SIZE
    compat.works("PyPI, in a container", "mooncake-transfer-engine-non-cuda: transfer_sync_write")
