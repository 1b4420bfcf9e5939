# SPDX-License-Identifier: GPL-2.0-or-later
"""The command usb4rdmactl: arguments and exit codes. Touches no bus by itself."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from .. import __version__
from .exits import Exit, Leave

TIMEOUT = 60.0


@dataclass(frozen=True)
class Command:
    """A verb; the table drives parser, help and completion."""

    name: str
    help: str
    arguments: tuple[tuple[str, str], ...] = ()
    reads: bool = False
    """Has --json."""
    waits: bool = False
    """Has --wait."""


_LINK = ("name", "link (0-1) or name of its peer")
_PEER = ("name", "label, name or start of the fingerprint of a peer")

COMMANDS = (
    Command("status", "overview of all links (default)", (), True, True),
    Command("list", "one line a link and a peer", (), True, True),
    Command("show", "everything about a link or peer", (_LINK,), True, True),
    Command("monitor", "print what happens", (), True),
    Command("pair", "compare codes with the host at the end of a link", (_LINK,), True),
    Command("confirm", "the codes are the same", (_LINK,), False, True),
    Command("reject", "the codes differ, or not now", (_LINK,)),
    Command("authorize", "let a link's peer in without comparing", (_LINK,), False, True),
    Command("deauthorize", "close a link until it is plugged again", (_LINK,)),
    Command("forget", "remove a peer's key and device", (_PEER,)),
    Command("block", "shut a peer out for good", (_PEER,)),
    Command("label", "name a peer", (_PEER, ("label", "the new name, may be empty"))),
    Command("reload", "have the daemon read its configuration again"),
)

EPILOG = """\
exit codes: 0 ok, 1 failed, 2 usage, 3 daemon not reachable, 4 not authorised,
5 not found, 6 timed out, 7 refused by the peer or by policy"""


def parser() -> argparse.ArgumentParser:
    """The parser, from the table."""
    root = argparse.ArgumentParser(
        prog="usb4rdmactl",
        description="shows and controls RDMA over USB4 cables",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"usb4rdmactl {__version__}")
    verbs = root.add_subparsers(dest="verb", metavar="COMMAND")
    for command in (Command("", "", (), True, True), *COMMANDS):
        sub = verbs.add_parser(command.name, help=command.help) if command.name else root
        for name, text in command.arguments:
            sub.add_argument(name, help=text)
        if command.reads:
            sub.add_argument(
                "--json",
                nargs="?",
                const="pretty",
                choices=("pretty", "short"),
                help="for programs",
            )
        if command.waits:
            sub.add_argument(
                "--wait",
                nargs="?",
                const="active",
                metavar="STATE",
                help="until the links are in this state (active); gone: until unplugged",
            )
        if command.waits or command.name in ("pair", "monitor"):
            sub.add_argument(
                "--timeout",
                type=float,
                default=None if command.name == "monitor" else TIMEOUT,
                metavar="SECONDS",
                help="give up after so long",
            )
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code."""
    options = parser().parse_args(arguments)
    options.verb = options.verb or "status"
    for name in ("json", "wait"):
        if not hasattr(options, name):
            setattr(options, name, None)
    from . import commands

    try:
        commands.run(options)
    except Leave as leave:
        if leave.message:
            print(f"usb4rdmactl: {leave.message}", file=sys.stderr)
        if leave.hint:
            print(f"  try: {leave.hint}", file=sys.stderr)
        return leave.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return Exit.FAILED
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
