# SPDX-License-Identifier: GPL-2.0-or-later
"""`usb4rdmactl pair`: an agent in the terminal, or the code alone for scripts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from ..bus import ROOT
from ..bus.interfaces import AGENT
from ..bus.wire import Call, error, plain, reply
from . import render
from .client import MANAGER, PAIRING, Client, reached
from .exits import Exit, Leave
from .output import show, style
from .table import TIMEOUT

PATH = f"{ROOT}/agent"
STDIN = 0
AGENT_PATIENCE = 600.0
_STEPS = {
    "handshaking": "talking to the other host's usb4rdmad",
    "pairing": "making the code",
    "authorizing": "trusted; opening the link",
    "configuring": "agreeing on addresses",
    "active": "active",
}


async def pair(client: Client, arguments: Namespace) -> None:
    """Begin a comparison; on a terminal stay until it is decided."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and arguments.json is None
    if (arguments.agent or interactive or arguments.name is None) and not arguments.no_agent:
        await _TerminalAgent(client, arguments).run()
    elif arguments.name is None:
        raise Leave(Exit.USAGE, "pair --no-agent needs a link")
    else:
        await _code_only(client, arguments)


async def _code_only(client: Client, arguments: Namespace) -> None:
    path = await client.link(arguments.name)
    (pairing,) = await client.call(ROOT, MANAGER, "Pair", "oa{sv}", path, {})

    def good(found: dict[str, Any]) -> bool:
        mine = [p for p in found["pairings"] if p["Path"] == pairing]
        return not mine or bool(mine[0]["Code"])

    found = await client.wait_for(good, arguments.timeout or TIMEOUT)
    mine = [p for p in found["pairings"] if p["Path"] == pairing]
    if not mine:
        raise Leave(Exit.REFUSED, "the pairing has ended", f"usb4rdmactl show {arguments.name}")
    show(mine[0], arguments, lambda: _code_text(mine[0]["Code"], arguments.name))


def _code_text(code: str, name: str) -> str:
    return (
        f"code: {style().bold(code)}\n"
        f"The same on both hosts? Then on both:  usb4rdmactl confirm {name}\n"
        f"Else on either:                        usb4rdmactl reject {name}"
    )


class _TerminalAgent:
    """Exports an Agent object, shows codes, reads yes or no."""

    def __init__(self, client: Client, arguments: Namespace) -> None:
        self._client = client
        self._arguments = arguments
        self._question: Call | None = None
        self._said = ""
        self._line = b""
        self._patience = arguments.timeout or AGENT_PATIENCE

    async def run(self) -> None:
        """Until the link is active or refused; without a link until interrupted."""
        client, name = self._client, self._arguments.name
        path = await client.link(name) if name else ""
        client.on_call = self._called
        await client.call(ROOT, MANAGER, "RegisterAgent", "oa{sv}", PATH, {})
        with contextlib.suppress(PermissionError):  # a file or /dev/null: nobody types there
            asyncio.get_running_loop().add_reader(STDIN, self._typed)
        try:
            if not path:
                self._say("waiting for codes; Ctrl-C ends it")
                await asyncio.Event().wait()
            await self._one(name, path)
        finally:
            asyncio.get_running_loop().remove_reader(STDIN)

    async def _one(self, name: str, path: str) -> None:
        found = await self._client.describe()
        link = next((x for x in found["links"] if x["Path"] == path), None)
        if link is not None and link["State"] != "pairing":
            self._say(f"found {link['RemoteName'] or 'a host'} at {link['Name']}")
            await self._client.call(ROOT, MANAGER, "Pair", "oa{sv}", path, {})
        try:
            await self._client.wait_for(self._progress(path), self._patience)
        except asyncio.CancelledError:
            # Ctrl-C: do not leave the other host waiting, even before the code is there.
            with contextlib.suppress(Leave):
                for pairing in (await self._client.describe())["pairings"]:
                    if pairing["Link"] == path:
                        await self._client.call(pairing["Path"], PAIRING, "Reject")
            raise
        await self._client.wait_for(reached("active", path), self._patience)
        self._say(f"{name} is active")

    def _progress(self, path: str) -> Callable[[dict[str, Any]], bool]:
        """Tell each step; done when the comparison has been decided."""

        def look(found: dict[str, Any]) -> bool:
            link = next((x for x in found["links"] if x["Path"] == path), None)
            if link is None:
                raise Leave(Exit.NOT_FOUND, "the cable was pulled")
            if link["State"] in _STEPS:
                self._say(_STEPS[link["State"]])
                return link["State"] not in ("handshaking", "pairing")
            # Pair has answered, so this is its end; strangers as before when a daemon began anew.
            if link["State"] == "waiting-approval":
                if link["StateReason"] == "unknown-peer":
                    again = f"usb4rdmactl pair {link['Name']}"
                    raise Leave(Exit.REFUSED, "the pairing was cut short", again)
                raise Leave(Exit.REFUSED, render.why(link["StateReason"]))
            return bool(link["State"] == "blocked")

        return look

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            print(text, flush=True)

    # The object

    def _called(self, call: Call) -> bool:
        if call.path != PATH or call.interface not in ("", AGENT):
            return False
        if call.member == "RequestConfirmation" and call.signature == "osa{sv}":
            self._question = call
            about = plain(call.body[2])
            out = style()
            who = about.get("peer_name") or "the other host"
            self._said = _STEPS["pairing"]  # not again: it would break the question
            print(
                f"\n{about.get('name', '')}: {who}, key {about.get('fingerprint', '')[:16]}\n"
                f"code: {out.bold(call.body[1])}\n"
                "Does the other host show the same code? [y/n] ",
                end="",
                flush=True,
            )
        elif call.member in ("Cancel", "Release"):
            if self._question is not None:
                print("\nthe question is settled", flush=True)
            self._question = None
            self._client.connection.send(reply(call, "", []))
        else:
            self._client.connection.send(error(call, "UnknownMethod", "no such method"))
        return True

    def _typed(self) -> None:
        typed = os.read(STDIN, 4096)
        if not typed:
            asyncio.get_running_loop().remove_reader(STDIN)
            self._answer("n")
            return
        self._line += typed
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            self._answer(line.decode("utf-8", "replace").strip().lower())

    def _answer(self, word: str) -> None:
        question = self._question
        if question is None:
            return
        if word in ("y", "yes"):
            self._client.connection.send(reply(question, "", []))
        elif word in ("n", "no"):
            self._client.connection.send(error(question, "Rejected", "the codes differ"))
        else:
            print("y or n? ", end="", flush=True)
            return
        self._question = None
