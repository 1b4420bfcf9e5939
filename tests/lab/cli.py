# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: parses, calls the API, maps errors to exit codes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import build, kernels, roots
from .errors import LabError


def main(argv: list[str]) -> int:
    """Run one command; the exit code."""
    parser = argparse.ArgumentParser(prog="lab")
    sub = parser.add_subparsers(dest="verb", required=True)
    p = sub.add_parser("build-root")
    p.add_argument("--path", action="store_true")
    p = sub.add_parser("exec-build")
    p.add_argument("--out", type=Path, default=Path("/tmp/out"))
    p.add_argument("--kernel", default=kernels.DEFAULT)
    p.add_argument("command", nargs="*")
    args = parser.parse_args(argv)
    try:
        if args.verb == "build-root":
            print(roots.ensure(roots.BUILD))
        else:
            build.exec_build(args.command, args.out, args.kernel)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    return 0
