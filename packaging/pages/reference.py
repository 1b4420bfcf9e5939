# SPDX-License-Identifier: GPL-2.0-or-later
"""Reference pages from the tables that the programs themselves use: tool, D-Bus, configuration,
and what a link's reasons mean. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from usb4rdmad.bus import NAME, ROOT
from usb4rdmad.bus.interfaces import AGENT, INTERFACES, Interface
from usb4rdmad.cli.linkchecks import _CURES
from usb4rdmad.cli.manual import _EXAMPLES
from usb4rdmad.cli.render import _WHY
from usb4rdmad.cli.table import COMMANDS, EXITS, Command, Option
from usb4rdmad.config import Config

from .tables import cell, code, table

_MADE = "<!-- SPDX-License-Identifier: GPL-2.0-or-later -->\n<!-- Made by `make docs-data`. -->\n"


def _sentence(text: str) -> str:
    """A help text of the tables as a sentence; names of members and values as code."""
    text = text[0].upper() + text[1:]
    return text if text.endswith(".") else text + "."


def _synopsis(command: Command) -> str:
    words = ["usb4rdmactl", command.name]
    for argument in command.arguments:
        shown = "|".join(argument.choices) or argument.name.upper()
        words.append(f"[{shown}]" if argument.optional else shown)
    if command.options:
        words.append("[OPTIONS]")
    return " ".join(words)


def _flag(option: Option) -> str:
    if not option.metavar:
        return option.flag
    value = f"[={option.metavar}]" if option.constant is not None else f" {option.metavar}"
    return option.flag + value


def _option_row(option: Option) -> tuple[str, str, str]:
    text = option.help
    if option.choices and option.name not in ("json", "wait"):
        text += ": " + ", ".join(option.choices)
    default = "" if option.default is None else code(str(option.default))
    return code(_flag(option)), cell(_sentence(text)), default


def tool() -> str:
    """docs/reference/usb4rdmactl.md: every verb of the tool."""
    page = [
        _MADE + "# usb4rdmactl",
        "The tool that shows and controls links. It talks to usb4rdmad over the system bus. "
        "Reading is open to all; what changes something asks polkit, root is always allowed. "
        "`man usb4rdmactl` is made from the same table as this page.",
        "A link is named as the kernel does (`0-1`) or by the name of its peer; a peer by its "
        "label, its host name, or at least eight digits of its fingerprint. Without a verb "
        "`usb4rdmactl` shows the status.",
        "## Verbs",
        table(
            ("verb", "what it does"),
            ((f"[`{c.name}`](#{c.name})", cell(_sentence(c.help))) for c in COMMANDS),
        ),
    ]
    for command in COMMANDS:
        page += [f"## {command.name}", f"    {_synopsis(command)}"]
        page.append(_sentence(command.help) + (f" {command.more}" if command.more else ""))
        rows = [
            (code(a.name.upper()), cell(_sentence(a.help)), "")
            for a in command.arguments
            if not a.choices or a.help
        ]
        rows += [_option_row(option) for option in command.options]
        if rows:
            page.append(table(("argument or option", "meaning", "default"), rows))
    page += [
        "## Exit codes",
        "A contract with scripts.",
        table(("code", "meaning"), ((str(number), text) for number, text in EXITS), (0,)),
        "## JSON",
        "What a verb prints with `--json` is described by "
        "`/usr/share/usb4rdma/usb4rdmactl.schema.json`; [the daemon's page]"
        "(../daemon.md#describe-and-json) has the outline.",
        "## Examples",
        "\n".join(f"    {line}" for line in _EXAMPLES),
    ]
    return "\n\n".join(page) + "\n"


def _arguments(arguments: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{signature} {name}" for name, signature in arguments)


def _interface(interface: Interface) -> list[str]:
    page = [f"## {interface.name}", interface.doc]
    if interface.name == AGENT:
        page.append("Exported by clients, called by the daemon.")
    if interface.properties:
        rows = []
        for prop in interface.properties:
            change = {"true": "signal", "false": "silent", "const": "const"}.get(
                prop.emits, prop.emits
            )
            access = f"read; write: {code(f'{NAME}.{prop.action}')}" if prop.action else "read"
            rows.append((code(prop.name), code(prop.signature), access, change, cell(prop.doc)))
        page.append(table(("property", "type", "access", "changes", "meaning"), rows))
    if interface.methods:
        methods = []
        for method in interface.methods:
            gives = f" → {_arguments(method.gives)}" if method.gives else ""
            call = code(f"{method.name}({_arguments(method.takes)}){gives}")
            action = code(f"{NAME}.{method.action}") if method.action else ""
            methods.append((call, action, cell(method.doc)))
        page.append(table(("method", "polkit action", "meaning"), methods))
    if interface.signals:
        signals = (
            (code(f"{signal.name}({_arguments(signal.args)})"), cell(signal.doc))
            for signal in interface.signals
        )
        page.append(table(("signal", "meaning"), signals))
    return page


def bus() -> str:
    """docs/reference/dbus.md: every member of every interface."""
    page = [
        _MADE + f"# D-Bus: {NAME}",
        f"usb4rdmad owns `{NAME}` on the system bus. `{ROOT}` has "
        f"`org.freedesktop.DBus.ObjectManager` and `{NAME}.Manager`; below it are `ports`, "
        "`links`, `peers` and `pairings`. Reading is open to all. What names a polkit action asks "
        "for it. *signal*: a change is told by PropertiesChanged; *const*: it never changes; "
        "*silent*: it changes without a signal.",
        "The same tables make the introspection data, the XML files in "
        "`/usr/share/dbus-1/interfaces/` and `man org.usb4rdma1`. Members are only ever added. "
        "[The bus by hand](../dbus-sessions.md) shows sessions with `busctl`.",
    ]
    for interface in INTERFACES.values():
        page += _interface(interface)
    return "\n\n".join(page) + "\n"


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(code(f'"{value}"') for value in schema["enum"])
    kind = {"boolean": "true, false", "integer": "number", "string": "text"}[schema["type"]]
    if "minimum" in schema:
        kind = f"{schema['minimum']} to {schema['maximum']}"
    return kind


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _plain(text: str) -> str:
    """Roff of a manual as Markdown: what is bold or slanted there is code here."""
    text = re.sub(r'^\.RB \( (\S+) "([^"]+)\)(.?)"$', r"(`\1\2`)\3", text, flags=re.M)
    text = re.sub(r"^\.[BI] (\S+)$", r"`\1`", text, flags=re.M)
    text = re.sub(r"^\.(?:BR|IR) (\S+) (\S+)$", r"`\1`\2", text, flags=re.M)
    if leftover := re.search(r"^\..*", text, re.M):
        raise ValueError(f"no words for {leftover[0]!r}")
    return " ".join(text.replace("\\-", "-").replace("\\(dq", '"').split())


def _explained(manual: str) -> dict[str, str]:
    """What usb4rdmad.toml(5) says of each setting, by its name."""
    settings = re.compile(r"^\.TP\n\.BR (\w+) .*?\n(.*?)(?=^\.(?:TP|SH))", re.M | re.S)
    return {name: _plain(text) for name, text in settings.findall(manual)}


def configuration(manual: str) -> str:
    """docs/reference/configuration.md, from the model that the daemon checks files with, and from
    the words of usb4rdmad.toml(5)."""
    words = _explained(manual)
    page = [
        _MADE + "# Configuration: usb4rdmad.toml",
        "`/etc/usb4rdma/usb4rdmad.toml`, then `/etc/usb4rdma/usb4rdmad.toml.d/*.toml`, sorted by "
        "name; later values win. No file at all means the defaults. An unknown setting or a "
        "wrong type is an error that names the place and what was expected; the old configuration "
        "stays in force then.",
        "    usb4rdmactl config              # what is in force\n"
        "    usb4rdmactl config check FILE   # check a file before it is used\n"
        "    systemctl reload usb4rdmad      # apply",
        "`man usb4rdmad.toml` says the same. The types, ranges and defaults here are those of the "
        "model that reads the files.",
    ]
    for section, field in Config.model_fields.items():
        model = field.annotation
        properties: dict[str, Any] = model.model_json_schema()["properties"]  # type: ignore[union-attr]
        page.append(f"## [{section}]")
        rows = [
            (code(name), _kind(schema), code(_value(schema["default"])), cell(words[name]))
            for name, schema in properties.items()
        ]
        page.append(table(("setting", "values", "default", "meaning"), rows))
    page += [
        "## Beside the file",
        table(
            ("what", "where", "see"),
            (
                (
                    "the policy at run time",
                    "`usb4rdmactl policy`, D-Bus `DefaultPolicy`; wins until it is `configured`",
                    "[usb4rdmactl policy](usb4rdmactl.md#policy)",
                ),
                (
                    "the MTU with one peer",
                    "`usb4rdmactl mtu`, D-Bus `RequestedMtu`",
                    "[usb4rdmactl mtu](usb4rdmactl.md#mtu)",
                ),
                (
                    "keys of hosts that are let in",
                    "`/etc/usb4rdma/authorized_peers.d/*.toml`, as `usb4rdmactl identity` prints "
                    "one",
                    "[pairing](../pairing.md)",
                ),
                (
                    "the cluster's secret",
                    "the systemd credential `usb4rdma.cluster`, for example "
                    "`/etc/credstore/usb4rdma.cluster`",
                    "[pairing](../pairing.md)",
                ),
            ),
        ),
    ]
    return "\n\n".join(page) + "\n"


def reasons() -> str:
    """A table of why a link is not active, and what helps, as `status` and `doctor` say it."""
    return table(
        ("reason", "what it says", "what helps"),
        (
            (code(reason), cell(text), code_words(_CURES.get(reason, "")))
            for reason, text in _WHY.items()
        ),
    )


def code_words(cure: str) -> str:
    """A cure of the doctor, with the names to put in as words."""
    return cell(cure.format(link="LINK", peer="PEER"))
