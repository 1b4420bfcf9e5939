# SPDX-License-Identifier: GPL-2.0-or-later
"""The child process of a test: usb4rdmad.selftest DEVICE GID KIND SIZE COUNT ROLE.

One JSON object a line on standard output: {"endpoint": HEX} or {"error": TEXT},
then, once the other end's endpoint came as a line of hex, what was measured or
an error. Ends by itself when its time is up, whoever forgot it.
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from typing import Any

from ..model import ProbeKind, ProbePlan
from .endpoint import Endpoint, EndpointInvalid

LIFETIME = 60
INITIATOR, ANSWERER = "initiator", "answerer"


def say(**fields: Any) -> None:
    """One line to the daemon."""
    print(json.dumps(fields), flush=True)


def main(words: list[str]) -> int:
    """0 unless something went wrong, which was then said."""
    signal.alarm(LIFETIME)
    ibdev, gid, kind, size, count, role = words
    plan = ProbePlan(ProbeKind(kind), int(size), int(count), role == INITIATOR)
    try:
        from .verbs import PyverbsError, TestFailed, Verbs
    except ImportError as error:
        say(error=f"python3-pyverbs is not installed ({error})")
        return 1
    try:
        verbs = Verbs(ibdev, gid, plan)
        say(endpoint=verbs.endpoint.pack().hex())
        line = sys.stdin.readline()
        if not line:
            return 1
        verbs.connect(Endpoint.parse(bytes.fromhex(line.strip())))
        say(**asdict(verbs.run()))
        return 0
    except EndpointInvalid as error:
        say(error=f"the other end sent {error}")
    except TestFailed as error:
        say(error=str(error))
    except (PyverbsError, OSError) as error:
        say(error=f"verbs: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
