# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's storage over RDMA between two hosts: a serves, b uses, and what b wrote is on a.

NVMe over Fabrics, iSER, NFS 3 and 4.2, 9P. With USB4RDMA_COMPARE set the same runs on Soft-RoCE
over the Ethernet of the same hosts as well, for the compatibility table.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pairs
import pytest
import scenario
from compat import Compatibility, remember_soft_roce
from lab.api import Host, Lab
from lab.errors import LabError
from scenario import CABLE

pytestmark = pytest.mark.timeout(600)

AREA = "kernel storage"
SERVED = "/srv/lab"
NINE_PORT = 5640
DIOD_PORT = 5641
FIO = "fio --ioengine=psync --direct=1 --verify=crc32c --verify_fatal=1"
# Written once and read back.
ONCE = f"{FIO} --rw=randwrite --do_verify=1"
# Written and read back in turn, by several programs at once.
STEADILY = f"{FIO} --rw=randrw --bs=16k --size=4m --verify_backlog=16 --time_based=1"
# What a connection manager gives to a kernel ULP that says nothing: 537 ms, 7 retries.
WITHIN_RETRIES = 1.5
# Longer than all retries take and than an NVMe or iSCSI target waits for a sign of life.
PULLED = 12.0
BACK_SECONDS = 90
TREE = """
set -e
rm -rf /tmp/tree
mkdir -p /tmp/tree/empty /tmp/tree/some
cp -a /usr/lib/python3/dist-packages/pyverbs/*.py /usr/lib/python3.13/json /tmp/tree/some
head -c 3000001 /dev/urandom >/tmp/tree/random
head -c 40000 /dev/zero >/tmp/tree/some/zero
ln /tmp/tree/random /tmp/tree/some/again
ln -s ../random /tmp/tree/some/link
ln -s /nowhere /tmp/tree/dangling
chmod 4711 /tmp/tree/some/zero
"""
LISTING = (
    "find . -printf '%P %y %m %n %l\\n' | sort; find . -type f | sort | xargs -d '\\n' sha256sum"
)


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return pairs.lab_options() | {"extra": ("storage",)}


@contextmanager
def storage(lab: Lab, what: str, address: str) -> Iterator[None]:
    """Storage of a, in use on b; at the end it is gone from both, kernel modules too."""
    a, b = lab["a"], lab["b"]
    target = f"sh {scenario.program(a, 'storage_target.sh')} {what}"
    initiator = f"sh {scenario.program(b, 'storage_initiator.sh')} {what}"
    try:
        a.run(f"{target} up {address}", check=True)
        b.run(f"{initiator} up {address}", check=True, timeout=90)
        yield
        b.run(f"{initiator} down {address}", check=True, timeout=90)
        a.run(f"{target} down {address}", check=True, timeout=90)
    except BaseException:
        # With a pulled cable the lab is not in order, and the next test gets another one.
        lab.unplug(*CABLE)
        raise


def on_both(
    lab: Lab, compat: Compatibility, hows: tuple[str, ...], story: Callable[[str], None]
) -> None:
    """Tell a story with a's address on our device and, if asked, with that of Soft-RoCE."""
    a, b = lab["a"], lab["b"]
    before = scenario.data_frames(lab)
    story(scenario.rdma_address(a))
    assert scenario.data_frames(lab) > before + 100, "it did not go over the cable"
    for how in hows:
        compat.works(AREA, how)
    if not os.environ.get(pairs.COMPARE):
        return
    for host in (a, b):
        host.run("modprobe rdma_rxe && rdma link add rxe0 type rxe netdev eth0", check=True)
    worked = True
    try:
        story(a.net_address)
    except LabError:
        worked = False
    finally:
        for host in (a, b):
            host.run("rdma link delete rxe0")
    remember_soft_roce(AREA, dict.fromkeys(hows, worked))


def digest(host: Host, path: str) -> str:
    """The digest of all that a file or a device holds."""
    return host.run(f"sync; sha256sum <{path}", check=True, timeout=90).out


def forget_cached(host: Host) -> None:
    """Make the next read go to where the data is."""
    host.run("sync; echo 3 >/proc/sys/vm/drop_caches", check=True, timeout=90)


