# SPDX-License-Identifier: GPL-2.0-or-later
"""One event of unplug_events.py under all kinds of traffic, and what came of it."""

from __future__ import annotations

from typing import Any

import scenario
from lab.api import Lab
from traffic import GOES_ON, KINDS, Traffic, judge
from unplug_events import Event

# After so long TCP gives up, as told by TCP_USER_TIMEOUT.
NET_SECONDS = 4
NET_PATIENT = 300
# Within which a flow must have ended: 2.1 s of retries or NET_SECONDS, on emulated hosts.
BOUND = 45.0


def expect_ends(traffic: Traffic, event: Event) -> None:
    """Until all flows have ended that must."""
    for name, wanted in (("a", event.a), ("b", event.b)):
        if wanted is None:
            continue
        side, must = traffic.sides[name], {k for k in KINDS if GOES_ON not in wanted[k]}
        try:
            scenario.until("flows end", BOUND, lambda s=side, m=must: m <= s.ended())  # type: ignore[misc]
        except scenario.ScenarioError as error:
            left = must - side.ended()
            raise scenario.ScenarioError(f"{event.name}: {error}: {left} of {name}") from None


def play(lab: Lab, traffic: Traffic, event: Event) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """One event under all kinds of traffic: (the sides' results, what was wrong)."""
    patient = GOES_ON in event.a["net"]
    traffic.begin(event.timeout, NET_PATIENT if patient else NET_SECONDS)
    traffic.ask("event", "noted")
    event.act(lab)
    gone = traffic.sides.pop("b") if event.b is None else None
    expect_ends(traffic, event)
    if event.undo:
        event.undo(lab)
    lab.wait_links()
    goes_on = [k for k in KINDS if event.b and event.a[k] == event.b[k] == (GOES_ON,)]
    if goes_on:
        traffic.go_on(goes_on)
    results = traffic.ask("stop", "result")
    wrong = judge("a", event.a, results["a"])
    if event.b:
        wrong += judge("b", event.b, results["b"])
        heard = results["b"]["events"]
        wrong += [f"b: no event {name!r}" for name in event.events if name not in heard]
    traffic.ask("close", "closed", BOUND)
    if gone:
        traffic.start("b")
    return results, [f"{event.name}: {text}" for text in wrong]
