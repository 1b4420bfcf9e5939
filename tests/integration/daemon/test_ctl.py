# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl against a daemon on a private bus: output, JSON, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from usb4rdmad import __version__
from usb4rdmad.model import LinkState

from .fakes import Cable, FakeHost

Hosts = Callable[..., FakeHost]
TOP = Path(__file__).parents[3]


async def start(host: FakeHost | None, *arguments: str) -> asyncio.subprocess.Process:
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
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )


async def ctl(host: FakeHost | None, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = await start(host, *arguments)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def test_active_link_is_shown_to_people_and_programs(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            code, out, err = await ctl(a, "status", "--wait", "--timeout", "20")
            assert code == 0, err
            assert "1 link, 1 active" in out and "mars" in out and "40 Gb/s (2x20)" in out
            code, out, _ = await ctl(a)
            assert code == 0 and "● 0-1" in out
            code, out, _ = await ctl(a, "--json")
            assert json.loads(out)["links"][0]["PeerName"] == "mars"
            code, out, _ = await ctl(a, "status", "--json=short")
            assert out.count("\n") == 1 and json.loads(out)["manager"]["State"] == "active"
            code, out, _ = await ctl(a, "list")
            assert code == 0 and out.splitlines()[0].split()[0] == "LINK" and "tofu" in out
            for name in ("0-1", "mars"):
                code, out, _ = await ctl(a, "show", name)
                assert code == 0 and "usb4rdma0" in out and "rx_crc" in out
            code, out, _ = await ctl(a, "show", "0-1", "--json")
            assert json.loads(out)["Gids"]
            fingerprint = json.loads(out)["PeerFingerprint"]
            code, out, _ = await ctl(a, "show", fingerprint[:12], "--json")
            assert json.loads(out)["Name"] == "0-1"

    asyncio.run(story())


def test_exit_codes_are_the_documented_ones(hosts: Hosts) -> None:
    async def story() -> None:
        a = hosts("nova")
        assert (await ctl(None, "status"))[0] == 3
        assert (await ctl(a, "status"))[0] == 3, "a bus without the daemon"
        async with a.daemon():
            assert (await ctl(a, "nonsense"))[0] == 2
            assert (await ctl(a, "show"))[0] == 2
            assert (await ctl(a, "show", "nobody"))[0] == 5
            assert (await ctl(a, "forget", "nobody"))[0] == 5
            assert (await ctl(a, "confirm", "0-1"))[0] == 5
            assert (await ctl(a, "status", "--wait", "--timeout", "0.3"))[0] == 6
            assert (await ctl(a, "status", "--wait", "gone"))[0] == 0

    asyncio.run(story())


def test_a_wait_for_a_link_that_policy_refuses_ends_at_once(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="off"), hosts("mars")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.BLOCKED)
            code, _, err = await ctl(a, "status", "--wait", "--timeout", "20")
            assert code == 7 and "policy-off" in err

    asyncio.run(story())


def test_two_people_pair_two_hosts(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
            code, out, err = await ctl(a, "pair", "0-1")
            assert code == 0, err
            shown = out.splitlines()[0].removeprefix("code: ")
            code, out, _ = await ctl(b)
            assert f"code {shown}" in out
            assert (await ctl(b, "confirm", "0-1"))[0] == 0
            code, _, err = await ctl(a, "confirm", "0-1", "--wait", "--timeout", "20")
            assert code == 0, err
            assert (await ctl(a, "label", "mars", "the rack"))[0] == 0
            assert "the rack" in (await ctl(a, "list"))[1]
            assert (await ctl(a, "pair", "0-1"))[0] == 1, "paired already"
            assert (await ctl(a, "deauthorize", "mars"))[0] == 0
            await a.until(LinkState.WAITING_APPROVAL)
            assert (await ctl(a, "authorize", "mars", "--wait"))[0] == 0
            assert (await ctl(a, "block", "the rack"))[0] == 0
            await a.until(LinkState.BLOCKED)
            assert (await ctl(a, "forget", "the rack"))[0] == 0
            assert (await ctl(a, "reload"))[0] == 0

    asyncio.run(story())


@pytest.mark.parametrize("json_wanted", [False, True])
def test_monitor_prints_the_status_and_then_events(hosts: Hosts, json_wanted: bool) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        options = ["--json"] if json_wanted else []
        async with a.daemon(), b.daemon():
            process = await start(a, "monitor", *options)
            assert process.stdout is not None
            async with asyncio.timeout(30):
                first = (await process.stdout.readline()).decode()
                if json_wanted:
                    assert json.loads(first)["event"] == "status"
                else:
                    assert "0 links" in first
                Cable(a, b).plug()
                seen = ""
                while "active" not in seen:
                    seen += (await process.stdout.readline()).decode()
            process.terminate()
            await process.wait()
            if json_wanted:
                events = [json.loads(line)["event"] for line in seen.splitlines()]
                assert events[0] == "link-discovered" and events[-1] == "link-active"
            else:
                assert "link-discovered" not in seen and "0-1" in seen

    asyncio.run(story())


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_touch_no_bus_and_load_no_library(argument: str) -> None:
    script = (
        "import sys\n"
        "from usb4rdmad.cli.main import main\n"
        "try:\n"
        f"    main([{argument!r}])\n"
        "except SystemExit:\n"
        "    pass\n"
        "known = {'dbus_next', 'pydantic', 'pyudev', 'asyncio', 'cryptography'}\n"
        "heavy = known & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("exit codes" if argument == "--help" else __version__) in done.stdout