def test_an_nvme_namespace_holds_what_the_other_host_wrote(lab: Lab, compat: Compatibility) -> None:
    a, b = lab["a"], lab["b"]

    def story(address: str) -> None:
        with storage(lab, "nvme", address):
            b.run("mkfs.ext4 -q /dev/nvme0n1 && mount /dev/nvme0n1 /mnt", check=True)
            work = "--name=a --bs=4k --size=1m --name=b --bs=256k --size=8m"
            b.run(f"cd /mnt && {ONCE} {work}", check=True, timeout=120)
            b.run("umount /mnt", check=True)
            there = digest(a, f"{SERVED}/nvme")
            forget_cached(b)
            assert digest(b, "/dev/nvme0n1") == there

    hows = ("NVMe-oF: nvme connect -t rdma, nvmet-rdma, ext4, fio --verify=crc32c",)
    on_both(lab, compat, hows, story)


def test_an_iser_disk_holds_what_the_other_host_wrote(lab: Lab, compat: Compatibility) -> None:
    a, b = lab["a"], lab["b"]

    def story(address: str) -> None:
        with storage(lab, "iser", address):
            session = b.run("iscsiadm -m session", check=True).out
            assert session.startswith("iser:"), session
            work = "--name=a --bs=4k --size=1m --name=b --bs=256k --size=8m --offset=2m"
            b.run(f"{ONCE} --filename=/dev/sda {work}", check=True, timeout=120)
            there = digest(a, f"{SERVED}/iser")
            forget_cached(b)
            assert digest(b, "/dev/sda") == there

    on_both(lab, compat, ("iSER: iscsiadm --login, LIO isert, fio --verify=crc32c",), story)


def test_a_tree_copied_over_nfs_is_the_same_tree(lab: Lab, compat: Compatibility) -> None:
    a, b = lab["a"], lab["b"]
    b.run(TREE, check=True)
    wanted = b.run(f"cd /tmp/tree; {LISTING}", check=True).out

    def story(address: str) -> None:
        with storage(lab, "nfs", address):
            over = b.run("grep -c 'xprt:.rdma' /proc/self/mountstats").out
            assert over.strip() == "2", "a mount does not use RDMA"
            for version, other in ((3, 4), (4, 3)):
                b.run(f"cp -a /tmp/tree /mnt/nfs{version}/by-{version}", check=True, timeout=120)
                forget_cached(b)
                there = f"cd /mnt/nfs{other}/by-{version}; {LISTING}"
                assert b.run(there, check=True, timeout=120).out == wanted
                here = f"cd {SERVED}/tree/by-{version}; {LISTING}"
                assert a.run(here, check=True).out == wanted

    hows = tuple(f"NFS {version}: mount -o proto=rdma, tree copied" for version in ("3", "4.2"))
    on_both(lab, compat, hows, story)


def test_a_tree_copied_over_9p_is_the_same_tree(lab: Lab, compat: Compatibility) -> None:
    """Debian has no 9P server that speaks RDMA: one that does not is behind a relay of ours."""
    a, b = lab["a"], lab["b"]
    b.run(TREE, check=True)
    wanted = b.run(f"cd /tmp/tree; {LISTING}", check=True).out
    a.run(f"mkdir -p {SERVED}/nine", check=True)
    serve = f"diod -f -n -N -l 127.0.0.1:{DIOD_PORT} -e {SERVED}/nine -L stderr"

    def story(address: str) -> None:
        relay = f"python3 {scenario.program(a, 'nine_relay.py')} {address} {NINE_PORT} {DIOD_PORT}"
        a.run(f"rm -rf {SERVED}/nine/*", check=True)
        with a.start(serve) as diod:
            scenario.wait_listening(a, diod, DIOD_PORT)
            with a.start(relay) as server:
                server.wait_for("listening")
                options = f"trans=rdma,port={NINE_PORT},version=9p2000.L,msize=131072"
                options += f",aname={SERVED}/nine,uname=root"
                b.run(f"mount -t 9p -o {options} {address} /mnt", check=True)
                b.run("cp -a /tmp/tree /mnt/tree", check=True, timeout=120)
                b.run("umount /mnt && modprobe -r 9pnet_rdma", check=True)
                assert a.run(f"cd {SERVED}/nine/tree; {LISTING}", check=True).out == wanted

    on_both(lab, compat, ("9P: mount -o trans=rdma (server: diod behind a relay)",), story)


