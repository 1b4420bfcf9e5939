# SPDX-License-Identifier: GPL-2.0-or-later
"""Containers see the device: stock Debian images, with nothing of ours in them.

Each is entered as Docker and Podman do with the options of docs/containers.md. The lab is that
of test_rdma_core.py, which runs before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import rdma_core
import scenario
from compat import Compatibility
from lab.api import Host, Lab, Result
from pairs import Pair, check
from scenario import DEVICE, NETDEV, PATIENT

pytestmark = pytest.mark.timeout(600)

# The image, and the version of rdma-core in it; of sid at least.
IMAGES = {"debian-12": 44, "debian-13": 56, "rdma-core-65": 65}
IPC_LOCK = 14

LOOK = r"""
dpkg-query -W -f '${source:Upstream-Version}\n' ibverbs-providers
grep CapEff /proc/self/status
ls /dev
find / -xdev -name '*usb4*rdma*' -not -path '/proc/*' | sed 's/^/ours: /'
ibv_devinfo -d usb4rdma0
"""


@pytest.fixture(scope="module")
def lab_options() -> dict[str, Any]:
    return rdma_core.lab_options()


@pytest.fixture
def container(lab: Lab) -> str:
    """The program that enters a container, on all hosts."""
    paths = {scenario.program(host, "in_container") for host in lab.hosts.values()}
    return paths.pop()


def test_stock_images_see_the_device(lab: Lab, container: str) -> None:
    told = {
        image: lab["a"].run([container, image, "sh", "-c", LOOK], timeout=60, check=True).out
        for image in IMAGES
    }
    for image, version in IMAGES.items():
        first, capabilities, *lines = told[image].splitlines()
        major = int(first.split(".")[0])
        assert major == version or (version == 65 and major > 65), first
        assert not int(capabilities.split()[1], 16) >> IPC_LOCK & 1
        devices = set(lines[: lines.index("zero") + 1])
        assert devices == {"full", "infiniband", "null", "random", "shm", "urandom", "zero"}
        assert not [line for line in lines if line.startswith("ours: ")], told[image]
        assert f"hca_id:\t{DEVICE}" in told[image], told[image]
        assert "PORT_ACTIVE" in told[image], told[image]


def test_containers_write_into_each_others_memory(
    lab: Lab, compat: Compatibility, container: str
) -> None:
    words = f"ib_write_bw -d {{device}} -F -u {PATIENT} -x {{gid}} -s 65536 -n 20"
    check(
        lab,
        compat,
        "containers",
        [
            Pair(
                f"ib_write_bw in a container with rdma-core {version}",
                f"{container} {image} {words}",
                f"{container} {image} {words} {{address}}",
                {"tcp": scenario.PERFTEST_PORT},
            )
            for image, version in IMAGES.items()
        ],
    )


@pytest.fixture
def box(lab: Lab, container: str) -> Iterator[Box]:
    """A network namespace in a, with nothing in it; a is as it was when it is gone."""
    box = Box(lab["a"], container, scenario.rdma_address(lab["a"]))
    yield box
    box.end()


class Box:
    """A network namespace of a host, as a container's without `--network host` is."""

    def __init__(self, host: Host, container: str, address: str) -> None:
        self.host = host
        self.container = container
        self.address = address

    def make(self) -> None:
        """Make it."""
        self.host.run("ip netns add box", check=True)

    def run(self, command: str, image: str = "debian-13") -> Result:
        """A command in a container there."""
        words = f"ip netns exec box {self.container} {image} {command}"
        return self.host.run(words, timeout=60)

    def take_interface(self) -> None:
        """Give it the cable's network interface, with the address that it had."""
        self.host.run(
            f"ip link set {NETDEV} netns box && ip -n box link set {NETDEV} up && "
            f"ip -n box address add {self.address}/24 dev {NETDEV}",
            check=True,
        )

    def knows_its_address(self) -> bool:
        """Whether the device has a GID of the address, seen from there."""
        return f"::ffff:{self.address}," in self.run(f"ibv_devinfo -v -d {DEVICE}").out

    def end(self) -> None:
        """Remove it: what is in it comes back to the host, and gets its address again."""
        host = self.host
        host.run("ip netns delete box")
        back = f"ip link show {NETDEV} && rdma system set netns shared && rdma dev show {DEVICE}"
        scenario.until("all is back in the host", 60, lambda: host.run(back).rc == 0)
        host.run(f"ip address replace {self.address}/24 dev {NETDEV}; ip link set {NETDEV} up")
        scenario.until(
            "the GID is back",
            60,
            lambda: any(":ffff:" in gid for gid in scenario.gids(host).values()),
        )


def ping_by_rdma_cm(lab: Lab, box: Box) -> Result:
    """rping from the box to a container of the other host, which has the host's network."""
    b = lab["b"]
    words = f"-a {scenario.rdma_address(b)} -C 3 -V"
    with b.start(f"{box.container} debian-12 rping -s {words}", timeout=120) as server:
        scenario.wait_cm_listening(b, server)
        return box.run(f"rping -c {words}")


def test_a_network_of_its_own_with_the_cables_interface_suffices(lab: Lab, box: Box) -> None:
    box.make()
    assert "PORT_ACTIVE" in box.run(f"ibv_devinfo -d {DEVICE}").out
    refused = box.run(f"rping -c -a {scenario.rdma_address(lab['b'])} -C 1")
    assert "unreachable" in refused.out + refused.err
    box.take_interface()
    scenario.until("the box knows its address", 60, box.knows_its_address)
    ping_by_rdma_cm(lab, box).check()


def test_a_device_given_to_one_network_is_nowhere_else(lab: Lab, box: Box) -> None:
    a = lab["a"]
    a.run("rdma system set netns exclusive", check=True)
    box.make()
    assert box.run(f"ibv_devinfo -d {DEVICE}").rc != 0
    a.run(f"rdma dev set {DEVICE} netns box", check=True)
    box.take_interface()
    scenario.until("the box knows its address", 60, box.knows_its_address)
    assert DEVICE not in a.run("ibv_devices; rdma dev").out
    ping_by_rdma_cm(lab, box).check()
