# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl(1) and org.usb4rdma1(5), from the tables that the programs themselves use. Pure."""

from __future__ import annotations

from .. import __version__
from ..bus import NAME, ROOT
from ..bus.interfaces import AGENT, INTERFACES, Interface
from .table import COMMANDS, EXITS, Command, Option

DATE = "2026-11-21"
_HEAD = '.\\" SPDX-License-Identifier: GPL-2.0-or-later\n'

_ABOUT = """\
Talks to usb4rdmad(8) over the system bus. Reading is open to all; what changes
something asks polkit, root is always allowed. A link is named as the kernel does
(0-1), or by the name of its peer; a peer by label, host name, or at least eight
digits of its fingerprint."""

_EXAMPLES = (
    "usb4rdmactl pair 0-1",
    "usb4rdmactl pair 0-1 --no-agent && usb4rdmactl confirm 0-1 --wait",
    "usb4rdmactl status --wait active --timeout 30",
    "usb4rdmactl list --json=short",
    "usb4rdmactl test mars --plot mars.svg",
)


def _escape(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


def _title(name: str, section: int, manual: str) -> str:
    return f'{_HEAD}.TH {name.upper()} {section} {DATE} "usb4rdma {__version__}" "{manual}"\n'


def _synopsis(command: Command) -> str:
    """A verb with its arguments, in roff."""
    words = [f"\\fB{_escape(command.name)}\\fR"]
    for argument in command.arguments:
        shown = "|".join(argument.choices) or argument.name.upper()
        word = f"\\fI{_escape(shown)}\\fR"
        words.append(f"[{word}]" if argument.optional else word)
    return " ".join(words)


def _option(option: Option) -> str:
    flag = f"\\fB{_escape(option.flag)}\\fR"
    if not option.metavar:
        return flag
    value = f"\\fI{_escape(option.metavar)}\\fR"
    return f"{flag}[={value}]" if option.constant is not None else f"{flag} {value}"


def _option_text(option: Option) -> str:
    text = _escape(option.help[0].upper() + option.help[1:])
    if option.choices and option.name not in ("json", "wait"):
        text += ": " + ", ".join(option.choices)
    if option.default is not None:
        text += f" (default {_escape(str(option.default))})"
    return text + "."


def _sentence(text: str) -> str:
    return _escape(text[0].upper() + text[1:]) + "."


def tool() -> str:
    """usb4rdmactl(1)."""
    out = _title("usb4rdmactl", 1, "User Commands")
    out += ".SH NAME\nusb4rdmactl \\- shows and controls RDMA over USB4 cables\n"
    out += ".SH SYNOPSIS\n.B usb4rdmactl\n.RI [ COMMAND ]\n.RI [ OPTIONS ]\n"
    out += f".SH DESCRIPTION\n{_escape(_ABOUT)}\n.SH COMMANDS\n"
    for command in COMMANDS:
        out += f".TP\n{_synopsis(command)}\n{_sentence(command.help)}\n"
        if command.more:
            out += _escape(command.more) + "\n"
        if command.options:
            flags = ", ".join(f"\\fB{_escape(o.flag)}\\fR" for o in command.options)
            out += f".br\nOptions: {flags}.\n"
    out += ".SH OPTIONS\n"
    for option in dict.fromkeys(o for c in COMMANDS for o in c.options):
        users = [c.name for c in COMMANDS if option in c.options]
        out += f".TP\n{_option(option)}\n{_option_text(option)} For: {', '.join(users)}.\n"
    out += (
        "JSON is described by /usr/share/usb4rdma/usb4rdmactl.schema.json.\n"
        ".TP\n\\fB\\-\\-version\\fR\nPrint the version.\n.SH EXIT STATUS\n.nf\n"
    )
    out += "".join(f"{code}  {text}\n" for code, text in EXITS)
    out += ".fi\n.SH ENVIRONMENT\n.TP\n.B NO_COLOR\nNo colours.\n.SH EXAMPLES\n.nf\n"
    out += "".join(_escape(line) + "\n" for line in _EXAMPLES)
    return (
        out
        + ".fi\n.SH SEE ALSO\n.BR usb4rdmad (8),\n.BR usb4rdmad.toml (5),\n.BR org.usb4rdma1 (5)\n"
    )


def api() -> str:
    """org.usb4rdma1(5)."""
    out = _title(NAME, 5, "File Formats Manual")
    out += f".SH NAME\n{NAME} \\- D\\-Bus interface of usb4rdmad\n"
    out += (
        ".SH DESCRIPTION\n.BR usb4rdmad (8)\n"
        f"owns {NAME} on the system bus. {ROOT} has org.freedesktop.DBus.ObjectManager and\n"
        f"{NAME}.Manager; below it are ports, links, peers and pairings. Reading is open to\n"
        "all; what names a polkit action asks for it. Properties send PropertiesChanged\n"
        "unless it says const or silent.\n"
    )
    for interface in INTERFACES.values():
        out += _interface(interface)
    out += (
        ".SH ERRORS\nBeside the standard ones: org.usb4rdma1.Error.* with a sentence, among them\n"
        "NoSuchLink, NoSuchPeer, BadState, AlreadyPaired, RateLimited, CodeMismatch, Busy,\n"
        "TestFailed, AlreadyRegistered, NoSuchAgent, ConfigInvalid, Failed.\n.SH EXAMPLES\n.nf\n"
    )
    for line in (
        f"busctl tree {NAME}",
        f"busctl introspect {NAME} {ROOT}",
        f"busctl get-property {NAME} {ROOT} {NAME}.Manager State",
        f"busctl call {NAME} {ROOT} {NAME}.Manager FindLink s mars",
        f"busctl monitor {NAME}",
    ):
        out += _escape(line) + "\n"
    return out + ".fi\n.SH SEE ALSO\n.BR usb4rdmad (8),\n.BR usb4rdmactl (1),\n.BR busctl (1)\n"


def _interface(interface: Interface) -> str:
    out = f".SH {_escape(interface.name)}\n{_escape(interface.doc)}\n"
    if interface.name == AGENT:
        out += "Exported by clients.\n"
    for prop in interface.properties:
        notes = [f"polkit {NAME}.{prop.action} to write"] if prop.action else []
        notes += [{"const": "const", "false": "silent"}[prop.emits]] if prop.emits != "true" else []
        note = f" ({', '.join(notes)})" if notes else ""
        out += f".TP\n\\fB{prop.name}\\fR \\fI{prop.signature}\\fR{_escape(note)}\n"
        out += _escape(prop.doc) + "\n"
    for method in interface.methods:
        takes = ", ".join(f"{s} {n}" for n, s in method.takes)
        gives = ", ".join(f"{s} {n}" for n, s in method.gives)
        arrow = f" -> {gives}" if gives else ""
        out += f".TP\n\\fB{method.name}\\fR({takes}){_escape(arrow)}\n{_escape(method.doc)}\n"
        if method.action:
            out += _escape(f"Asks polkit for {NAME}.{method.action}.") + "\n"
    for signal in interface.signals:
        args = ", ".join(f"{s} {n}" for n, s in signal.args)
        out += f".TP\nsignal \\fB{signal.name}\\fR({args})\n{_escape(signal.doc)}\n"
    return out
