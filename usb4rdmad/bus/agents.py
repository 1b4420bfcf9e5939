# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that want to be asked about codes.

An agent was allowed to pair by polkit when it registered; what it answers
counts as its user's word. The latest one is asked first, the next when it gives
no answer. One that leaves the bus while it is being asked ends the pairing: the
person in front of it has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ..errors import AlreadyRegistered, BusLost, Busy, CallFailed, NoSuchAgent, Usb4RdmaError
from ..events import AdminConfirm, AdminReject, Event
from ..log import log
from ..model import Link, Pairing, State
from .interfaces import AGENT
from .present import link_path, pairing_path
from .wire import ERROR_PREFIX, variant

AGENTS_MAX = 8
BUS = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"
PATIENCE = 120.0


class Caller(Protocol):
    """What is used of the connection."""

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        patience: float = 25.0,
        interactive: bool = False,
    ) -> Sequence[Any]:
        """Call a method."""

    def tell(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
    ) -> None:
        """Call a method, wait for no answer."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One registration."""

    owner: str
    path: str
    uid: int


class Agents:
    """Keeps them, and asks them. `ask` carries out an administrator's event."""

    def __init__(self, ask: Callable[[Event], Awaitable[None]]) -> None:
        self._ask = ask
        self._caller: Caller
        self._agents: list[Agent] = []
        self._running: dict[int, asyncio.Task[None]] = {}
        self._asked: set[int] = set()
        self._asking: dict[int, Agent] = {}

    def use(self, caller: Caller) -> None:
        """The connection is there."""
        self._caller = caller

    async def register(self, owner: str, path: str, uid: int) -> None:
        """Take an agent on; raises when it cannot be."""
        if any(a.owner == owner for a in self._agents):
            raise AlreadyRegistered("this client has an agent already")
        if len(self._agents) >= AGENTS_MAX:
            raise Busy(f"there are {AGENTS_MAX} agents already")
        agent = Agent(owner, path, uid)
        self._agents.append(agent)
        try:
            await self._caller.call(BUS, BUS_PATH, BUS, "AddMatch", "s", [_rule(owner)])
            (there,) = await self._caller.call(BUS, BUS_PATH, BUS, "NameHasOwner", "s", [owner])
        except (BusLost, CallFailed):
            there = False
        if not there:
            self._drop(agent)

    def unregister(self, owner: str, path: str) -> None:
        """Ask it no more; what it was being asked goes on without it."""
        for agent in self._agents:
            if (agent.owner, agent.path) == (owner, path):
                self._drop(agent)
                return
        raise NoSuchAgent(f"no agent {path} of this client")

    def heard(self, sender: str, member: str, body: Sequence[Any]) -> None:
        """A signal: has an agent left the bus?"""
        if sender != BUS or member != "NameOwnerChanged" or body[2:] != [""]:
            return
        for agent in [a for a in self._agents if a.owner == body[0]]:
            serving = [i for i, asked in self._asking.items() if asked is agent]
            self._drop(agent)
            for number in serving:
                task = self._running.get(number)
                if task is not None:
                    task.cancel("gone")

    def _drop(self, agent: Agent) -> None:
        if agent not in self._agents:
            return  # it left while it was being registered
        self._agents.remove(agent)
        rule = _rule(agent.owner)
        self._caller.tell(BUS, BUS_PATH, BUS, "RemoveMatch", "s", [rule])

    def update(self, state: State) -> None:
        """The state has changed: codes to ask about, or questions that are moot."""
        wanted = {
            link.pairing.id: (link, link.pairing)
            for link in state.links.values()
            if link.pairing is not None and link.pairing.code and not link.pairing.confirmed_here
        }
        there = {link.pairing.id for link in state.links.values() if link.pairing is not None}
        self._asked &= there
        for number in self._running.keys() - wanted.keys():
            agent = self._asking.get(number)
            self._running[number].cancel("moot")
            if agent is not None:
                path = pairing_path(number)
                self._caller.tell(agent.owner, agent.path, AGENT, "Cancel", "o", [path])
        for number in wanted.keys() - self._asked:
            if not self._agents:
                return
            self._asked.add(number)
            link, pairing = wanted[number]
            task = asyncio.get_running_loop().create_task(self._serve(link, pairing))
            self._running[number] = task
            task.add_done_callback(partial(self._served, number))

    def _served(self, number: int, task: asyncio.Task[None]) -> None:
        self._running.pop(number, None)

    async def _serve(self, link: Link, pairing: Pairing) -> None:
        """Ask one agent after the other until one says yes or no."""
        answer: Event | None = None
        try:
            for agent in reversed(self._agents.copy()):
                self._asking[pairing.id] = agent
                answer = await self._question(agent, link, pairing)
                if answer is not None:
                    break
        except asyncio.CancelledError as cancelled:
            if cancelled.args != ("gone",):
                raise
            answer = AdminReject(link.name)
        finally:
            self._asking.pop(pairing.id, None)
        if answer is not None:
            try:
                await self._ask(answer)
            except Usb4RdmaError as error:
                log.info("an agent's answer came too late: %s", error)

    async def _question(self, agent: Agent, link: Link, pairing: Pairing) -> Event | None:
        details = {
            "link": variant("o", link_path(link)),
            "name": variant("s", link.kernel.place),
            "peer_name": variant("s", link.peer_name),
            "fingerprint": variant("s", link.identity.hex()),
        }
        try:
            await self._caller.call(
                agent.owner,
                agent.path,
                AGENT,
                "RequestConfirmation",
                "osa{sv}",
                [pairing_path(pairing.id), pairing.code, details],
                PATIENCE,
            )
        except CallFailed as error:
            if error.error == f"{ERROR_PREFIX}Rejected":
                return AdminReject(link.name)
            return None
        except BusLost:
            return None
        return AdminConfirm(link.name, agent.uid)

    def close(self) -> None:
        """Let all go."""
        for task in self._running.values():
            task.cancel("closing")
        for agent in self._agents:
            self._caller.tell(agent.owner, agent.path, AGENT, "Release")
        self._agents.clear()


def _rule(owner: str) -> str:
    return f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{owner}'"
