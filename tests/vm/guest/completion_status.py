#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reach each completion status and each asynchronous event once, and say what came.

    completion_status.py --device DEVICE --gid INDEX

Queue pairs of this process talk to each other by loopback. The output is one JSON object a line,
{"row", "wanted", "got"}; the exit code says nothing of them. A line {"ready": EVENT} asks the
caller to make an event of the port happen.
"""

from __future__ import annotations

import argparse
import json
import sys

import event_rows
import status_rows
from verbs_pair import Device, Events
from verbs_table import ROWS

# Imported for their rows.
PARTS = (status_rows, event_rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", required=True)
    parser.add_argument("--gid", type=int, required=True)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    options = parser.parse_args()
    dev = Device.open(options.device, options.gid)
    events = Events(dev.ctx)
    # Events last: those of the port disturb everything else.
    for name, wanted, function in sorted(ROWS, key=lambda row: row[0].startswith("event")):
        if options.only not in name:
            continue
        try:
            got = function(dev, events)
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
        print(json.dumps({"row": name, "wanted": wanted, "got": got}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
