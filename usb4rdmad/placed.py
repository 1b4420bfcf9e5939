# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys that an administrator put into authorized_peers.d, one TOML file a host.

`usb4rdmactl identity` prints such a file on the host that it is about. A file
that cannot be used is reported and left out; the others count.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from .log import MessageId, note
from .model import Peer, Trust, fingerprint
from .naming import NAME_PATTERN

FOLDER = "authorized_peers.d"
FILE_MAX = 4096
FILES_MAX = 1024


class PlacedKey(BaseModel):
    """One file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    public_key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = ""


def load(folder: Path) -> tuple[Peer, ...]:
    """The peers of all files that can be used; a folder that is not there has none."""
    found: dict[bytes, Peer] = {}
    for path in sorted(folder.glob("*.toml"))[:FILES_MAX]:
        try:
            peer = _read(path)
        except ValidationError as error:
            keys = ", ".join(str(e["loc"][0]) for e in error.errors(include_url=False))
            note(MessageId.KEY_REFUSED, f"{path}: bad or missing: {keys}")
        except RecursionError:
            note(MessageId.KEY_REFUSED, f"{path}: nested too deeply")
        except (OSError, ValueError) as error:
            note(MessageId.KEY_REFUSED, f"{path}: {error}")
        else:
            found[peer.identity] = peer
    return tuple(found.values())


def _read(path: Path) -> Peer:
    if path.stat().st_size > FILE_MAX:
        raise ValueError(f"larger than {FILE_MAX} bytes")
    placed = PlacedKey.model_validate(tomllib.loads(path.read_text("utf-8")))
    key = bytes.fromhex(placed.public_key)
    return Peer(fingerprint(key), key, Trust.PLACED, placed.name)
