# SPDX-License-Identifier: GPL-2.0-or-later
"""What each verb of usb4rdmactl does; the larger ones have modules of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ..bus import ROOT
from . import render
from .client import LINK, MANAGER, PAIRING, PEER, Client, reached
from .exits import Exit, Leave
from .output import show as put
from .output import style

COMPLETION_PATIENCE = 0.2


async def _found(client: Client, arguments: Namespace, name: str | None) -> dict[str, Any]:
    """Describe(), after waiting for a state when --wait says so."""
    if arguments.wait is None:
        return await client.describe()
    return await client.wait_for(reached(arguments.wait, name), arguments.timeout)


async def status(client: Client, arguments: Namespace) -> None:
    """The overview."""
    found = await _found(client, arguments, None)
    put(found, arguments, lambda: render.status(found, style()))


async def listing(client: Client, arguments: Namespace) -> None:
    """One line a link and a peer."""
    found = await _found(client, arguments, None)
    value = {"links": found["links"], "peers": found["peers"]}
    put(value, arguments, lambda: render.listing(found, style()))


async def _any_path(client: Client, name: str) -> str:
    """A link's path, or a peer's."""
    try:
        return await client.link(name)
    except Leave as leave:
        if leave.code is not Exit.NOT_FOUND:
            raise
        return await client.peer(name)


async def show(client: Client, arguments: Namespace) -> None:
    """One link or peer in full."""
    found = await _found(client, arguments, arguments.name)
    path = await _any_path(client, arguments.name)
    for link in found["links"]:
        if link["Path"] == path:
            put(link, arguments, lambda: render.details(link, style()))  # noqa: B023
            return
    for peer in found["peers"]:
        if peer["Path"] == path:
            put(peer, arguments, lambda: render.peer_details(peer, style()))  # noqa: B023
            return
    raise Leave(Exit.NOT_FOUND, f"{arguments.name} is gone")


async def pairing_of(client: Client, name: str) -> tuple[str, str]:
    """The paths of a link and of the comparison under way on it."""
    path = await client.link(name)
    for pairing in (await client.describe())["pairings"]:
        if pairing["Link"] == path:
            return path, str(pairing["Path"])
    raise Leave(Exit.NOT_FOUND, f"{name} is not being paired", f"usb4rdmactl pair {name}")


async def confirm(client: Client, arguments: Namespace) -> None:
    """The codes are the same."""
    link, path = await pairing_of(client, arguments.name)
    if arguments.code is None:
        await client.call(path, PAIRING, "Confirm")
    else:
        await client.call(path, PAIRING, "ConfirmCode", "s", arguments.code)
    if arguments.wait is not None:
        await _found(client, arguments, link)


async def reject(client: Client, arguments: Namespace) -> None:
    """They are not."""
    _, path = await pairing_of(client, arguments.name)
    await client.call(path, PAIRING, "Reject")


async def authorize(client: Client, arguments: Namespace) -> None:
    """Let a link's peer in without a comparison."""
    path = await client.link(arguments.name)
    await client.call(path, LINK, "Authorize", "a{sv}", {})
    if arguments.wait is not None:
        await _found(client, arguments, path)


async def deauthorize(client: Client, arguments: Namespace) -> None:
    """Close a link."""
    await client.call(await client.link(arguments.name), LINK, "Deauthorize")


async def forget(client: Client, arguments: Namespace) -> None:
    """Remove a peer."""
    await client.call(await client.peer(arguments.name), PEER, "Forget")


async def block(client: Client, arguments: Namespace) -> None:
    """Shut a peer out, by its name or by the link that it is at."""
    try:
        path, interface = await client.peer(arguments.name), PEER
    except Leave as leave:
        if leave.code is not Exit.NOT_FOUND:
            raise
        path, interface = await client.link(arguments.name), LINK
    await client.call(path, interface, "Block")


async def label(client: Client, arguments: Namespace) -> None:
    """Name a peer."""
    await client.set(await client.peer(arguments.name), PEER, "Label", "s", arguments.label)


async def mtu(client: Client, arguments: Namespace) -> None:
    """Show or set the MTU that is wanted."""
    path = await client.link(arguments.name)
    if arguments.value is not None:
        word = arguments.value
        if word != "default" and not word.isdecimal():
            raise Leave(Exit.USAGE, "an MTU is a number, or default")
        wanted = 0 if word == "default" else min(int(word), 2**32 - 1)
        await client.set(path, LINK, "RequestedMtu", "u", wanted)
    found = await client.describe()
    link = next((x for x in found["links"] if x["Path"] == path), None)
    if link is None:
        raise Leave(Exit.NOT_FOUND, f"{arguments.name} is gone")
    value = {"Name": link["Name"], "Mtu": link["Mtu"], "RequestedMtu": link["RequestedMtu"]}
    wish = link["RequestedMtu"] or "that of the configuration"
    put(value, arguments, lambda: f"{link['Name']}: in use {link['Mtu'] or '-'}, wanted {wish}")


