# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl against a daemon on a private bus: output, JSON, exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from usb4rdmad import __version__
from usb4rdmad.cli import commands
from usb4rdmad.cli.schema import schema
from usb4rdmad.model import Hardware, HostPort, LinkState

from .ctl import TOP, VALIDATORS, ctl, ended, program, read_json, start
from .fakes import Cable, Hosts


def test_active_link_is_shown_to_people_and_programs(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            code, out, err = await ctl(a, "status", "--wait", "--timeout", "60")
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
        assert (await program(None, "status"))[0] == 3
        assert (await program(a, "status"))[0] == 3, "a bus without the daemon"
        async with a.daemon():
            assert (await program(a, "nonsense"))[0] == 2
            assert (await ctl(a, "show"))[0] == 2
            assert (await program(a, "show", "nobody"))[0] == 5
            assert (await program(a, "status", "--json"))[0] == 0
            assert (await ctl(a, "forget", "nobody"))[0] == 5
            assert (await ctl(a, "confirm", "0-1"))[0] == 5
            assert (await ctl(a, "status", "--wait", "--timeout", "0.3"))[0] == 6
            assert (await ctl(a, "status", "--wait", "gone"))[0] == 0

    asyncio.run(story())


@pytest.mark.parametrize("json_wanted", [False, True])
def test_monitor_prints_the_status_and_then_events(hosts: Hosts, json_wanted: bool) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        options = ["--json"] if json_wanted else []
        async with a.daemon(), b.daemon():
            process = await start(a, "monitor", *options)
            assert process.stdout is not None
            async with asyncio.timeout(60):
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
            await ended(process)
            if json_wanted:
                events = [json.loads(line)["event"] for line in seen.splitlines()]
                assert events[0] == "link-discovered" and events[-1] == "link-active"
            else:
                assert "link-discovered" not in seen and "0-1" in seen

    asyncio.run(story())


def test_json_of_every_verb_that_reads_is_as_the_schema_says(hosts: Hosts, tmp_path: Path) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        port = HostPort(0, 1, "usb4_port1", "/sys/x/usb4_port1", "usb4")
        a.hardware_now = Hardware((port,), iommu=True)
        async with a.daemon() as hub, b.daemon():
            await hub.flush()
            empty = await read_json(a, "status")
            assert empty["manager"]["IommuProtected"] is True
            assert [p["Link"] for p in empty["ports"]] == ["/"]
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
            pairing = await read_json(a, "pair", "0-1")
            assert pairing["Code"]
            assert (await read_json(a, "status"))["pairings"] == [pairing]
            assert (await ctl(a, "confirm", "0-1", pairing["Code"]))[0] == 0
            assert (await ctl(b, "confirm", "0-1", pairing["Code"].replace(" ", "")))[0] == 0
            await a.until(LinkState.ACTIVE)
            await b.until(LinkState.ACTIVE)
            status = await read_json(a, "status")
            assert status["ports"][0]["Link"] == status["links"][0]["Path"]
            assert status["links"][0]["Port"] == status["ports"][0]["Path"]
            short = json.loads((await ctl(a, "--json"))[1])
            assert short.keys() == status.keys() and short["peers"] == status["peers"]
            await read_json(a, "list")
            await read_json(a, "show", "0-1")
            peer = await read_json(a, "show", status["peers"][0]["Fingerprint"])
            assert peer["Name"] == "0-1", "a link that is plugged comes first"
            assert (await read_json(a, "mtu", "0-1"))["RequestedMtu"] == 0
            assert (await read_json(a, "policy")) == {
                "policy": "confirm",
                "set_at_run_time": False,
            }
            assert (await read_json(a, "test", "0-1"))["latency_ns"] == 2500
            write = await read_json(a, "test", "mars", "--kind", "write", "--size", "4096")
            assert write["size"] == 4096 and write["bits_per_second"] == 10**10
            target = tmp_path / "out.svg"
            plot = await read_json(a, "test", "0-1", "--plot", str(target))
            assert len(plot["results"]) == 12 and target.read_text().startswith("<svg")
            findings = (await read_json(a, "doctor"))["findings"]
            assert any(f["text"] == "0-1 is active" for f in findings)
            assert (await read_json(a, "config"))["pairing"]["policy"] == "confirm"
            assert (await read_json(a, "config", "check"))["faults"] == []
            assert (await read_json(a, "identity"))["fingerprint"] == hub.state.identity.hex()
            await read_json(a, "top", "--interval", "0.1", "--count", "1")
            code, out, _ = await ctl(a, "monitor", "--json", "--timeout", "0.5")
            VALIDATORS["monitor"].validate(json.loads(out))

    asyncio.run(story())


def test_the_schema_knows_what_is_missing_and_what_is_too_much() -> None:
    assert jsonschema.Draft202012Validator.check_schema(schema()) is None
    good = {"findings": [{"id": "x", "level": "ok", "text": "t", "cure": ""}]}
    assert VALIDATORS["doctor"].is_valid(good)
    assert not VALIDATORS["doctor"].is_valid({"findings": [{"id": "x", "level": "ok"}]})
    assert not VALIDATORS["doctor"].is_valid(good | {"more": 1})
    assert not VALIDATORS["mtu"].is_valid({"Name": "0-1", "Mtu": -1, "RequestedMtu": 0})


def test_completion_gives_live_names_and_is_silent_without_a_daemon(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A person does not wait that long; a test on a busy machine has to.
    monkeypatch.setattr(commands, "COMPLETION_PATIENCE", 10.0)

    async def story() -> None:
        a, b = hosts("nova"), hosts("mars")
        assert await ctl(a, "--complete", "link") == (0, "", "")
        async with a.daemon(), b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.ACTIVE)
            assert (await ctl(a, "--complete", "link"))[1].split() == ["0-1", "mars"]
            assert "mars" in (await ctl(a, "--complete", "peer"))[1].split()
        assert "complete -F" in (await program(None, "completion", "bash"))[1]

    asyncio.run(story())


def test_report_and_config_check_need_no_daemon(tmp_path: Path) -> None:
    async def story() -> None:
        target = tmp_path / "report.txt"
        code, out, err = await ctl(None, "report", "--output", str(target))
        assert code == 0 and "look through it" in out, err
        text = target.read_text()
        assert "==== doctor" in text
        assert not re.search(rf"\b{re.escape(os.uname().nodename)}\b", text)
        bad = tmp_path / "bad.toml"
        bad.write_text('[pairing]\npolicy = "confrim"\n')
        code, out, _ = await ctl(None, "config", "check", str(bad))
        assert code == 1 and 'did you mean "confirm"' in out
        assert (await ctl(None, "config", "check", str(tmp_path / "none.toml")))[0] == 1
        assert (await ctl(None, "config", "show", str(bad)))[0] == 2
        code, out, _ = await ctl(None, "doctor")
        assert code == 1 and "cure: " in out

    asyncio.run(story())


IMPORTS_MAX = 45
"""Modules that --help may add to the bare interpreter: their number is what costs time."""


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_touch_no_bus_and_load_little(argument: str) -> None:
    script = (
        "import sys\nbare = set(sys.modules)\n"
        "from usb4rdmad.cli.main import main\n"
        "try:\n"
        f"    main([{argument!r}])\n"
        "except SystemExit:\n"
        "    pass\n"
        "known = {'dbus_next', 'pydantic', 'pyudev', 'asyncio', 'cryptography', 'json'}\n"
        "added = set(sys.modules) - bare\n"
        "assert not known & added, known & added\n"
        f"assert len(added) <= {IMPORTS_MAX}, (len(added), sorted(added))\n"
        "assert not added & {'dataclasses', 'inspect', 'socket', 'subprocess'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("exit codes" if argument == "--help" else __version__) in done.stdout
