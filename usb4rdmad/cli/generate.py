# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the files that are installed and made from tables: `python3 -m ... DESTDIR`.

Needs nothing but the standard library, so that package builds can run it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..bus.interfaces import INTERFACES
from ..bus.introspection import file_xml
from . import completion, manual
from .schema import schema


def files() -> dict[str, str]:
    """Path below the root, and content."""
    found = {
        "usr/share/bash-completion/completions/usb4rdmactl": completion.bash(),
        "usr/share/zsh/vendor-completions/_usb4rdmactl": completion.zsh(),
        "usr/share/fish/vendor_completions.d/usb4rdmactl.fish": completion.fish(),
        "usr/share/man/man1/usb4rdmactl.1": manual.tool(),
        "usr/share/man/man5/org.usb4rdma1.5": manual.api(),
        "usr/share/usb4rdma/usb4rdmactl.schema.json": json.dumps(schema(), indent=1) + "\n",
    }
    for interface in INTERFACES.values():
        found[f"usr/share/dbus-1/interfaces/{interface.name}.xml"] = file_xml(interface)
    return found


def main(root: Path) -> None:
    """Write them all."""
    for name, text in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
