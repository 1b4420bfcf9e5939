# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's limits, for docs/daemon.md: the very constants that its tests assert. Reads only."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from .tables import code, table

TOP = Path(__file__).resolve().parents[2]
PROCESS = "tests/integration/daemon/test_process.py"


def constants(path: Path) -> dict[str, Any]:
    """Numbers that a module assigns at its top level, sums and shifts of numbers included."""
    found: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.Assign) or any(
            isinstance(part, ast.Name | ast.Call | ast.Attribute) for part in ast.walk(node.value)
        ):
            continue
        value = eval(compile(ast.Expression(node.value), str(path), "eval"), {"__builtins__": {}})
        for target in node.targets:
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value if isinstance(target, ast.Tuple) else [value]
            for name, one in zip(names, values, strict=True):
                if isinstance(name, ast.Name):
                    found[name.id] = one
    return found


def _tests(names: str) -> str:
    return ", ".join(code(name) for name in names.split(", "))


def limits() -> str:
    """What the daemon takes at most, and which test says so."""
    process = constants(TOP / PROCESS)
    dispatch = constants(TOP / "usb4rdmad/bus/dispatch.py")
    polkit = constants(TOP / "usb4rdmad/bus/polkit.py")
    policy = constants(TOP / "usb4rdmad/policy.py")
    agents = constants(TOP / "usb4rdmad/bus/agents.py")
    publish = constants(TOP / "usb4rdmad/bus/publish.py")
    tool = constants(TOP / "tests/integration/daemon/test_ctl.py")
    host = constants(TOP / "tests/vm/test_systemd_hosts_bus.py")
    rows = (
        (
            "memory, in the middle of 2000 hostile calls",
            f"{process['PEAK_MAX'] >> 10} MiB at most, growth {process['GROWTH_MAX'] >> 10} MiB",
            PROCESS,
        ),
        (
            "memory in a host with an active link",
            f"{host['MEMORY_MAX'] / 1e6:g} MB",
            "tests/vm/test_systemd_hosts_bus.py",
        ),
        (
            "processor when idle",
            f"{process['IDLE_CPU_MAX']:.1%}",
            f"{PROCESS}, tests/vm/test_systemd_hosts_bus.py",
        ),
        (
            "calls that wait",
            f"{dispatch['TASKS_MAX']}, {dispatch['TASKS_PER_SENDER']} a caller",
            "tests/unit/daemon/test_dispatch.py",
        ),
        (
            "permissions that are waited for",
            f"{polkit['QUESTIONS_MAX']}, {polkit['QUESTIONS_PER_USER']} a user, none for root",
            "tests/unit/daemon/test_polkit.py",
        ),
        (
            "hosts that `tofu` trusts by itself",
            f"{policy['PINNED_MAX']}",
            "tests/unit/daemon/test_second_thoughts.py",
        ),
        (
            "agents",
            f"{agents['AGENTS_MAX']}, one a caller",
            "tests/integration/daemon/test_agent.py",
        ),
        (
            "signals",
            f"one PropertiesChanged an interface in {publish['INTERVAL']:g} s",
            "tests/integration/daemon/test_bus_strain.py",
        ),
        (
            "`usb4rdmactl --help`",
            f"{tool['IMPORTS_MAX']} modules more than the bare interpreter",
            "tests/integration/daemon/test_ctl.py",
        ),
    )
    return table(
        ("what", "limit", "test"),
        (
            (what, limit, ", ".join(code(t) for t in tests.split(", ")))
            for what, limit, tests in rows
        ),
    )
