#!/usr/bin/python3 -IS
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for usb4rdmad in driver tests: authorises each link, gives its interface an address.

The identity of a peer is a hash of its XDomain UUID, so that it is the same after a reboot. Two
hosts get 10.42.0.1 and 10.42.0.2 on u4rdma0, in the order of their names. With more hosts the
neighbours tell each other their number by a pairing message, and hosts i < k share the network
10.42.(16 i + k).0/24.

usage: gate.py [--once] [--never]    --never authorises nothing and only reports states
"""

import fcntl
import hashlib
import os
import select
import socket
import struct
import subprocess
import sys

SYSFS = "/sys/class/usb4rdma"
DEVICES = "/dev/usb4rdma"
LINK_ID = struct.Struct("=16s16sQQQII")
AUTHORIZE = struct.Struct("=16sQQ32s32sII")
IOC_LINK_ID = 2 << 30 | LINK_ID.size << 16 | 0xB4 << 8 | 0x10
IOC_AUTHORIZE = 1 << 30 | AUTHORIZE.size << 16 | 0xB4 << 8 | 0x11
STATES = ("handshake", "incompatible", "ready", "authorized", "active", "failed", "gone")
NETLINK_KOBJECT_UEVENT = 15
RESCAN_MS = 1000


def option(name: str) -> str:
    """The value of NAME=value on the kernel's command line, or ''."""
    with open("/proc/cmdline", encoding="ascii") as line:  # noqa: PTH123
        for word in line.read().split():
            key, _, value = word.partition("=")
            if key == name:
                return value
    return ""


def attribute(link: str, name: str) -> str:
    """A link's sysfs attribute, '' if it is gone."""
    try:
        with open(f"{SYSFS}/{link}/{name}", encoding="ascii") as handle:  # noqa: PTH123
            return handle.read().strip()
    except OSError:
        return ""


def ifindex(netdev: str) -> int:
    """The number of a network interface, 0 if there is none of this name."""
    try:
        return socket.if_nametoindex(netdev)
    except OSError:
        return 0


def identity(uuid: str) -> bytes:
    """The 32 bytes that name a host in authorisations."""
    return hashlib.sha256(b"usb4rdma lab " + uuid.encode()).digest()


def say(text: str) -> None:
    print(f"lab-gate: {text}", flush=True)


class Gate:
    """What we know of each link, by name: its last state, the peer's number."""

    def __init__(self, never: bool = False) -> None:
        self.never = never
        self.index = int(option("lab.index") or 1)
        self.hosts = len((option("lab.hosts") or "a,b").split(","))
        self.states: dict[str, str] = {}
        self.peers: dict[str, int] = {}
        self.addressed: dict[tuple[str, int], str] = {}

    def scan(self) -> None:
        """Look at each link and do what its state asks for."""
        try:
            links = [name for name in os.listdir(SYSFS) if name.startswith("link")]
        except FileNotFoundError:
            return
        for link in links:
            state = attribute(link, "state")
            if state and state != self.states.get(link):
                say(f"{link} is {state}")
                self.states[link] = state
            if self.never:
                continue
            if state == "ready":
                self.authorize(link)
            if state in ("authorized", "active"):
                self.address(link)
        for link in set(self.states) - set(links):
            say(f"{link} is gone")
            del self.states[link]
            self.peers.pop(link, None)

    def authorize(self, link: str) -> None:
        """Open the gate for the link instance that is there now."""
        try:
            device = os.open(f"{DEVICES}/{link}", os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            say(f"{link}: open: {error}")
            return
        try:
            answer = fcntl.ioctl(device, IOC_LINK_ID, bytes(LINK_ID.size))
            host_id, _, epoch, _, instance, state, authorized = LINK_ID.unpack(answer)
            if STATES[state] != "ready" or authorized:
                return
            if self.hosts > 2 and not self.meet(link, device):
                return
            peer = identity(attribute(link, "peer_uuid"))
            local = identity(attribute(link, "local_uuid"))
            request = AUTHORIZE.pack(host_id, epoch, instance, peer, local, 0, 0)
            fcntl.ioctl(device, IOC_AUTHORIZE, request)
            say(f"{link}: authorised instance {instance} of {host_id.hex()}")
        except OSError as error:
            say(f"{link}: authorise: {error}")
        finally:
            os.close(device)

    def meet(self, link: str, device: int) -> bool:
        """Exchange numbers with the neighbour; True once we know its number."""
        try:
            os.write(device, f"lab {self.index}".encode())
        except OSError as error:
            say(f"{link}: write: {error}")
        poll = select.poll()
        poll.register(device, select.POLLIN)
        if poll.poll(RESCAN_MS):
            word, _, number = os.read(device, 192).decode(errors="replace").partition(" ")
            if word == "lab" and number.isdigit():
                self.peers[link] = int(number)
                os.write(device, f"lab {self.index}".encode())
        return link in self.peers

    def address(self, link: str) -> None:
        """Give the link's interface its address, once per interface."""
        netdev = attribute(link, "netdev")
        subnet = 0
        if self.hosts > 2:
            if link not in self.peers:
                return
            low, high = sorted((self.index, self.peers[link]))
            subnet = 16 * low + high
        address = f"10.42.{subnet}.{self.index}/24"
        # An interface of the same name after the module was reloaded is another one.
        interface = (netdev, ifindex(netdev))
        if not netdev or self.addressed.get(interface) == address:
            return
        commands = (
            ["ip", "link", "set", netdev, "mtu", "4192", "up"],
            ["ip", "address", "replace", address, "dev", netdev],
        )
        for words in commands:
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                say(f"{' '.join(words)}: {done.stderr.strip()}")
                return
        self.addressed[interface] = address
        say(f"{netdev} has {address}")


def main(arguments: list[str]) -> None:
    gate = Gate(never="--never" in arguments)
    uevents = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
    uevents.bind((0, 1))
    uevents.setblocking(False)
    poll = select.poll()
    poll.register(uevents, select.POLLIN)
    while True:
        gate.scan()
        if "--once" in arguments:
            return
        # The rescan catches what an overrun of the socket has lost, and links that must be
        # tried again.
        poll.poll(RESCAN_MS)
        try:
            while True:
                uevents.recv(8192)
        except OSError:
            pass


if __name__ == "__main__":
    main(sys.argv[1:])
