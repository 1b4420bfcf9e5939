# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that scenarios with Open MPI are told in: hosts that reach each other by ssh, mpirun,
UCX on one device."""

from __future__ import annotations

import scenario
from lab.api import Host, Lab, Result
from scenario import DEVICE

# Programs that poll starve a kernel thread that collects huge pages for so long that the kernel
# complains.
KERNEL_ARGUMENTS = "transparent_hugepage=never"
# Ranks that share a CPU let each other run. The hosts' names are of the Ethernet, so launching
# works whatever the device does.
MPIRUN = (
    "mpirun --allow-run-as-root --map-by slot --mca plm_rsh_agent ssh "
    "--prtemca prte_if_include eth0 --mca mpi_yield_when_idle 1"
)
# UCX gives up connections of emulated hosts that are starved for half a minute. Its own choice
# of fences, for windows, asks for flush(remote), which it can only do on one vendor's devices.
UCX = {"UCX_UD_VERBS_TIMEOUT": "300s", "UCX_FENCE_MODE": "weak"}
SSHD = """
set -e
mkdir -p /run/sshd /root/.ssh
chmod 700 /root/.ssh
ssh-keygen -A >/dev/null
cat >/root/.ssh/config <<END
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
END
pgrep -x sshd >/dev/null || /usr/sbin/sshd
"""
KEY = "[ -e /root/.ssh/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519"


def launcher(lab: Lab, *programs: str) -> Host:
    """Host a, from where ssh to all hosts works with a key made for this; on all hosts are these
    programs of tests/vm/guest/."""
    first = lab["a"]
    for host in lab.hosts.values():
        host.run(SSHD, check=True)
    first.run(KEY, check=True)
    key = first.run("cat /root/.ssh/id_ed25519.pub", check=True).out
    for host in lab.hosts.values():
        host.run("cat >/root/.ssh/authorized_keys", stdin=key.encode(), check=True)
        for name in programs:
            scenario.program(host, name)
    return first


def link_local(host: Host, device: str = DEVICE) -> int:
    """The index of the fe80:: GID."""
    return min(index for index, gid in scenario.gids(host, device).items() if gid[:4] == "fe80")


def ipv4(host: Host, device: str = DEVICE) -> int:
    """The index of the first IPv4 GID."""
    return min(index for index, gid in scenario.gids(host, device).items() if ":ffff:" in gid)


def ucx(transport: str, gid: int, device: str = DEVICE) -> dict[str, str]:
    """UCX on one device, GID and transport."""
    where = {"UCX_NET_DEVICES": f"{device}:1", "UCX_TLS": f"{transport},self"}
    return UCX | where | {"UCX_IB_GID_INDEX": str(gid)}


def over_ucx(transport: str, gid: int, device: str = DEVICE) -> str:
    """Open MPI on UCX, as mpirun is told."""
    env = "".join(f" -x {name}={value}" for name, value in ucx(transport, gid, device).items())
    return f"--mca pml ucx --mca osc ucx{env}"


def mpi(host: Host, ranks_each: int, how: str, program: str, seconds: float = 240.0) -> Result:
    """An Open MPI program on both hosts."""
    where = f"--host a-net:{ranks_each},b-net:{ranks_each} -np {2 * ranks_each}"
    return host.run(f"{MPIRUN} {where} {how} {program}", timeout=seconds)


def moved(host: Host, device: str = DEVICE) -> int:
    """Bytes that the RDMA device has sent and received; its network interface does not count."""
    folder = f"/sys/class/infiniband/{device}/ports/1/hw_counters"
    both = host.run(f"cat {folder}/tx_bytes {folder}/rx_bytes", check=True).out.split()
    return sum(int(one) for one in both)
