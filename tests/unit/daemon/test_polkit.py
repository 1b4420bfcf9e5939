# SPDX-License-Identifier: GPL-2.0-or-later
"""polkit: nothing but a clear yes is a yes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from usb4rdmad.bus import dispatch, polkit
from usb4rdmad.bus.polkit import QUESTIONS_MAX, QUESTIONS_PER_USER
from usb4rdmad.errors import (
    AccessDenied,
    BusLost,
    CallFailed,
    InteractionRequired,
    LimitsExceeded,
)


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
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
            return [[True, False, {}]]
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer]


def ask(connection: FakeConnection, interactive: bool = False) -> int:
    return asyncio.run(check(connection, polkit.Questions(), interactive))


async def check(
    connection: FakeConnection, questions: polkit.Questions, interactive: bool = True
) -> int:
    return await polkit.check(connection, questions, ":1.9", "pair", interactive)  # type: ignore[arg-type]


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


async def waiting(connection: FakeConnection, questions: polkit.Questions, number: int) -> Any:
    """So many calls of its user that wait for a password."""
    before = len(connection.asked)
    tasks = [asyncio.create_task(check(connection, questions)) for _ in range(number)]
    await asyncio.sleep(0)
    assert len(connection.asked) == before + number
    return asyncio.gather(*tasks)


def test_passwords_that_are_waited_for_keep_out_neither_root_nor_other_users() -> None:
    async def story() -> None:
        typed = asyncio.Event()
        questions = polkit.Questions()
        user, other = FakeConnection(1000, typed), FakeConnection(1001, typed)
        first = await waiting(user, questions, QUESTIONS_PER_USER)
        with pytest.raises(LimitsExceeded):
            await check(user, questions)
        second = await waiting(other, questions, 1)
        assert await check(FakeConnection(0), questions) == 0
        typed.set()
        assert await first == [1000] * QUESTIONS_PER_USER and await second == [1001]
        assert await check(user, questions) == 1000, "what was answered counts no more"

    asyncio.run(story())


def test_all_users_together_leave_room_for_root() -> None:
    async def story() -> None:
        questions = polkit.Questions()
        users = QUESTIONS_MAX // QUESTIONS_PER_USER
        typed = asyncio.Event()
        every = [
            await waiting(FakeConnection(1000 + n, typed), questions, QUESTIONS_PER_USER)
            for n in range(users)
        ]
        with pytest.raises(LimitsExceeded):
            await check(FakeConnection(3000, typed), questions)
        assert await check(FakeConnection(0), questions) == 0
        typed.set()
        await asyncio.gather(*every)

    asyncio.run(story())
    assert QUESTIONS_MAX < dispatch.TASKS_MAX


def test_a_call_that_is_given_up_counts_no_more() -> None:
    async def story() -> None:
        questions = polkit.Questions()
        user = FakeConnection(1000, asyncio.Event())
        for _ in range(QUESTIONS_PER_USER + 1):
            call = await waiting(user, questions, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(story())
