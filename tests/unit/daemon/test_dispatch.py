# SPDX-License-Identifier: GPL-2.0-or-later
"""The dispatcher: who may do what, in which order, and what a failure tells."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from dbus_next import Message, MessageFlag, MessageType, Variant

from usb4rdmad.bus import NAME, ROOT, present
from usb4rdmad.bus.dispatch import TASKS_PER_SENDER, Dispatcher
from usb4rdmad.bus.publish import difference
from usb4rdmad.bus.wire import Call
from usb4rdmad.errors import AccessDenied, InteractionRequired, NoSuchLink
from usb4rdmad.machine import step
from usb4rdmad.model import State

from .helpers import Policy, peer, state
from .test_machine import SEEN, UP

MANAGER = f"{NAME}.Manager"


class Rig:
    def __init__(self, allow: Callable[[], Awaitable[int]] | None = None) -> None:
        s, _ = step(state(Policy.TOFU, peer()), SEEN, 1)
        self.objects = present.objects(s, b"k", "1", lambda link: {})
        self.sent: list[Message] = []
        self.done: list[tuple[str, list[Any], int]] = []
        self.answered = asyncio.Event()
        self.serial = 0
        self.error: Exception | None = None

        async def check(call: Call, action: str) -> int:
            return await allow() if allow else 42

        async def perform(call: Call, name: str, arguments: list[Any], uid: int) -> list[Any]:
            if self.error:
                raise self.error
            self.done.append((name, arguments, uid))
            return {"FindLink": [ROOT], "Pair": [ROOT]}.get(name.split(".")[1], [])

        def send(message: Message) -> None:
            self.sent.append(message)
            self.answered.set()

        self.dispatcher = Dispatcher(lambda: self.objects, send, check, perform)

    def call(
        self,
        member: str,
        signature: str = "",
        *body: Any,
        interface: str | None = MANAGER,
        path: str = ROOT,
        flags: MessageFlag = MessageFlag.NONE,
        sender: str = ":1.5",
    ) -> None:
        self.serial += 1
        message = Message(
            path=path, interface=interface, member=member, signature=signature,
            body=list(body), flags=flags, serial=self.serial, sender=sender,
            destination=NAME,
        )  # fmt: skip
        call = Call.of(message)
        assert call is not None and self.dispatcher.handle(call)

    async def answer(self) -> Message:
        async with asyncio.timeout(5):
            while not self.sent:
                self.answered.clear()
                await self.answered.wait()
        return self.sent.pop(0)


def test_a_refused_caller_changes_nothing() -> None:
    async def story() -> None:
        for refusal in (AccessDenied("no"), InteractionRequired("password")):

            async def allow(refusal: Exception = refusal) -> int:
                raise refusal

            rig = Rig(allow)
            rig.call("Reload")
            answer = await rig.answer()
            assert answer.error_name == f"org.freedesktop.DBus.Error.{refusal.name}"  # type: ignore[attr-defined]
            assert not rig.done

    asyncio.run(story())


def test_the_callers_user_reaches_what_is_performed() -> None:
    async def story() -> None:
        rig = Rig()
        rig.call("Pair", "oa{sv}", "/x", {})
        assert (await rig.answer()).message_type is MessageType.METHOD_RETURN
        assert rig.done == [("Manager.Pair", ["/x", {}], 42)]

    asyncio.run(story())


def test_a_waiting_password_prompt_holds_up_nobody_else() -> None:
    async def story() -> None:
        release = asyncio.Event()

        async def allow() -> int:
            await release.wait()
            return 0

        rig = Rig(allow)
        rig.call("Reload")
        rig.call("FindLink", "s", "x", sender=":1.6")
        answer = await rig.answer()
        assert answer.reply_serial == 2
        release.set()
        assert (await rig.answer()).reply_serial == 1

    asyncio.run(story())


def test_one_caller_may_have_only_so_many_calls_waiting() -> None:
    async def story() -> None:
        async def allow() -> int:
            await asyncio.Event().wait()
            return 0

        rig = Rig(allow)
        for _ in range(TASKS_PER_SENDER + 1):
            rig.call("Reload")
        answer = await rig.answer()
        assert answer.error_name == "org.freedesktop.DBus.Error.LimitsExceeded"
        rig.call("FindLink", "s", "x", sender=":1.7")
        assert (await rig.answer()).message_type is MessageType.METHOD_RETURN
        rig.dispatcher.close()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        (NoSuchLink("no link x"), "org.usb4rdma1.Error.NoSuchLink", "no link x"),
        (KeyError("secret/path.py"), "org.usb4rdma1.Error.Failed", "internal error"),
    ],
)
def test_failures_have_a_name_and_tell_no_internals(error: Exception, name: str, text: str) -> None:
    async def story() -> None:
        rig = Rig()
        rig.error = error
        rig.call("Reload")
        answer = await rig.answer()
        assert answer.error_name == name and answer.body[0].startswith(text)
        assert "secret" not in answer.body[0]

    asyncio.run(story())


def test_who_wants_no_reply_gets_none() -> None:
    async def story() -> None:
        rig = Rig()
        rig.call("Reload", flags=MessageFlag.NO_REPLY_EXPECTED)
        rig.call("Nonsense", flags=MessageFlag.NO_REPLY_EXPECTED)
        rig.call("FindLink", "s", "x")
        assert (await rig.answer()).reply_serial == 3
        assert not rig.sent

    asyncio.run(story())


def test_a_property_of_the_wrong_type_is_refused_before_polkit_is_asked() -> None:
    async def story() -> None:
        async def allow() -> int:
            raise AssertionError

        rig = Rig(allow)
        path = next(p for p in rig.objects if "/peers/" in p)
        rig.call(
            "Set",
            "ssv",
            f"{NAME}.Peer",
            "Label",
            Variant("i", 3),
            interface="org.freedesktop.DBus.Properties",
            path=path,
        )
        assert (await rig.answer()).error_name.endswith("InvalidArgs")

    asyncio.run(story())


def test_difference_of_two_states_is_the_signals_between_them() -> None:
    start: State = state(Policy.CONFIRM)
    one, _ = step(start, SEEN, 1)
    two, _ = step(one, UP, 2)
    old, mid, new = (present.objects(s, b"k", "1", lambda link: {}) for s in (start, one, two))
    added = difference(old, mid)
    assert {e.member for e in added} == {"InterfacesAdded", "PropertiesChanged"}
    changed = difference(mid, new)
    (link,) = [e for e in changed if "/links/" in e.path]
    values = {k: v.value for k, v in link.body[1].items()}
    assert values["State"] == "waiting-approval" and values["PeerName"] == "mars"
    assert "Name" not in values
    assert difference(new, new) == []
    assert {e.member for e in difference(new, old)} == {"InterfacesRemoved", "PropertiesChanged"}
