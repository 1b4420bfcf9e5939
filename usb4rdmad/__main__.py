# SPDX-License-Identifier: GPL-2.0-or-later
"""The command usb4rdmad: arguments, then app.py."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from . import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon; 0 after a clean stop, 1 after a failure, 78 for a bad configuration."""
    parser = argparse.ArgumentParser(
        prog="usb4rdmad", description="decides which USB4 hosts may speak RDMA with this one"
    )
    parser.add_argument("--version", action="version", version=f"usb4rdmad {__version__}")
    parser.add_argument(
        "--config", type=Path, default=None, help="instead of /etc/usb4rdma/usb4rdmad.toml"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="read the configuration, say what is wrong"
    )
    parser.add_argument(
        "--state", type=Path, default=None, help="instead of $STATE_DIRECTORY or /var/lib/usb4rdma"
    )
    options = parser.parse_args(arguments)

    from . import config
    from .app import App, Options, real_adapters
    from .errors import ConfigInvalid
    from .log import setup

    setup("info")
    path = options.config or config.DEFAULT
    if options.check_config:
        try:
            config.load(path)
        except ConfigInvalid as error:
            print(error, file=sys.stderr)
            return 78
        print(f"{path}: fine" if path.exists() else f"{path}: not there, defaults are used")
        return 0
    state = options.state or Path(os.environ.get("STATE_DIRECTORY", "/var/lib/usb4rdma"))

    async def run() -> None:
        app = App(Options(path, state), real_adapters())
        app.handle_signals()
        await app.run()

    try:
        asyncio.run(run())
    except Exception as error:
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    """Say what ended the daemon; the exit status for it. Unknown faults are raised on."""
    from .errors import ConfigInvalid, Usb4RdmaError

    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if not isinstance(error, Usb4RdmaError | OSError):
        raise error
    print(error, file=sys.stderr)
    return 78 if isinstance(error, ConfigInvalid) else 1


if __name__ == "__main__":
    sys.exit(main())
