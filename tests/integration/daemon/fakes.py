# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts with a fake driver, joined by fake cables.

Behaves as include/uapi/rdma/usb4_rdma.h says: a gate per link instance, one
message a datagram, a link is active when both sides are authorised. Every call
happens on the test's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path

from usb4rdmad.app import Adapters, App, Options
from usb4rdmad.effects import Hub
from usb4rdmad.errors import DriverError, NetworkError
from usb4rdmad.model import (
    Hardware,
    Identity,
    Interface,
    KernelLink,
    KernelState,
    LinkState,
    LocalAddress,
    Measured,
    Network,
    Port,
    ProbePlan,
)

DEADLINE = 60.0


class FakeDriver:
    """One host's kernel module."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.links: dict[str, KernelLink] = {}
        self.far: dict[str, tuple[FakeDriver, str]] = {}
        self.readers: dict[str, tuple[Callable[[bytes], None], Callable[[], None]]] = {}
        self.queued: dict[str, list[bytes]] = {}
        self.devices: dict[Identity, int] = {}
        self.calls: list[tuple[str, str]] = []
        self.tamper: Callable[[bytes], bytes | None] = lambda frame: frame
        self.refuse_authorize = 0
        self.refuse_open = 0

    def version(self) -> str:
        return "1.0-fake"

    def names(self) -> list[str]:
        return sorted(self.links)

    def read(self, name: str) -> KernelLink | None:
        return self.links.get(name)

    def attach(
        self, name: str, message: Callable[[bytes], None], hangup: Callable[[], None]
    ) -> None:
        if name in self.readers:
            raise DriverError("busy", errno.EBUSY)
        if self.refuse_open:
            raise DriverError("no", self.refuse_open)
        self.readers[name] = (message, hangup)
        waiting, self.queued[name] = self.queued.get(name, []), []
        for frame in waiting:
            asyncio.get_running_loop().call_soon(message, frame)

    def detach(self, name: str) -> None:
        self.readers.pop(name, None)

    def send(self, name: str, frame: bytes) -> bool:
        assert 1 <= len(frame) <= 192
        sent = self.tamper(frame)
        if name in self.far and sent is not None:
            far, far_name = self.far[name]
            asyncio.get_running_loop().call_soon(far.arrive, far_name, sent)
        return True

    def arrive(self, name: str, frame: bytes) -> None:
        if name in self.readers:
            self.readers[name][0](frame)
        elif name in self.links and len(self.queued.setdefault(name, [])) < 8:
            self.queued[name].append(frame)

    def authorize(self, kernel: KernelLink, peer: Identity, local: Identity) -> None:
        self.calls.append(("authorize", kernel.name))
        link = self.links.get(kernel.name)
        if link is None:
            raise DriverError("gone", errno.ENODEV)
        if self.refuse_authorize:
            raise DriverError("no", self.refuse_authorize)
        if (link.instance, link.host_id, link.epoch) != (
            kernel.instance,
            kernel.host_id,
            kernel.epoch,
        ):
            raise DriverError("stale", errno.ESTALE)
        if link.authorized:
            raise DriverError("already", errno.EALREADY if link.peer == peer else errno.EBUSY)
        number = self.devices.setdefault(peer, len(self.devices))
        self.change(
            kernel.name,
            authorized=True,
            peer=peer,
            state=KernelState.AUTHORIZED,
            ibdev=f"usb4rdma{number}",
            netdev=f"u4rdma{number}",
        )
        self.host.interfaces.setdefault(f"u4rdma{number}", Interface(1500))
        self.settle(kernel.name)

    def settle(self, name: str) -> None:
        """Both sides authorised: active on both."""
        if name not in self.far:
            return
        far, far_name = self.far[name]
        if self.links[name].authorized and far.links[far_name].authorized:
            self.change(name, state=KernelState.ACTIVE)
            far.change(far_name, state=KernelState.ACTIVE)

    def deauthorize(self, name: str) -> None:
        self.calls.append(("deauthorize", name))
        link = self.links.get(name)
        if link is None:
            raise DriverError("gone", errno.ENODEV)
        if link.authorized:
            self.change(name, authorized=False, state=KernelState.READY)
            if name in self.far:
                far, far_name = self.far[name]
                if far.links[far_name].state is KernelState.ACTIVE:
                    far.change(far_name, state=KernelState.AUTHORIZED)

    def forget(self, peer: Identity) -> None:
        self.devices.pop(peer, None)

    def change(self, name: str, **fields: object) -> None:
        """The kernel changes a link and sends a uevent."""
        self.links[name] = replace(self.links[name], **fields)  # type: ignore[arg-type]
        self.host.uevent(name)


class FakeProbe:
    """One end; the initiator's finds what its prober was told to find."""

    def __init__(self, prober: FakeProber, plan: ProbePlan) -> None:
        self.prober = prober
        self.plan = plan
        self.remote = b""
        self.open = True
        self.done: Callable[[Measured], None] | None = None

    def run(self, remote: bytes, done: Callable[[Measured], None]) -> None:
        self.remote = remote
        self.done = done
        if not self.prober.hangs:
            asyncio.get_running_loop().call_soon(done, self.prober.finds)

    def close(self) -> None:
        self.open = False


