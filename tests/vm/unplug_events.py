# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens to hosts and cables in the unplug matrix, and how each kind of traffic takes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import scenario
from lab.api import Host, Lab
from scenario import CABLE
from traffic import ALL_GO_ON, GOES_ON, RELIABLE, Ends

# A timeout of 268 ms (4.096 us * 2^16), tried 8 times.
TWO_SECONDS = 16
# 8.6 s, tried 8 times.
A_MINUTE = 21
RETRIES = ("retry exceeded",)
FLUSHED = ("flushed",)
# The device is gone: what was posted is flushed, and a doorbell after that is an error at once.
REMOVED = (*FLUSHED, "refused: EIO")
# A peer that comes back as another one ends what is not over by then.
EITHER = (*RETRIES, *FLUSHED)
NET_OVER = ("ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET")
NET_EITHER = (GOES_ON, *NET_OVER)
DRIVER = "/sys/bus/pci/drivers/thunderbolt"
PM = "/sys/power/pm_test"


def ends(reliable: tuple[str, ...], datagram: tuple[str, ...], net: tuple[str, ...]) -> Ends:
    """How the kinds may end."""
    return dict.fromkeys(RELIABLE, reliable) | {"datagram": datagram, "net": net}


@dataclass(frozen=True)
class Event:
    """A row of the matrix.

    `act` does it to host b or to the cable, `undo` what a person does after it; flows that end
    do so before `undo`. `a` and `b` say how, b being the host that is hit; None: it is gone.
    `timeout` is that of the queue pairs; `events` are those that b's programs must hear of.
    """

    name: str
    act: Callable[[Lab], None]
    a: Ends
    b: Ends | None
    undo: Callable[[Lab], None] | None = None
    timeout: int = TWO_SECONDS
    short: bool = False
    events: tuple[str, ...] = ()


def pull(lab: Lab) -> None:
    """The cable out."""
    lab.unplug(*CABLE)
    for host in lab.hosts.values():
        scenario.wait_port(host, "DOWN", 30)


def push(lab: Lab) -> None:
    """And in."""
    lab.plug(*CABLE)


def pull_and_push(lab: Lab) -> None:
    pull(lab)
    push(lab)


def unload(lab: Lab) -> None:
    lab["b"].run("rmmod usb4_rdma", timeout=30, check=True)


def load(lab: Lab) -> None:
    lab["b"].run("modprobe usb4_rdma", timeout=30, check=True)


def reload(lab: Lab) -> None:
    """Once before an account is opened: what thunderbolt makes anew when a service appears on a
    cable that is there already counts as made by us from then on."""
    unload(lab)
    load(lab)
    lab.wait_links()


def unload_soft_roce(lab: Lab) -> None:
    """It takes all devices of its user ABI along; ours comes back."""
    b = lab["b"]
    b.run("modprobe rdma_rxe && rmmod rdma_rxe", timeout=60, check=True)
    scenario.wait_port(b, "ACTIVE", 20)


def kill_daemon(lab: Lab) -> None:
    """The lab's stand-in, and a program that holds the character devices as the daemon does."""
    b = lab["b"]
    hold = "exec 3<>/dev/usb4rdma/control 4<>/dev/usb4rdma/link*; exec sleep 1000"
    b.run("pkill -9 -f lab/gate.py", check=True)
    with b.start(["bash", "-c", hold]) as holder:
        scenario.until("it holds them", 30, lambda: b.run("pgrep -fx 'sleep 1000'").rc == 0)
        holder.kill()
    assert b.run("pgrep -f lab/gate.py").rc != 0


def start_daemon(lab: Lab) -> None:
    gate = "setsid /usr/lib/usb4rdma-lab/gate.py >>/run/usb4rdma-lab/gate.log 2>&1 </dev/null &"
    lab["b"].run(gate, check=True)


def host_interface(host: Host) -> str:
    """The PCI function that thunderbolt drives."""
    return host.run(f"cd {DRIVER} && ls -d 0*", check=True).out.strip()


