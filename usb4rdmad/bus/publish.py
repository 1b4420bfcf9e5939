# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns the difference between two sets of objects into signals, at most ten a second.

Changes are gathered for INTERVAL and sent as one PropertiesChanged an interface.
Objects that come or go are told at once and from the root object, which is where
ObjectManager clients listen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import ROOT
from .interfaces import INTERFACES, OBJECT_MANAGER, PROPERTIES
from .present import Objects
from .wire import variants

INTERVAL = 0.1


@dataclass(frozen=True, slots=True)
class Emission:
    """One signal to send."""

    path: str
    interface: str
    member: str
    signature: str
    body: list[Any]


def typed(interface: str, values: dict[str, Any]) -> dict[str, Any]:
    """Values of an interface's properties as a{sv}."""
    signatures = {p.name: p.signature for p in INTERFACES[interface].properties}
    return dict(variants(signatures, values))


def difference(old: Objects, new: Objects) -> list[Emission]:
    """The signals that take a client from one to the other. Pure."""
    out: list[Emission] = []
    for path in old.keys() - new.keys():
        out.append(
            Emission(ROOT, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, sorted(old[path])])
        )
    for path in sorted(new.keys() - old.keys()):
        added = {name: typed(name, dict(values)) for name, values in new[path].items()}
        out.append(Emission(ROOT, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, added]))
    for path in sorted(new.keys() & old.keys()):
        for name, values in new[path].items():
            before = old[path].get(name, {})
            changed: dict[str, Any] = {}
            invalidated: list[str] = []
            for prop in INTERFACES[name].properties:
                if prop.emits in ("false", "const") or before.get(prop.name) == values[prop.name]:
                    continue
                if prop.emits == "true":
                    changed[prop.name] = values[prop.name]
                elif prop.emits == "invalidates":
                    invalidated.append(prop.name)
            if changed or invalidated:
                body = [name, typed(name, changed), invalidated]
                out.append(Emission(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body))
    return out


class Publisher:
    """Keeps what clients know, and tells them what differs."""

    def __init__(self, emit: Callable[[Emission], None]) -> None:
        self._emit = emit
        self._told: Objects = {}
        self._wanted: Objects = {}
        self._timer: asyncio.TimerHandle | None = None

    def reset(self, objects: Objects) -> None:
        """Clients start from here; no signals."""
        self._told = self._wanted = objects

    def update(self, objects: Objects) -> None:
        """This is how things are now."""
        self._wanted = objects
        if objects.keys() != self._told.keys():
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self.flush)

    def flush(self) -> None:
        """Send what is due now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        told, self._told = self._told, self._wanted
        for emission in difference(told, self._wanted):
            self._emit(emission)
