# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers method calls from the tables of interfaces.py and a set of objects.

Every call gets one answer: a reply, or an error with a name of ours and a short
sentence. No exception text of Python's leaves the process. What is not in the
tables is refused; what changes something is handed to `perform` as a task, after
`allow` has agreed, so a caller that waits for a password holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import RateLimited, Usb4RdmaError
from ..log import MessageId, note
from . import ROOT, wire
from .interfaces import (
    INTERFACES,
    INTROSPECTABLE,
    OBJECT_MANAGER,
    PROPERTIES,
    Method,
    Property,
)
from .introspection import node_xml
from .present import Objects
from .publish import typed
from .wire import Call

TASKS_MAX = 64
TASKS_PER_SENDER = 8

Perform = Callable[[Call, str, list[Any], int], Awaitable[list[Any]]]
"""(call, "Interface.Member", arguments, uid) -> values; raises Usb4RdmaError."""


class Refuse(Exception):
    """An error reply: the last part of its name, and a sentence."""


class Dispatcher:
    """One object for the connection's lifetime."""

    def __init__(
        self,
        objects: Callable[[], Objects],
        send: Callable[[Any], Any],
        allow: Callable[[Call, str], Awaitable[int]],
        perform: Perform,
    ) -> None:
        self._objects = objects
        self._send = send
        self._allow = allow
        self._perform = perform
        self._tasks: dict[asyncio.Task[None], str] = {}

    def handle(self, call: Call) -> bool:
        """Take a call; always True, since every object of ours is known here."""
        try:
            self._route(call)
        except Refuse as refusal:
            self._error(call, *refusal.args)
        except Exception as error:
            note(MessageId.EFFECT_FAILED, f"{call.member}: {type(error).__name__}: {error}")
            self._error(call, "Failed", "internal error, see the journal")
        return True

    def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()

    def _reply(self, call: Call, signature: str, body: list[Any]) -> None:
        if call.wants_reply:
            self._send(wire.reply(call, signature, body))

    def _error(self, call: Call, name: str, text: str) -> None:
        if call.wants_reply:
            self._send(wire.error(call, name, text))

    # Routing

    def _route(self, call: Call) -> None:
        objects = self._objects()
        if call.interface == INTROSPECTABLE and call.member == "Introspect":
            self._want(call, "")
            self._reply(call, "s", [_introspect(objects, call.path)])
            return
        if call.path not in objects:
            raise Refuse("UnknownObject", f"unknown object {call.path}")
        if call.interface == PROPERTIES:
            self._properties(call, objects)
        elif call.interface == OBJECT_MANAGER and call.path == ROOT:
            if call.member != "GetManagedObjects":
                raise Refuse("UnknownMethod", f"no method {call.member}")
            self._want(call, "")
            body = {
                path: {name: typed(name, dict(values)) for name, values in interfaces.items()}
                for path, interfaces in objects.items()
                if path != ROOT
            }
            self._reply(call, "a{oa{sa{sv}}}", [body])
        else:
            self._method(call, objects)

    @staticmethod
    def _want(call: Call, signature: str) -> None:
        if call.signature != signature:
            raise Refuse(
                "InvalidArgs", f'{call.member} takes "{signature}", not "{call.signature}"'
            )

    def _method(self, call: Call, objects: Objects) -> None:
        candidates = [INTERFACES[name] for name in objects[call.path]]
        if call.interface:
            candidates = [i for i in candidates if i.name == call.interface]
            if not candidates:
                raise Refuse("UnknownInterface", f"{call.path} has no {call.interface}")
        for interface in candidates:
            method = interface.method(call.member)
            if method is not None:
                self._want(call, "".join(s for _, s in method.takes))
                name = f"{interface.name.rsplit('.', 1)[1]}.{method.name}"
                self._spawn(call, name, list(call.body), method)
                return
        raise Refuse("UnknownMethod", f"no method {call.member}")

    # Properties

    def _properties(self, call: Call, objects: Objects) -> None:
        if call.member == "Get":
            self._want(call, "ss")
            prop, values = self._property(call, objects)
            self._reply(call, "v", [wire.variant(prop.signature, values[prop.name])])
        elif call.member == "GetAll":
            self._want(call, "s")
            name = call.body[0]
            if name in objects[call.path]:
                values = dict(objects[call.path][name])
                self._reply(call, "a{sv}", [typed(name, values)])
            elif name in (INTROSPECTABLE, PROPERTIES, OBJECT_MANAGER):
                self._reply(call, "a{sv}", [{}])
            else:
                raise Refuse("UnknownInterface", f"{call.path} has no {name}")
        elif call.member == "Set":
            self._want(call, "ssv")
            prop, _ = self._property(call, objects)
            if not prop.action:
                raise Refuse("PropertyReadOnly", f"{prop.name} cannot be set")
            value = call.body[2]
            if value.signature != prop.signature:
                raise Refuse("InvalidArgs", f'{prop.name} is "{prop.signature}"')
            name = f"{call.body[0].rsplit('.', 1)[1]}.{prop.name}="
            self._spawn(call, name, [value.value], prop)
        else:
            raise Refuse("UnknownMethod", f"no method {call.member}")

    @staticmethod
    def _property(call: Call, objects: Objects) -> tuple[Property, dict[str, Any]]:
        interface, name = call.body[0], call.body[1]
        if interface not in objects[call.path]:
            raise Refuse("UnknownInterface", f"{call.path} has no {interface}")
        prop = INTERFACES[interface].property(name)
        if prop is None:
            raise Refuse("UnknownProperty", f"{interface} has no property {name}")
        return prop, dict(objects[call.path][interface])

    # What takes time

    def _spawn(
        self, call: Call, name: str, arguments: list[Any], member: Method | Property
    ) -> None:
        mine = sum(1 for sender in self._tasks.values() if sender == call.sender)
        if len(self._tasks) >= TASKS_MAX or mine >= TASKS_PER_SENDER:
            raise Refuse("LimitsExceeded", "too many calls are waiting")
        task = asyncio.get_running_loop().create_task(self._run(call, name, arguments, member))
        self._tasks[task] = call.sender
        task.add_done_callback(self._tasks.pop)

    async def _run(
        self, call: Call, name: str, arguments: list[Any], member: Method | Property
    ) -> None:
        try:
            uid = await self._allow(call, member.action) if member.action else -1
            values = await self._perform(call, name, arguments, uid)
            gives = member.gives if isinstance(member, Method) else ()
            self._reply(call, "".join(s for _, s in gives), values)
        except RateLimited as error:
            self._error(call, "RateLimited", str(error))
        except Usb4RdmaError as error:
            self._error(call, error.name, str(error))
        except Exception as error:
            note(MessageId.EFFECT_FAILED, f"{name}: {type(error).__name__}: {error}")
            self._error(call, "Failed", "internal error, see the journal")


def _introspect(objects: Objects, path: str) -> str:
    prefix = path if path.endswith("/") else path + "/"
    children = {p[len(prefix) :].split("/")[0] for p in objects if p.startswith(prefix)}
    if path not in objects and not children:
        raise Refuse("UnknownObject", f"unknown object {path}")
    interfaces = list(objects.get(path, {}))
    return node_xml(interfaces, sorted(children), manager=path == ROOT)
