# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab leaves in its run directory, so that other commands find it and can end it."""

from __future__ import annotations

import json
from pathlib import Path

from .procs import ProcessId

PLAN = "plan.json"
SOCKET = "lab.sock"
_SUPERVISOR = "supervisor.json"
_PROCESSES = "processes.json"


def _write(path: Path, data: object) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps(data), encoding="ascii")
    unfinished.replace(path)


def _read(path: Path) -> dict[str, ProcessId]:
    """Processes by name; an unreadable or garbled file counts as empty."""
    try:
        data = json.loads(path.read_text(encoding="ascii"))
        return {
            str(name): ProcessId(int(pid), int(started)) for name, (pid, started) in data.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_supervisor(run_dir: Path, process: ProcessId) -> None:
    """Remember the supervisor."""
    _write(run_dir / _SUPERVISOR, {"supervisor": [process.pid, process.started]})


def supervisor(run_dir: Path) -> ProcessId | None:
    """The supervisor, if it still runs."""
    process = _read(run_dir / _SUPERVISOR).get("supervisor")
    return process if process is not None and process.alive() else None


def write_processes(run_dir: Path, processes: dict[str, ProcessId]) -> None:
    """Remember the cable's and the hosts' processes."""
    _write(run_dir / _PROCESSES, {name: [p.pid, p.started] for name, p in processes.items()})


def processes(run_dir: Path) -> dict[str, ProcessId]:
    """Those of them that still run."""
    return {name: p for name, p in _read(run_dir / _PROCESSES).items() if p.alive()}