class FakeProber:
    """Tests that touch no verbs."""

    def __init__(self) -> None:
        self.refuses = ""
        self.hangs = False
        self.finds = Measured(latency_ns=2500, p99_ns=4000, bits_per_second=10**10, operations=100)
        self.probes: list[FakeProbe] = []

    def open(
        self, ibdev: str, gid: str, plan: ProbePlan, opened: Callable[[bytes | str], None]
    ) -> FakeProbe:
        probe = FakeProbe(self, plan)
        self.probes.append(probe)
        endpoint = f"{ibdev} {gid}".encode()
        asyncio.get_running_loop().call_soon(opened, self.refuses or endpoint)
        return probe


@dataclass
class FakeHost:
    """One PC."""

    name: str
    state: Path
    policy: str = "tofu"
    extra: str = ""
    used: set[Network] = field(default_factory=set)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    bus: str | None = None

    def __post_init__(self) -> None:
        self.driver = FakeDriver(self)
        self.host_id = os.urandom(16)
        self.epoch = int.from_bytes(os.urandom(8), "big")
        self.hub: Hub | None = None
        self.app: App | None = None
        self.configured: list[tuple[str, int]] = []
        self.hardware_now = Hardware()
        self.prober: FakeProber | None = FakeProber()
        self.write_config()

    def write_config(self) -> None:
        self.state.mkdir(exist_ok=True)
        (self.state / "usb4rdmad.toml").write_text(
            f'[pairing]\npolicy = "{self.policy}"\n{self.extra}'
        )

    # ports.Networks

    def networks_used(self, exclude: str) -> frozenset[Network]:
        found = set(self.used)
        for name, interface in self.interfaces.items():
            if name != exclude:
                found |= {ip_network(a.ip) for a in interface.addresses}
        return frozenset(found)

    def interface(self, netdev: str) -> Interface:
        if netdev not in self.interfaces:
            raise NetworkError(f"no interface {netdev}")
        return self.interfaces[netdev]

    def configure(self, netdev: str, mtu: int, addresses: Iterable[LocalAddress]) -> None:
        self.interface(netdev)
        self.configured.append((netdev, mtu))
        self.interfaces[netdev] = Interface(mtu, tuple(addresses))

    # ports.Rdma

    def port(self, ibdev: str) -> Port:
        interface = self.interfaces.get("u4rdma" + ibdev.removeprefix("usb4rdma"))
        active = any(
            x.ibdev == ibdev and x.state is KernelState.ACTIVE for x in self.driver.links.values()
        )
        if interface is None:
            return Port()
        gids = []
        for index, address in enumerate(interface.addresses):
            ip = address.ip
            text = str(ip) if ip.version == 6 else f"::ffff:{ip}"
            gids.append((index, text, "RoCE v2"))
        return Port(active, tuple(gids))

    def counters(self, ibdev: str, netdev: str) -> dict[str, int]:
        return {"RxBytes": 11, "TxBytes": 12, "RxPackets": 1, "TxPackets": 2, "rx_crc": 3}

    # The daemon

    def uevent(self, name: str) -> None:
        if self.hub is not None:
            self.hub.link_changed(name)

    def adapters(self) -> Adapters:
        host = self

        class Networks:
            used = staticmethod(host.networks_used)
            interface = staticmethod(host.interface)
            configure = staticmethod(host.configure)

        def watch(hub: Hub) -> Callable[[], None]:
            host.hub = hub
            return lambda: None

        return Adapters(self.driver, Networks(), self, watch, self.prober, self)

    def hardware(self) -> Hardware:
        return self.hardware_now

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[Hub]:
        """The daemon runs while the block does."""
        options = Options(self.state / "usb4rdmad.toml", self.state / "lib", self.name)
        app = self.app = App(options, self.adapters(), self.bus)
        task = asyncio.create_task(app.run())
        self.stopped = asyncio.Event()
        task.add_done_callback(lambda _: self.stopped.set())
        ready = asyncio.create_task(app.ready.wait())
        await asyncio.wait({task, ready}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            ready.cancel()
            await task
        assert self.hub is not None
        try:
            yield self.hub
        finally:
            app.stopping.set()
            await asyncio.wait_for(task, DEADLINE)
            self.hub = None

    async def until(self, state: LinkState, name: str = "link0", reason: str | None = None) -> None:
        """Wait until a link is in this state; says what it was in when it is not."""
        hub = self.hub
        assert hub is not None
        await hub.flush()
        seen = asyncio.Event()
        previous = hub.changed

        def changed(now: object) -> None:
            previous(now)  # type: ignore[arg-type]
            seen.set()

        hub.changed = changed
        link = None
        try:
            async with asyncio.timeout(DEADLINE):
                while True:
                    link = hub.state.links.get(name)
                    if link is not None and link.state is state:
                        if reason is None or link.reason.value == reason:
                            return
                    seen.clear()
                    await seen.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.name}: {name} is {link and (link.state, link.reason)}, not {state}"
            ) from None
        finally:
            hub.changed = previous


