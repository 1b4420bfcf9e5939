# SPDX-License-Identifier: GPL-2.0-or-later
"""May the caller do this? Asked of polkit, one coroutine a call.

Root is always allowed, without asking. Anything but a clear yes is a no: also
an absent polkit, a caller that has left, an answer that does not come in time.
"""

from __future__ import annotations

from ..errors import AccessDenied, BusLost, CallFailed, InteractionRequired
from .connection import Connection
from .wire import variant

PREFIX = "org.usb4rdma1."
INTERACTIVE_TIMEOUT = 120.0


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


async def check(connection: Connection, sender: str, action: str, interactive: bool) -> int:
    """Returns the caller's user id, or raises AccessDenied or InteractionRequired."""
    uid = await uid_of(connection, sender)
    if uid == 0:
        return uid
    subject = ["system-bus-name", {"name": variant("s", sender)}]
    try:
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
