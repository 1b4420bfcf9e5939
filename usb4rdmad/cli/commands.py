# SPDX-License-Identifier: GPL-2.0-or-later
"""What each verb of usb4rdmactl does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..bus import NAME, ROOT
from . import render
from .client import MANAGER, Client, wait_for
from .exits import Exit, Leave

LINK = f"{NAME}.Link"
PEER = f"{NAME}.Peer"
PAIRING = f"{NAME}.Pairing"
_FINAL = ("blocked", "incompatible")


def style() -> render.Style:
    """What standard output can show; NO_COLOR and dumb terminals are honoured."""
    tty = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return render.Style(
        tty and "NO_COLOR" not in os.environ,
        encoding.startswith("utf"),
        shutil.get_terminal_size().columns,
    )


def _print(value: Any, arguments: Namespace, text: Callable[[], str]) -> None:
    if arguments.json == "short":
        print(json.dumps(value, sort_keys=True, separators=(",", ":")))
    elif arguments.json:
        print(json.dumps(value, sort_keys=True, indent=2))
    else:
        print(text())


def _matches(link: dict[str, Any], name: str | None) -> bool:
    return name is None or name in (link["Name"], link["PeerName"], link["RemoteName"])


async def _found(
    client: Client, changed: asyncio.Event, arguments: Namespace, name: str | None
) -> dict[str, Any]:
    """Describe(), after waiting for a state when --wait says so."""
    if arguments.wait is None:
        return await client.describe()
    wanted = arguments.wait

    def good(found: dict[str, Any]) -> bool:
        links = [x for x in found["links"] if _matches(x, name)]
        if wanted == "gone":
            return not links
        for link in links:
            if link["State"] in _FINAL and wanted != link["State"]:
                raise Leave(
                    Exit.REFUSED, f"{link['Name']} is {link['State']}: {link['StateReason']}"
                )
        return bool(links) and all(x["State"] == wanted for x in links)

    return await wait_for(client, changed, good, arguments.timeout)


async def status(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """The overview."""
    found = await _found(client, changed, arguments, None)
    _print(found, arguments, lambda: render.status(found, style()))


async def listing(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """One line a link and a peer."""
    found = await _found(client, changed, arguments, None)
    value = {"links": found["links"], "peers": found["peers"]}
    _print(value, arguments, lambda: render.listing(found, style()))


async def show(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """One link or peer in full."""
    found = await _found(client, changed, arguments, arguments.name)
    try:
        path = await client.link(arguments.name)
    except Leave as leave:
        if leave.code is not Exit.NOT_FOUND:
            raise
        path = await client.peer(arguments.name)
    for link in found["links"]:
        if link["Path"] == path:
            _print(link, arguments, lambda: render.details(link, style()))  # noqa: B023
            return
    for peer in found["peers"]:
        if peer["Path"] == path:
            _print(peer, arguments, lambda: render.peer_details(peer, style()))  # noqa: B023
            return
    raise Leave(Exit.NOT_FOUND, f"{arguments.name} is gone")


async def pair(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Begin a comparison, show the code."""
    path = await client.link(arguments.name)
    (pairing,) = await client.call(ROOT, MANAGER, "Pair", "oa{sv}", path, {})

    def good(found: dict[str, Any]) -> bool:
        mine = [p for p in found["pairings"] if p["Path"] == pairing]
        return not mine or bool(mine[0]["Code"])

    found = await wait_for(client, changed, good, arguments.timeout)
    mine = [p for p in found["pairings"] if p["Path"] == pairing]
    if not mine:
        raise Leave(Exit.REFUSED, "the pairing has ended", f"usb4rdmactl show {arguments.name}")
    _print(mine[0], arguments, lambda: _code(mine[0]["Code"], arguments.name))


def _code(code: str, name: str) -> str:
    return (
        f"code: {style().bold(code)}\n"
        f"The same on both hosts? Then on both:  usb4rdmactl confirm {name}\n"
        f"Else on either:                        usb4rdmactl reject {name}"
    )


async def _pairing(client: Client, name: str) -> str:
    path = await client.link(name)
    for pairing in (await client.describe())["pairings"]:
        if pairing["Link"] == path:
            return str(pairing["Path"])
    raise Leave(Exit.NOT_FOUND, f"{name} is not being paired", f"usb4rdmactl pair {name}")


async def confirm(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """The codes are the same."""
    await client.call(await _pairing(client, arguments.name), PAIRING, "Confirm")
    if arguments.wait is not None:
        await _found(client, changed, arguments, arguments.name)


async def reject(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """They are not."""
    await client.call(await _pairing(client, arguments.name), PAIRING, "Reject")


async def authorize(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Let a link's peer in without a comparison."""
    path = await client.link(arguments.name)
    await client.call(path, LINK, "Authorize", "a{sv}", {})
    if arguments.wait is not None:
        await _found(client, changed, arguments, arguments.name)


async def deauthorize(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Close a link."""
    await client.call(await client.link(arguments.name), LINK, "Deauthorize")


async def forget(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Remove a peer."""
    await client.call(await client.peer(arguments.name), PEER, "Forget")


async def block(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Shut a peer out."""
    await client.call(await client.peer(arguments.name), PEER, "Block")


async def label(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Name a peer."""
    from ..bus.wire import variant

    path = await client.peer(arguments.name)
    await client.call(
        path,
        "org.freedesktop.DBus.Properties",
        "Set",
        "ssv",
        PEER,
        "Label",
        variant("s", arguments.label),
    )


async def reload(client: Client, changed: asyncio.Event, arguments: Namespace) -> None:
    """Read the configuration again."""
    await client.call(ROOT, MANAGER, "Reload")


Verb = Callable[[Client, asyncio.Event, Namespace], Awaitable[None]]

VERBS: dict[str, Verb] = {
    "status": status,
    "list": listing,
    "show": show,
    "pair": pair,
    "confirm": confirm,
    "reject": reject,
    "authorize": authorize,
    "deauthorize": deauthorize,
    "forget": forget,
    "block": block,
    "label": label,
    "reload": reload,
}


def run(arguments: Namespace) -> None:
    """Carry out a verb; Leave on any failure."""
    if arguments.verb == "monitor":
        asyncio.run(_monitor(arguments))
    else:
        asyncio.run(_run(VERBS[arguments.verb], arguments))


async def _run(verb: Verb, arguments: Namespace) -> None:
    changed = asyncio.Event()
    client = Client()

    def heard(sender: str, path: str, interface: str, member: str, body: Sequence[Any]) -> None:
        changed.set()

    waits = arguments.wait is not None or arguments.verb == "pair"
    await client.open(heard if waits else None)
    try:
        await verb(client, changed, arguments)
    finally:
        client.close()


async def _monitor(arguments: Namespace) -> None:
    """Print events until interrupted, or until --timeout."""
    out = style()

    def heard(sender: str, path: str, interface: str, member: str, body: Sequence[Any]) -> None:
        if member != "LinkEvent":
            return
        link, what, about = body
        if arguments.json:
            line = {"time": time.time(), "path": link, "event": what, **about}
            print(json.dumps(line, sort_keys=True), flush=True)
        else:
            print(render.event(about.get("link", "?"), what, about, time.time(), out), flush=True)

    client = Client()
    await client.open(heard)
    found = await client.describe()
    if arguments.json:
        print(json.dumps({"event": "status", **found}, sort_keys=True), flush=True)
    else:
        print(render.status(found, out), flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(arguments.timeout):
            await asyncio.Event().wait()
