# SPDX-License-Identifier: GPL-2.0-or-later
"""Agents that come and go quicker than the bus answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from usb4rdmad.bus.agents import BUS, Agents
from usb4rdmad.errors import NoSuchAgent
from usb4rdmad.events import Event


class Bus:
    """The message bus, whose client ":1.7" leaves while somebody asks whether it is there."""

    def __init__(self) -> None:
        self.agents = Agents(self._ask)
        self.agents.use(self)
        self.told: list[str] = []

    async def _ask(self, event: Event) -> None:
        raise AssertionError

    async def call(
        self, destination: str, path: str, interface: str, member: str, *rest: Any, **more: Any
    ) -> Sequence[Any]:
        if member == "NameHasOwner":
            self.agents.heard(BUS, "NameOwnerChanged", [":1.7", ":1.7", ""])
            return [False]
        return []

    def tell(self, destination: str, path: str, interface: str, member: str, *rest: Any) -> None:
        self.told.append(member)


def test_an_agent_that_leaves_while_it_is_registered_is_dropped_once() -> None:
    bus = Bus()
    asyncio.run(bus.agents.register(":1.7", "/agent", 1000))
    assert bus.told == ["RemoveMatch"]
    with pytest.raises(NoSuchAgent):
        bus.agents.unregister(":1.7", "/agent")
