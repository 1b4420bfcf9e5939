# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl as tests run it: in this process, or as a program of its own."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema

from usb4rdmad.cli import commands
from usb4rdmad.cli.exits import Leave
from usb4rdmad.cli.main import explain, parse
from usb4rdmad.cli.schema import schema

from .fakes import FakeHost

TOP = Path(__file__).parents[3]


async def start(
    host: FakeHost | None, *arguments: str, stdin: int = subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    """The tool, on a host's bus."""
    environment = dict(os.environ, PYTHONPATH=str(TOP), NO_COLOR="1", PYTHONIOENCODING="utf-8")
    environment["DBUS_SYSTEM_BUS_ADDRESS"] = (
        (host.bus or "") if host else "unix:path=/nonexistent/bus"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "usb4rdmad.cli.main",
        *arguments,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        # As on a terminal, also when whoever started us ignores it (`make test &` does).
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


async def ended(process: asyncio.subprocess.Process) -> int | None:
    """The exit code, once the pipes are closed too: nothing is left for after the event loop."""
    await process.communicate()
    return process.returncode


async def ctl(host: FakeHost | None, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error; in this process, which is quicker."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    address = (host.bus or "") if host else "unix:path=/nonexistent/bus"
    before = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = address
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                async with asyncio.timeout(60):
                    code = int(await commands.carry_out(parse(list(arguments))))
            except Leave as leave:
                code = int(explain(leave))
            except SystemExit as end:
                code = int(end.code or 0)
    finally:
        os.environ.pop("DBUS_SYSTEM_BUS_ADDRESS")
        if before is not None:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = before
    return code, *((f.seek(0), f.read())[1] for f in (out, err))  # type: ignore[return-value]


async def program(host: FakeHost | None, *arguments: str) -> tuple[int, str, str]:
    """The same as a program of its own."""
    process = await start(host, *arguments)
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


VALIDATORS = {
    name: jsonschema.Draft202012Validator(schema() | {"$ref": f"#/$defs/{name}"})
    for name in schema()["$defs"]
}


async def read_json(host: FakeHost, verb: str, *arguments: str) -> Any:
    """What a verb says to programs, checked against its schema."""
    code, out, err = await ctl(host, verb, *arguments, "--json=short")
    assert code in (0, 1), err
    value = json.loads(out)
    VALIDATORS[verb].validate(value)
    return value


async def until_line(process: asyncio.subprocess.Process, wanted: str) -> str:
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(60):
        while wanted not in seen:
            piece = await process.stdout.read(4096)
            assert piece, seen
            seen += piece.decode()
    return seen
