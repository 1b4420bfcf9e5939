# SPDX-License-Identifier: GPL-2.0-or-later
"""The command usb4rdmactl: arguments and exit codes. Touches no bus by itself."""

from __future__ import annotations

import argparse
import os
import sys

from .. import __version__
from .exits import Exit, Leave
from .table import COMMANDS, DEFAULT, EXITS, Argument, Command, Option

OFFLINE = "completion"
"""Needs neither bus nor asyncio."""


def _add(parser: argparse.ArgumentParser, item: Argument | Option) -> None:
    if isinstance(item, Argument):
        parser.add_argument(
            item.name,
            help=item.help,
            nargs="?" if item.optional else None,
            choices=item.choices or None,
        )
    elif not item.metavar:
        parser.add_argument(item.flag, action="store_true", help=item.help)
    else:
        parser.add_argument(
            item.flag,
            nargs="?" if item.constant is not None else None,
            const=item.constant,
            type=item.type,
            default=item.default,
            choices=item.choices or None,
            metavar=item.metavar,
            help=item.help,
        )


def parser() -> argparse.ArgumentParser:
    """The parser, from the table."""
    exits = ", ".join(f"{code} {text}" for code, text in EXITS)
    root = argparse.ArgumentParser(
        prog="usb4rdmactl",
        description="shows and controls RDMA over USB4 cables",
        epilog=f"exit codes: {exits}",
    )
    root.add_argument("--version", action="version", version=f"usb4rdmactl {__version__}")
    root.add_argument("--complete", choices=("link", "peer", "any"), help=argparse.SUPPRESS)
    verbs = root.add_subparsers(dest="verb", metavar="COMMAND")
    for command in (DEFAULT, *COMMANDS):
        sub = root
        if command.name:
            sub = verbs.add_parser(command.name, help=command.help, description=_sentence(command))
        for argument in command.arguments:
            _add(sub, argument)
        for option in command.options:
            _add(sub, option)
    return root


def _sentence(command: Command) -> str:
    return f"{command.help}. {command.more}".strip()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line, complete for every verb; SystemExit for a wrong one."""
    options = parser().parse_args(arguments)
    options.verb = "complete" if options.complete else options.verb or "status"
    for name in ("json", "wait"):
        if not hasattr(options, name):
            setattr(options, name, None)
    return options


def explain(leave: Leave) -> Exit:
    """Say why the program ends; its exit code."""
    if leave.message:
        print(f"usb4rdmactl: {leave.message}", file=sys.stderr)
    if leave.hint:
        print(f"  try: {leave.hint}", file=sys.stderr)
    return leave.code


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit code."""
    options = parse(arguments)
    try:
        if options.verb == OFFLINE:
            from .completion import script

            print(script(options.shell), end="")
            return Exit.OK
        from . import commands

        return commands.run(options)
    except Leave as leave:
        return explain(leave)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What reads us has gone; Python would complain once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.FAILED


if __name__ == "__main__":
    sys.exit(main())