async def policy(client: Client, arguments: Namespace) -> None:
    """Show or set the policy for unknown hosts."""
    if arguments.value is not None:
        await client.set(ROOT, MANAGER, "DefaultPolicy", "s", arguments.value)
    pairing = (await client.configuration())["pairing"]
    value = {"policy": pairing["policy"], "set_at_run_time": pairing["policy_set_at_run_time"]}
    origin = "set at run time" if value["set_at_run_time"] else "as configured"
    put(value, arguments, lambda: f"{value['policy']} ({origin})")


async def reload(client: Client, arguments: Namespace) -> None:
    """Read the configuration again."""
    await client.call(ROOT, MANAGER, "Reload")


async def config(client: Client, arguments: Namespace) -> None:
    """What is in force."""
    found = await client.configuration()
    put(found, arguments, lambda: render.configuration(found))


async def identity(client: Client, arguments: Namespace) -> None:
    """This host's key, for others."""
    import socket

    manager = (await client.describe())["manager"]
    name = socket.gethostname().split(".")[0]
    value = {
        "public_key": manager["PublicKey"],
        "name": name,
        "fingerprint": manager["Fingerprint"],
    }
    put(value, arguments, lambda: render.identity(value))


async def monitor(client: Client, arguments: Namespace) -> None:
    """Print events until interrupted, or until --timeout."""
    out = style()

    def heard(sender: str, path: str, interface: str, member: str, body: Any) -> None:
        if (interface, member) != (MANAGER, "LinkEvent"):
            return
        link, what, about = body
        if arguments.json:
            line = {"time": time.time(), "path": link, "event": what, **about}
            print(json.dumps(line, sort_keys=True), flush=True)
        else:
            print(render.event(about.get("link", "?"), what, about, time.time(), out), flush=True)

    client.on_signal = heard
    found = await client.describe()
    if arguments.json:
        print(json.dumps({"event": "status", **found}, sort_keys=True), flush=True)
    else:
        print(render.status(found, out), flush=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(arguments.timeout):
            await asyncio.Event().wait()


async def complete(client: Client, arguments: Namespace) -> None:
    """Names for a shell's completion."""
    found = await client.describe()
    names: set[str] = set()
    if arguments.complete in ("link", "any"):
        names |= {x["Name"] for x in found["links"]} | {x["PeerName"] for x in found["links"]}
    if arguments.complete in ("peer", "any"):
        for peer in found["peers"]:
            names |= {peer["Label"], peer["Name"], peer["Fingerprint"][:16]}
    for name in sorted(names - {""}):
        print(name)


Verb = Callable[[Client, Namespace], Awaitable[None]]

LISTENS = ("monitor", "pair")
"""Verbs that hear signals whether or not they wait for a state."""


def _verbs() -> dict[str, Verb]:
    from .measure import test
    from .pairing import pair
    from .top import top

    return {
        "status": status,
        "list": listing,
        "show": show,
        "monitor": monitor,
        "top": top,
        "pair": pair,
        "confirm": confirm,
        "reject": reject,
        "authorize": authorize,
        "deauthorize": deauthorize,
        "forget": forget,
        "block": block,
        "label": label,
        "mtu": mtu,
        "policy": policy,
        "test": test,
        "config": config,
        "identity": identity,
        "reload": reload,
        "complete": complete,
    }


def run(arguments: Namespace) -> Exit:
    """Carry out a verb; Leave on any failure that ends it early."""
    return asyncio.run(carry_out(arguments))


async def carry_out(arguments: Namespace) -> Exit:
    """The same on a loop that runs already."""
    if arguments.verb == "doctor":
        from .doctor import doctor

        return await doctor(arguments)
    if arguments.verb == "report":
        from .report import report

        return await report(arguments)
    if arguments.verb == "config" and arguments.what == "check":
        return check_config(arguments)
    if arguments.verb == "config" and arguments.file:
        raise Leave(Exit.USAGE, "a file is for: usb4rdmactl config check FILE")
    try:
        await _run(_verbs()[arguments.verb], arguments)
    except (Leave, TimeoutError):
        if arguments.verb != "complete":
            raise
    return Exit.OK


def check_config(arguments: Namespace) -> Exit:
    """Read a configuration as the daemon would, without it."""
    from .. import config as reader
    from ..errors import ConfigInvalid

    path = Path(arguments.file) if arguments.file else reader.DEFAULT
    if arguments.file and not path.exists():
        raise Leave(Exit.FAILED, f"{path}: not there")
    faults: list[str] = []
    try:
        reader.load(path)
    except ConfigInvalid as error:
        faults = error.message.splitlines()
    value = {"file": str(path), "faults": faults}
    put(value, arguments, lambda: "\n".join(faults) if faults else f"{path}: fine")
    return Exit.FAILED if faults else Exit.OK


async def _run(verb: Verb, arguments: Namespace) -> None:
    client = Client()
    waits = arguments.wait is not None or arguments.verb in LISTENS
    patience = COMPLETION_PATIENCE if arguments.verb == "complete" else None
    try:
        async with asyncio.timeout(patience):
            await client.open(waits)
            await verb(client, arguments)
    finally:
        client.close()