class Cable:
    """Joins two hosts; plug() makes a link device on both."""

    def __init__(self, one: FakeHost, other: FakeHost, name: str = "link0", route: int = 1) -> None:
        self.ends = (one, other)
        self.name = name
        self.route = route
        self.uuids = [str(uuid.uuid4()), str(uuid.uuid4())]

    def plug(self, state: KernelState = KernelState.READY) -> None:
        for index, (here, there) in enumerate((self.ends, self.ends[::-1])):
            here.driver.far[self.name] = (there.driver, self.name)
            instance = 1 + max((x.instance for x in here.driver.links.values()), default=0)
            here.driver.links[self.name] = KernelLink(
                self.name,
                state,
                instance=instance if state is KernelState.READY else 0,
                host_id=there.host_id,
                local_host_id=here.host_id,
                epoch=there.epoch,
                local_epoch=here.epoch,
                local_uuid=self.uuids[index],
                peer_uuid=self.uuids[1 - index],
                route=self.route,
                version="1-1",
                peer_version="1-1" if state is not KernelState.INCOMPATIBLE else "7-9",
                speed=20_000_000_000,
                width=2,
                mtu=65520,
                remote_name=there.name,
            )
        for host in self.ends:
            host.uevent(self.name)

    def unplug(self) -> None:
        for host in self.ends:
            host.driver.links.pop(self.name, None)
            host.driver.far.pop(self.name, None)
            host.driver.queued.pop(self.name, None)
            if host.hub is not None:
                host.hub.link_removed(self.name)

    def rehandshake(self) -> None:
        """The kernels meet again: a new instance, no authorisation."""
        for host in self.ends:
            link = host.driver.links[self.name]
            host.driver.change(
                self.name,
                instance=link.instance + 1,
                authorized=False,
                state=KernelState.READY,
            )


async def turn(*hosts: FakeHost) -> None:
    """Let every host do what is queued."""
    for host in hosts:
        assert host.hub is not None
        await host.hub.flush()
    await asyncio.sleep(0)


Hosts = Callable[..., FakeHost]
"""The fixture `hosts`: makes one, each with a bus of its own."""


def pair(hosts: Hosts, **options: object) -> tuple[FakeHost, FakeHost, Cable]:
    """Two hosts and the cable between them, not plugged yet."""
    a, b = hosts("nova", **options), hosts("mars", **options)
    return a, b, Cable(a, b)


@contextlib.asynccontextmanager
async def strangers(
    hosts: Hosts, extra: str = ""
) -> AsyncIterator[tuple[FakeHost, FakeHost, Cable]]:
    """Two hosts that ask people, joined by a cable."""
    a = hosts("nova", policy="confirm", extra=extra)
    b = hosts("mars", policy="confirm", extra=extra)
    cable = Cable(a, b)
    async with a.daemon(), b.daemon():
        cable.plug()
        for host in (a, b):
            await host.until(LinkState.WAITING_APPROVAL, reason="unknown-peer")
        yield a, b, cable


def hub(host: FakeHost) -> Hub:
    """Of a daemon that runs."""
    assert host.hub is not None
    return host.hub
