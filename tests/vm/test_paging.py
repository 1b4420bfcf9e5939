# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory regions that are paged on demand follow what the process does with its memory."""

from __future__ import annotations

import errno

import pytest
import scenario
from lab.api import Host, Lab

CASES = {
    "first_touch",
    "pages_given_back",
    "memory_replaced",
    "child_keeps_its_copy",
    "own_side",
    "pages_vanish_meanwhile",
    "unmapped",
}


@pytest.mark.timeout(600)
def test_paged_memory_is_for_the_device_what_it_is_for_the_process(lab: Lab) -> None:
    a = lab["a"]
    command = f"python3 {scenario.program(a, 'paging.py')} --device {scenario.DEVICE}"
    told = scenario.last_json(
        a.run(f"{command} --gid {scenario.gid_of(a)}", timeout=300.0, check=True)
    )
    assert told["supported"]
    assert set(told["done"]) == CASES
    counted = a.run(f"rdma -j statistic show link {scenario.DEVICE}/1", check=True).out
    assert '"page_faults":0' not in counted.replace(" ", "")


# What usb4rdmad does, in short.
FORGET = """
import fcntl, sys
try:
    with open("/dev/usb4rdma/control", "r+b", buffering=0) as control:
        fcntl.ioctl(control, 0x4020B421, bytes.fromhex(sys.argv[1]))
    print(0)
except OSError as error:
    print(error.errno)
"""


def forget(host: Host, identity: str) -> int:
    """What the driver says to USB4_RDMA_IOC_FORGET: 0 or an errno."""
    said = host.run(f"python3 -c '{FORGET}' {identity}", timeout=60.0, check=True)
    return int(said.out)


def gate_says(host: Host) -> str:
    """What authorises the links has said so far; it tries each second."""
    return host.run("cat /run/usb4rdma-lab/gate.log", check=True).out


@pytest.mark.timeout(600)
def test_a_page_that_does_not_come_holds_up_its_own_peer_only(lab: Lab) -> None:
    a = lab["a"]
    identity = a.run("cat /sys/class/usb4rdma/link*/peer", check=True).out.strip()
    command = f"python3 {scenario.program(a, 'stuck_page.py')} --device {scenario.DEVICE}"
    program = a.start(f"{command} --gid {scenario.gid_of(a)}")

    def said(word: str) -> bool:
        assert program.running or word in program.out, program.out + program.err
        return word in program.out

    scenario.until("the kernel asks for the page", 120.0, lambda: said("stuck"))
    assert forget(a, identity) == errno.EINPROGRESS
    # Nobody else waits for it: neither who asks for the peers, nor who would authorise one.
    assert forget(a, "ab" * 32) == errno.ENOENT
    a.run("cat /sys/kernel/debug/usb4_rdma/summary", timeout=20.0, check=True)
    refused, taken = (f"authorise: [Errno {errno.EBUSY}]", "authorised instance")
    before = gate_says(a).count(taken)
    scenario.until("its authorisation is refused", 60.0, lambda: gate_says(a).count(refused) > 5)
    assert gate_says(a).count(taken) == before
    assert forget(a, identity) == errno.EINPROGRESS
    program.write("\n")
    scenario.until("the page is served", 60.0, lambda: said("served"))
    scenario.wait_port(a, "ACTIVE", 120.0)
    a.run("umount /run/stuck-page", check=True)
    assert forget(a, "ab" * 32) == errno.ENOENT
