# SPDX-License-Identifier: GPL-2.0-or-later
"""The topology file: hosts with their routers, and cables.  Pure parsing and checking."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

from .nhi import MAX_RINGS, MIN_RINGS

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
END = re.compile(r"([a-z][a-z0-9_]{0,31})(?:\.([1-9]))?:([1-9])")


class TopologyError(Exception):
    """One line that names the key and says what is wrong with it."""


@dataclass(frozen=True)
class End:
    """A port: host, router (from 1), port (from 1)."""

    host: str
    router: int
    port: int

    @classmethod
    def parse(cls, text: object) -> End:
        match = END.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise TopologyError(f"{text!r} is no port: it must look like a:1 or a.2:1")
        return cls(match[1], int(match[2] or 1), int(match[3]))

    def __str__(self) -> str:
        router = "" if self.router == 1 else f".{self.router}"
        return f"{self.host}{router}:{self.port}"


@dataclass(frozen=True)
class RouterSpec:
    version: int = 1
    ports: int = 2
    lanes: int = 2
    rings: int = 12


@dataclass(frozen=True)
class HostSpec:
    """`kind` is "vm" (behind a vfio-user socket for each router) or "script"; a script host may
    name its peer class as "module:Class"."""

    name: str
    kind: str = "vm"
    routers: tuple[RouterSpec, ...] = (RouterSpec(),)
    peer: str = ""


@dataclass(frozen=True)
class CableSpec:
    ends: tuple[End, End]
    plugged: bool = True


@dataclass(frozen=True)
class Topology:
    hosts: tuple[HostSpec, ...] = ()
    cables: tuple[CableSpec, ...] = field(default=())


def parse(text: str) -> Topology:
    """The topology that `text` (TOML) describes."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"not TOML: {error}") from error
    _only(data, "", {"host", "cable"})
    hosts = tuple(
        _host(table, f"host[{n}]") for n, table in enumerate(_tables(data, "host", "host"), 1)
    )
    if not hosts:
        raise TopologyError("host: at least one is needed")
    names = [host.name for host in hosts]
    for name in names:
        if names.count(name) > 1:
            raise TopologyError(f"host.name: {name!r} is there twice")
    cables = tuple(
        _cable(table, f"cable[{n}]", hosts)
        for n, table in enumerate(_tables(data, "cable", "cable"), 1)
    )
    used: set[End] = set()
    for n, cable in enumerate(cables, 1):
        for end in cable.ends:
            if cable.plugged and end in used:
                raise TopologyError(f"cable[{n}].ends: {end} has a cable already")
            if cable.plugged:
                used.add(end)
    return Topology(hosts, cables)


def check_end(end: End, hosts: tuple[HostSpec, ...]) -> None:
    """TopologyError when there is no such port."""
    for host in hosts:
        if host.name != end.host:
            continue
        if end.router > len(host.routers):
            raise TopologyError(f"{end}: host {host.name} has {len(host.routers)} router(s)")
        if end.port > host.routers[end.router - 1].ports:
            raise TopologyError(f"{end}: that router has no port {end.port}")
        return
    raise TopologyError(f"{end}: there is no host {end.host!r}")


def _host(table: dict[str, Any], where: str) -> HostSpec:
    _only(table, where, {"name", "kind", "router", "peer"})
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise TopologyError(f"{where}.name: must be a-z, 0-9 and _, not {name!r}")
    kind = table.get("kind", "vm")
    if kind not in ("vm", "script"):
        raise TopologyError(f'{where}.kind: must be "vm" or "script", not {kind!r}')
    peer = table.get("peer", "")
    if not isinstance(peer, str) or (peer and (kind != "script" or peer.count(":") != 1)):
        raise TopologyError(f'{where}.peer: "module:Class" of a script host, not {peer!r}')
    tables = _tables(table, "router", f"{where}.router")
    if kind == "script" and len(tables) > 1:
        raise TopologyError(f"{where}.router: a script host has one")
    routers = tuple(_router(spec, f"{where}.router[{n}]") for n, spec in enumerate(tables, 1))
    return HostSpec(name, kind, routers or (RouterSpec(),), peer)


def _router(table: dict[str, Any], where: str) -> RouterSpec:
    limits = {"version": (1, 2), "ports": (1, 2), "lanes": (1, 2), "rings": (MIN_RINGS, MAX_RINGS)}
    _only(table, where, set(limits))
    values: dict[str, int] = {}
    for key, value in table.items():
        low, high = limits[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise TopologyError(f"{where}.{key}: must be {low} to {high}, not {value!r}")
        values[key] = value
    return RouterSpec(**values)


def _cable(table: dict[str, Any], where: str, hosts: tuple[HostSpec, ...]) -> CableSpec:
    _only(table, where, {"ends", "plugged"})
    ends = table.get("ends")
    if not isinstance(ends, list) or len(ends) != 2:
        raise TopologyError(f'{where}.ends: must be two ports like ["a:1", "b:1"], not {ends!r}')
    plugged = table.get("plugged", True)
    if not isinstance(plugged, bool):
        raise TopologyError(f"{where}.plugged: must be true or false, not {plugged!r}")
    try:
        a, b = (End.parse(end) for end in ends)
        for end in (a, b):
            check_end(end, hosts)
    except TopologyError as error:
        raise TopologyError(f"{where}.ends: {error}") from error
    if a == b:
        raise TopologyError(f"{where}.ends: both are {a}")
    return CableSpec((a, b), plugged)


def _only(table: dict[str, Any], where: str, known: set[str]) -> None:
    for key in table:
        if key not in known:
            name = f"{where}.{key}" if where else key
            raise TopologyError(f"{name}: unknown key, known are {', '.join(sorted(known))}")


def _tables(table: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise TopologyError(f"{where}: must be written as [[{key}]] tables")
    return value
