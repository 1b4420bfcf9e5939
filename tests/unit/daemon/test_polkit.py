# SPDX-License-Identifier: GPL-2.0-or-later
"""polkit: nothing but a clear yes is a yes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from usb4rdmad.bus import polkit
from usb4rdmad.errors import AccessDenied, BusLost, CallFailed, InteractionRequired


class FakeConnection:
    def __init__(self, uid: int | Exception, answer: Any = None) -> None:
        self.uid = uid
        self.answer = answer
        self.asked: list[Sequence[Any]] = []

    async def call(
        self, destination: str, path: str, interface: str, member: str, signature: str,
        body: Sequence[Any], patience: float = 1.0,
    ) -> Sequence[Any]:  # fmt: skip
        if member == "GetConnectionUnixUser":
            if isinstance(self.uid, Exception):
                raise self.uid
            return [self.uid]
        self.asked.append(body)
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer]


def ask(connection: FakeConnection, interactive: bool = False) -> int:
    return asyncio.run(polkit.check(connection, ":1.9", "pair", interactive))  # type: ignore[arg-type]


def test_root_is_allowed_without_asking() -> None:
    connection = FakeConnection(0)
    assert ask(connection) == 0 and not connection.asked


def test_yes_is_yes_and_names_caller_and_action() -> None:
    connection = FakeConnection(1000, [True, False, {}])
    assert ask(connection, interactive=True) == 1000
    ((subject, action, _, flags, _),) = connection.asked
    assert subject[0] == "system-bus-name" and subject[1]["name"].value == ":1.9"
    assert (action, flags) == ("org.usb4rdma1.pair", 1)


def test_a_password_is_asked_for_only_if_the_caller_allows_it() -> None:
    connection = FakeConnection(1000, [False, True, {}])
    with pytest.raises(InteractionRequired):
        ask(connection)
    assert connection.asked[0][3] == 0
    with pytest.raises(AccessDenied):
        ask(FakeConnection(1000, [False, True, {}]), interactive=True)


@pytest.mark.parametrize(
    "connection",
    [
        FakeConnection(1000, [False, False, {}]),
        FakeConnection(1000, BusLost("no polkit")),
        FakeConnection(1000, CallFailed("no", "org.freedesktop.DBus.Error.ServiceUnknown")),
        FakeConnection(CallFailed("gone", "org.freedesktop.DBus.Error.NameHasNoOwner")),
    ],
)
def test_everything_else_is_no(connection: FakeConnection) -> None:
    with pytest.raises(AccessDenied):
        ask(connection)
