# SPDX-License-Identifier: GPL-2.0-or-later
"""Which hosts there are and which cables join them; the topology file of the virtual cable.

[[host]]
name = "a"
    [[host.router]]        # optional; one default router if there is none
    version = 2            # and other keys that only the cable reads
[[cable]]
ends = ["a:1", "b:1"]      # host:port, or host.router:port
plugged = true
"""

from __future__ import annotations

import re
import string
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UsageError

HOSTS_MAX = 26
_HOST = re.compile(r"[a-z][a-z0-9]{0,14}")
_END = re.compile(r"([a-z][a-z0-9]{0,14})(?:\.[1-9])?:[1-9]")


@dataclass(frozen=True)
class HostSpec:
    """A host and how many host routers it has."""

    name: str
    routers: int = 1


@dataclass(frozen=True)
class Topology:
    """`text` is what the cable's process reads; empty without any cable emulation."""

    hosts: tuple[HostSpec, ...]
    cables: tuple[str, ...]
    text: str

    @property
    def names(self) -> list[str]:
        """The hosts' names in their order."""
        return [host.name for host in self.hosts]


def parse_cable(text: str) -> tuple[str, str]:
    """The two ends of a cable written as a:1-b:1."""
    first, _, second = text.partition("-")
    if _END.fullmatch(first) and _END.fullmatch(second):
        return first, second
    raise UsageError(f"{text!r} is not a cable", "write it as a:1-b:1 (host:port-host:port)")


def host_of(end: str) -> str:
    """The host an end belongs to."""
    match = _END.fullmatch(end)
    if match is None:
        raise UsageError(f"{end!r} is not an end of a cable", "write it as a:1 (host:port)")
    return match.group(1)


def from_options(count: int, cables: list[str]) -> Topology:
    """Hosts a, b, c ... and cables: a:1-b:1 if none is given, no USB4 at all for "none"."""
    if not 1 <= count <= HOSTS_MAX:
        raise UsageError(f"a lab has 1 to {HOSTS_MAX} hosts, not {count}")
    names = string.ascii_lowercase[:count]
    hosts = tuple(HostSpec(name) for name in names)
    if cables == ["none"]:
        return Topology(hosts, (), "")
    if not cables and count > 1:
        cables = ["a:1-b:1"]
    used: set[str] = set()
    for cable in cables:
        for end in parse_cable(cable):
            if host_of(end) not in names:
                raise UsageError(f"cable {cable}: there is no host {host_of(end)!r}")
            if end in used:
                raise UsageError(f"cable {cable}: {end} has a cable already")
            used.add(end)
    lines = [f'[[host]]\nname = "{name}"\n' for name in names]
    for cable in cables:
        first, second = parse_cable(cable)
        lines.append(f'[[cable]]\nends = ["{first}", "{second}"]\nplugged = true\n')
    return Topology(hosts, tuple(cables), "\n".join(lines))


def from_file(path: Path) -> Topology:
    """What a topology file describes. Only the names are checked here, the rest by the cable."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the topology: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    entries = _tables(path, data, "host")
    every = [_host(path, entry) for entry in entries]
    # A "script" host is played by the cable's process; it is not ours to boot.
    hosts = tuple(
        h for h, entry in zip(every, entries, strict=True) if entry.get("kind") != "script"
    )
    if not hosts:
        raise UsageError(f"{path}: no [[host]] to boot in it")
    names = [host.name for host in every]
    if len(set(names)) != len(names):
        raise UsageError(f"{path}: two hosts have the same name")
    cables = tuple(_cable(path, entry, names) for entry in _tables(path, data, "cable"))
    return Topology(hosts, cables, text)


def _tables(path: Path, data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = data.get(key, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path}: {key} is not a list of tables", f"write [[{key}]]")
    return entries


def _host(path: Path, entry: dict[str, Any]) -> HostSpec:
    name = entry.get("name")
    if not isinstance(name, str) or not _HOST.fullmatch(name):
        raise UsageError(
            f"{path}: {name!r} cannot name a host", "use lower-case letters and digits"
        )
    return HostSpec(name, max(1, len(_tables(path, entry, "router"))))


def _cable(path: Path, entry: dict[str, Any], names: list[str]) -> str:
    ends = entry.get("ends")
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(e, str) for e in ends):
        raise UsageError(f'{path}: a cable needs ends = ["a:1", "b:1"]')
    for end in ends:
        if host_of(end) not in names:
            raise UsageError(f"{path}: cable end {end}: there is no such host")
    return f"{ends[0]}-{ends[1]}"