def errors(host: Host) -> list[str]:
    """What the kernel has said about connections that failed."""
    log = host.run("dmesg", check=True).out
    return re.findall(r".*(?:error recovery|conn error|keep-alive timer|reconnect).*", log, re.I)


def test_storage_in_use_survives_a_pulled_cable(lab: Lab, compat: Compatibility) -> None:
    a, b = lab["a"], lab["b"]
    files = {
        "/dev/nvme0n1": f"{SERVED}/nvme",
        "/dev/sda": f"{SERVED}/iser",
        "/mnt/nfs3/three": f"{SERVED}/tree/three",
        "/mnt/nfs4/four": f"{SERVED}/tree/four",
    }
    jobs = " ".join(f"--name={number} --filename={path}" for number, path in enumerate(files))
    with ExitStack() as stack:
        for what in ("nvme", "iser", "nfs"):
            stack.enter_context(storage(lab, what, scenario.rdma_address(a)))
        words = f"{STEADILY} --runtime=25 {jobs}"
        with b.start(words, timeout=300) as work:
            wait_traffic(lab)
            before = errors(a) + errors(b)
            lab.inject("a:1-b:1", "drop", rate=1.0)
            scenario.pause(WITHIN_RETRIES)
            lab.inject_off()
            wait_traffic(lab)
            assert errors(a) + errors(b) == before, "a short silence broke a connection"
            lab.unplug(*CABLE)
            scenario.wait_port(b, "DOWN")
            pulled = time.monotonic()
            scenario.until("the host gives up", 30, lambda: len(errors(b)) > len(before))
            scenario.pause(PULLED - (time.monotonic() - pulled))
            lab.plug(*CABLE)
            lab.wait_links()
            work.wait(BACK_SECONDS).check()
        forget_cached(b)
        for path, served in files.items():
            assert digest(a, served) == digest(b, path), path
    for how in ("NVMe-oF", "iSER", "NFS 3", "NFS 4.2"):
        compat.works(AREA, f"{how}: cable pulled for {PULLED:.0f} s during fio --verify=crc32c")


def wait_traffic(lab: Lab, frames: int = 1000, seconds: float = 60.0) -> None:
    """Until data flows over the cable."""
    start = scenario.data_frames(lab)
    scenario.until("traffic", seconds, lambda: scenario.data_frames(lab) > start + frames)


def reload_module(host: Host) -> None:
    host.run("rmmod usb4_rdma", timeout=30, check=True)
    host.run("modprobe usb4_rdma", timeout=30, check=True)


def test_the_module_goes_away_beneath_storage_in_use(lab: Lab) -> None:
    """As with any RDMA device that is removed: the users take their leave, and nothing hangs."""
    a, b = lab["a"], lab["b"]
    address = scenario.rdma_address(a)
    with storage(lab, "nvme", address):
        reload_module(b)
        assert not b.run("ls -d /dev/nvme0n1 2>/dev/null").out, "the namespace is still there"
        lab.wait_links()
        connect = "nvme connect -t rdma -s 4420 -n lab -i 1 -Q 16 --reconnect-delay=2"
        b.run(f"{connect} -a {address}", check=True)
        reload_module(a)
        # A target does not listen again by itself when its device is back.
        listing = "/sys/kernel/config/nvmet/ports/1/subsystems/lab"
        lab.wait_links()
        a.run(
            f"rm {listing} && ln -s /sys/kernel/config/nvmet/subsystems/lab {listing}", check=True
        )
        alive = "cat /sys/class/nvme/nvme0/state"
        scenario.until("the host is connected", 60, lambda: b.run(alive).out.strip() == "live")
        b.run("head -c 1048576 /dev/urandom >/dev/nvme0n1; sync", check=True)
        there = digest(a, f"{SERVED}/nvme")
        forget_cached(b)
        assert digest(b, "/dev/nvme0n1") == there