def unbind(lab: Lab) -> None:
    """The host interface's driver lets go of it, with the cable in; our module can go then.

    Kernel 7.2 keeps what it knew of the peer and cannot name it again: nothing but a new boot
    helps the link after that.
    """
    b = lab["b"]
    b.run(f"echo {host_interface(b)} >{DRIVER}/unbind", timeout=30, check=True)
    b.run("rmmod usb4_rdma", timeout=30, check=True)


def rebind(lab: Lab) -> None:
    """The same with the cable out meanwhile, which no kernel minds."""
    b = lab["b"]
    pull(lab)
    function = host_interface(b)
    b.run(f"echo {function} >{DRIVER}/unbind", timeout=30, check=True)
    b.run(f"echo {function} >{DRIVER}/bind", timeout=30, check=True)
    b.run(f"echo on >/sys/bus/pci/devices/{function}/power/control", check=True)
    push(lab)


def suspend(hosts: list[Host]) -> None:
    """As far as a guest can that nobody would wake: devices and the platform's part, for 1 s.

    The lab's shared folder (9P over virtio) does not survive that: no file can be put into such a
    host any more, so these events come last, and are none for a lab that others use after.
    """
    words = "echo 1 >/sys/module/suspend/parameters/pm_test_delay; "
    words += f"echo platform >{PM} && echo freeze >/sys/power/state; rc=$?; "
    words += f"echo none >{PM}; exit $rc"
    sleeping = [host.start(words, timeout=90) for host in hosts]
    for process in sleeping:
        process.wait(90).check()


def suspend_one(lab: Lab) -> None:
    suspend([lab["b"]])


def suspend_both(lab: Lab) -> None:
    suspend(list(lab.hosts.values()))


def kill(lab: Lab) -> None:
    lab["b"].kill()
    scenario.wait_port(lab["a"], "DOWN", 30)


def power_on(lab: Lab) -> None:
    lab["b"].power_on()


def reboot(lab: Lab) -> None:
    lab["b"].reboot()


PEER_GONE = ends(RETRIES, (GOES_ON,), NET_OVER)
PORT_EVENTS = ("port error", "port active")
EVENTS = (
    Event("cable pulled and pushed in", pull_and_push, ALL_GO_ON, ALL_GO_ON, timeout=A_MINUTE,
          events=PORT_EVENTS),
    Event("cable pulled", pull, PEER_GONE, PEER_GONE, push, events=PORT_EVENTS),
    Event("peer killed", kill, PEER_GONE, None, power_on, events=PORT_EVENTS),
    Event("peer rebooted", reboot, ends(EITHER, (GOES_ON,), NET_OVER), None, events=PORT_EVENTS),
    Event("rmmod usb4_rdma", unload, ends(RETRIES, (GOES_ON,), NET_OVER),
          ends(REMOVED, REMOVED, NET_OVER), load, short=True, events=("device fatal",)),
    Event("rmmod rdma_rxe", unload_soft_roce, ends(RETRIES, (GOES_ON,), (GOES_ON,)),
          ends(REMOVED, REMOVED, (GOES_ON,)), short=True, events=("device fatal",)),
    Event("daemon killed", kill_daemon, ALL_GO_ON, ALL_GO_ON, start_daemon),
    Event("cable pulled, thunderbolt unbound and bound, cable pushed in", rebind, ALL_GO_ON,
          ALL_GO_ON, timeout=A_MINUTE, events=PORT_EVENTS),
    Event("thunderbolt unbound, rmmod usb4_rdma", unbind, PEER_GONE, None, reboot),
    Event("suspended and resumed", suspend_one, ALL_GO_ON, ALL_GO_ON, timeout=A_MINUTE,
          events=PORT_EVENTS),
    Event("both suspended and resumed", suspend_both, ALL_GO_ON, ALL_GO_ON, timeout=A_MINUTE,
          events=PORT_EVENTS),
)  # fmt: skip


def events_on(kernel: str) -> tuple[Event, ...]:
    """Those that the lab can play on a kernel: from Linux 7.3 on, with or without usb4rdma, the
    port by which the lab talks with a host is not open any more when the host has been suspended.
    """
    if [int(number) for number in re.findall(r"\d+", kernel)[:2]] < [7, 3]:
        return EVENTS
    return tuple(event for event in EVENTS if event.act not in (suspend_one, suspend_both))
