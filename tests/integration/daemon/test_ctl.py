# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl against a daemon on a private bus: output, JSON, exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from usb4rdmad import __version__
from usb4rdmad.cli import commands
from usb4rdmad.cli.exits import Leave
from usb4rdmad.cli.main import explain, parse
from usb4rdmad.cli.schema import schema
from usb4rdmad.model import Hardware, HostPort, LinkState

from .fakes import Cable, FakeHost, turn

Hosts = Callable[..., FakeHost]
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
                async with asyncio.timeout(30):
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
    async with asyncio.timeout(30):
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


def test_a_wrong_code_ends_the_pairing_on_both_hosts(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
            code = (await read_json(a, "pair", "0-1"))["Code"]
            wrong = f"{(int(code.replace(' ', '')) + 1) % 10**6:06d}"
            status, _, err = await ctl(a, "confirm", "0-1", wrong)
            assert status == 7 and "not the code" in err
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            await b.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            assert not ha.state.peers

    asyncio.run(story())


async def _until_line(process: asyncio.subprocess.Process, wanted: str) -> str:
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(20):
        while wanted not in seen:
            piece = await process.stdout.read(4096)
            assert piece, seen
            seen += piece.decode()
    return seen


def test_agents_in_two_terminals_pair_two_hosts(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
            there = await start(b, "pair", stdin=subprocess.PIPE)
            await _until_line(there, "waiting for codes")
            here = await start(a, "pair", "0-1", "--agent", stdin=subprocess.PIPE)
            mine = await _until_line(here, "[y/n]")
            theirs = await _until_line(there, "[y/n]")
            code = mine.split("code: ")[1][:7]
            assert f"code: {code}" in theirs and "mars" in mine and "nova" in theirs
            assert here.stdin is not None and there.stdin is not None
            here.stdin.write(b"what?\ny\n")
            there.stdin.write(b"yes\n")
            out = await _until_line(here, "0-1 is active")
            assert "y or n?" in out
            async with asyncio.timeout(10):
                assert await ended(here) == 0
            assert [p.paired_by for p in ha.state.peers.values()] == [os.getuid()]
            there.terminate()
            await ended(there)

    asyncio.run(story())


@pytest.mark.parametrize(("how", "code"), [("no", 7), ("leave", -9), ("interrupt", 130)])
def test_an_agent_that_says_no_or_leaves_ends_the_pairing(
    hosts: Hosts, how: str, code: int
) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            await b.until(LinkState.WAITING_APPROVAL)
            here = await start(a, "pair", "0-1", "--agent", stdin=subprocess.PIPE)
            await _until_line(here, "[y/n]")
            assert here.stdin is not None
            if how == "no":
                here.stdin.write(b"n\n")
            elif how == "interrupt":
                here.send_signal(signal.SIGINT)
            else:
                here.kill()
            await a.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            await b.until(LinkState.WAITING_APPROVAL, reason="pairing-rejected")
            async with asyncio.timeout(10):
                assert await ended(here) == code
            assert not ha.state.peers

    asyncio.run(story())


def test_mtu_and_policy_are_set_kept_and_taken_back(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova"), hosts("mars", extra="[network]\nmtu = 60000\n")
        a.extra = "[network]\nmtu = 60000\n"
        a.write_config()
        cable = Cable(a, b)
        async with b.daemon():
            async with a.daemon():
                cable.plug()
                await a.until(LinkState.ACTIVE)
                await b.until(LinkState.ACTIVE)
                assert (await ctl(a, "mtu", "mars", "9000"))[0] == 0
                async with asyncio.timeout(5):
                    while {x.interfaces["u4rdma0"].mtu for x in (a, b)} != {9000}:
                        await turn(a, b)
                assert (await read_json(a, "mtu", "0-1"))["RequestedMtu"] == 9000
                assert (await ctl(a, "mtu", "mars", "70000"))[0] == 1
                assert (await ctl(a, "mtu", "mars", "big"))[0] == 2
                assert (await ctl(a, "policy", "off"))[0] == 0
                assert (await ctl(a, "policy", "cluster"))[0] == 1, "there is no secret"
            async with a.daemon() as ha:
                assert (await read_json(a, "policy")) == {"policy": "off", "set_at_run_time": True}
                assert [p.mtu for p in ha.state.peers.values()] == [9000]
                assert (await ctl(a, "policy", "configured"))[0] == 0
                assert (await read_json(a, "policy"))["policy"] == "tofu"
                assert (await ctl(a, "mtu", "mars", "default"))[0] == 0

    asyncio.run(story())


def test_a_stranger_can_be_blocked_where_it_is_plugged(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="confirm"), hosts("mars", policy="confirm")
        async with a.daemon() as ha, b.daemon():
            Cable(a, b).plug()
            await a.until(LinkState.WAITING_APPROVAL)
            assert (await ctl(a, "block", "0-1"))[0] == 0
            await a.until(LinkState.BLOCKED, reason="peer-blocked")
            assert [p.trust.value for p in ha.state.peers.values()] == ["blocked"]
            assert (await ctl(a, "pair", "0-1"))[0] == 1
            assert (await ctl(a, "forget", "mars"))[0] == 0

    asyncio.run(story())


def test_completion_gives_live_names_and_is_silent_without_a_daemon(hosts: Hosts) -> None:
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


def test_identity_is_a_file_that_lets_a_host_in(hosts: Hosts) -> None:
    async def story() -> None:
        a, b = hosts("nova", policy="off"), hosts("mars", policy="tofu")
        folder = a.state / "authorized_peers.d"
        async with b.daemon(), a.daemon() as ha:
            _, text, _ = await ctl(b, "identity")
            cable = Cable(a, b)
            cable.plug()
            await a.until(LinkState.BLOCKED, reason="policy-off")
            folder.mkdir()
            (folder / "mars.toml").write_text(text)
            (folder / "bad.toml").write_text("public_key = 7\n")
            assert (await ctl(a, "reload"))[0] == 0
            await a.until(LinkState.ACTIVE)
            assert [p.trust.value for p in ha.state.peers.values()] == ["placed"]
            (folder / "mars.toml").unlink()
            assert (await ctl(a, "reload"))[0] == 0
            await a.until(LinkState.WAITING_APPROVAL)
            assert not a.driver.links["link0"].authorized and not ha.state.peers

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
