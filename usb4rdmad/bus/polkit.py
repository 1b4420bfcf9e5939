# SPDX-License-Identifier: GPL-2.0-or-later
"""May the caller do this? Asked of polkit, one coroutine a call.

Root is always allowed, without asking. Anything but a clear yes is a no: also
an absent polkit, a caller that has left, an answer that does not come in time.

A question may wait for minutes, for somebody to type a password. A user has only
so many of them open, and all users together fewer than there may be calls
(dispatch.TASKS_MAX), so that root's calls are always taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import AccessDenied, BusLost, CallFailed, InteractionRequired, LimitsExceeded
from .connection import Connection
from .wire import variant

PREFIX = "org.usb4rdma1."
INTERACTIVE_TIMEOUT = 120.0
QUESTIONS_MAX = 32
QUESTIONS_PER_USER = 8


class Questions:
    """Those that polkit has not answered yet."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()

    @contextmanager
    def one(self, uid: int) -> Iterator[None]:
        """While it is open; LimitsExceeded if there are too many."""
        if self._open[uid] >= QUESTIONS_PER_USER or self._open.total() >= QUESTIONS_MAX:
            raise LimitsExceeded("too many calls wait for a permission")
        self._open[uid] += 1
        try:
            yield
        finally:
            self._open -= Counter([uid])


async def uid_of(connection: Connection, sender: str) -> int:
    """The user id of a caller."""
    try:
        (uid,) = await connection.call(
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "GetConnectionUnixUser",
            "s",
            [sender],
        )
    except (BusLost, CallFailed):
        raise AccessDenied("the caller is gone") from None
    return int(uid)


async def check(
    connection: Connection, questions: Questions, sender: str, action: str, interactive: bool
) -> int:
    """The caller's user id; or AccessDenied, InteractionRequired, LimitsExceeded."""
    uid = await uid_of(connection, sender)
    if uid == 0:
        return uid
    subject = ["system-bus-name", {"name": variant("s", sender)}]
    try:
        with questions.one(uid):
            (answer,) = await connection.call(
                "org.freedesktop.PolicyKit1",
                "/org/freedesktop/PolicyKit1/Authority",
                "org.freedesktop.PolicyKit1.Authority",
                "CheckAuthorization",
                "(sa{sv})sa{ss}us",
                [subject, PREFIX + action, {}, 1 if interactive else 0, ""],
                INTERACTIVE_TIMEOUT if interactive else 25.0,
            )
    except (BusLost, CallFailed):
        raise AccessDenied(f"{PREFIX}{action}: polkit gave no answer") from None
    authorized, challenge, _ = answer
    if authorized:
        return uid
    if challenge and not interactive:
        raise InteractionRequired(f"{PREFIX}{action} needs a password")
    raise AccessDenied(f"{PREFIX}{action} is not allowed for user {uid}")
