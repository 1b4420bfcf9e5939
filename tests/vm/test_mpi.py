# SPDX-License-Identifier: GPL-2.0-or-later
"""Message passing over the cable: Open MPI on UCX and on libfabric, MPICH, ucx_perftest.

Programs are launched with ssh over the Ethernet, data may take our device only. Two ranks a host
share one CPU and poll, so these are slow here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import mpirun
import pairs
import pytest
import scenario
from compat import Compatibility, remember_soft_roce
from lab.api import Host, Lab
from lab.errors import LabError
from mpirun import ipv4, link_local, moved, mpi, over_ucx, ucx

pytestmark = pytest.mark.timeout(900)

AREA = "MPI"
# Bytes; each of these programs moves more.
ENOUGH = 200_000


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return pairs.lab_options() | {"extra": ("mpi",), "append": mpirun.KERNEL_ARGUMENTS}


@pytest.fixture
def a(lab: Lab) -> Host:
    """Host a, where programs are launched."""
    return mpirun.launcher(lab, "mpi_check.py", "mpich_check.py")


def check(a: Host, how: str, words: str, ranks_each: int = 1, seconds: float = 280.0) -> None:
    """Run mpi_check.py; AssertionError unless all it did was right, on both hosts."""
    program = f"python3 {scenario.INSIDE}/mpi_check.py {words}"
    result = mpi(a, ranks_each, how, program, seconds)
    assert result.rc == 0, f"{result.command}\n{result.out}\n{result.err}"
    summary = scenario.last_json(result)
    assert summary["hosts"] == ["a", "b"]
    assert summary["ranks"] == 2 * ranks_each


# The whole range of sizes and all four ranks are for one of these; the others show that the
# transport and the GID do.
@pytest.mark.parametrize(
    ("transport", "gid", "ranks_each", "words"),
    [
        ("rc", ipv4, 2, f"--largest {16 << 20}"),
        ("rc", link_local, 1, "--largest 65536 --rma"),
        ("ud", ipv4, 1, "--largest 65536"),
        ("ud", link_local, 1, "--largest 65536"),
    ],
    ids=["rc, IPv4 GID", "rc, fe80 GID", "ud, IPv4 GID", "ud, fe80 GID"],
)
def test_open_mpi_over_ucx_computes_what_it_should(
    lab: Lab,
    a: Host,
    compat: Compatibility,
    transport: str,
    gid: Callable[..., int],
    ranks_each: int,
    words: str,
) -> None:
    before = moved(a)
    check(a, over_ucx(transport, gid(a)), words, ranks_each)
    assert moved(a) > before + ENOUGH
    how = f"Open MPI and mpi4py over UCX, UCX_TLS={transport},self, "
    how += "IPv4 GID" if gid is ipv4 else "fe80 GID"
    compat.works(AREA, how)
    if "--rma" in words:
        note = "UCX 1.18 needs UCX_FENCE_MODE=weak: its flush(remote) is for one vendor's devices"
        compat.works(AREA, "Open MPI's one-sided operations over UCX (osc ucx)", note)
    if os.environ.get(pairs.COMPARE):
        on_soft_roce(lab, a, transport, gid, how)


def on_soft_roce(lab: Lab, a: Host, transport: str, gid: Callable[..., int], how: str) -> None:
    """The same, smaller, on Soft-RoCE over the Ethernet of the same hosts."""
    for host in lab.hosts.values():
        host.run("modprobe rdma_rxe && rdma link add rxe0 type rxe netdev eth0", check=True)
    try:
        impatient = " -x UCX_UD_VERBS_TIMEOUT=30s"
        how_there = over_ucx(transport, gid(a, "rxe0"), "rxe0").replace(
            " -x UCX_UD_VERBS_TIMEOUT=300s", impatient
        )
        check(a, how_there, "--largest 16384", 1, 120)
        worked = True
    except (AssertionError, LabError):
        worked = False
    finally:
        for host in lab.hosts.values():
            host.run("rdma link delete rxe0")
    remember_soft_roce(AREA, {how: worked})


def test_open_mpi_over_libfabric_computes_what_it_should(a: Host, compat: Compatibility) -> None:
    before = moved(a)
    how = "--mca pml cm --mca mtl ofi --mca mtl_ofi_provider_include 'verbs;ofi_rxm'"
    check(a, f"{how} -x FI_VERBS_IFACE=u4rdma0", "--largest 65536")
    assert moved(a) > before + ENOUGH
    compat.works(AREA, "Open MPI over libfabric, verbs;ofi_rxm")


def test_mpich_sums_what_it_should(a: Host, compat: Compatibility) -> None:
    before = moved(a)
    env = " ".join(f"-env {name} {value}" for name, value in ucx("rc", ipv4(a)).items())
    launch = "mpiexec.mpich -launcher ssh -iface eth0 -hosts a-net,b-net -ppn 1 -n 2"
    program = f"python3 {scenario.INSIDE}/mpich_check.py {1 << 20}"
    result = a.run(f"{launch} {env} {program}", timeout=240)
    assert result.rc == 0, f"{result.out}\n{result.err}"
    assert scenario.last_json(result)["ranks"] == 2
    assert moved(a) > before + ENOUGH
    compat.works(AREA, "MPICH over UCX, UCX_TLS=rc,self, IPv4 GID")


def test_ucx_perftest_ends_well(a: Host, compat: Compatibility) -> None:
    how = over_ucx("rc", ipv4(a))
    for test in ("tag_lat", "ucp_put_bw", "ucp_get", "ucp_fadd"):
        mpi(a, 1, how, f"ucx_perftest -t {test} -n 200 -w 10 -s 8", 120).check()
        compat.works("UCX", f"ucx_perftest -t {test}")
