# SPDX-License-Identifier: GPL-2.0-or-later
"""What is shipped beside the code says the same as the code."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from dbus_next.signature import SignatureTree

from usb4rdmad import config
from usb4rdmad.bus import NAME, interfaces, introspection
from usb4rdmad.cli import commands, generate, manual, render, table
from usb4rdmad.cli.exits import Exit
from usb4rdmad.cli.linkchecks import _CURES
from usb4rdmad.log import MessageId
from usb4rdmad.model import KernelState, LinkState, Policy, Reason

TOP = Path(__file__).parents[3]
COMMON = TOP / "packaging" / "common"
MAN = TOP / "docs" / "man"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What packages install, apart from the code."""
    root = tmp_path_factory.mktemp("root")
    subprocess.run([TOP / "packaging" / "install-common", root], check=True)
    return root


def test_everything_made_from_tables_is_installed(installed: Path) -> None:
    for name, text in generate.files().items():
        assert (installed / name).read_text() == text, name
    xml = {p.stem: p.read_text() for p in (installed / "usr/share/dbus-1/interfaces").iterdir()}
    assert xml == {i.name: introspection.file_xml(i) for i in interfaces.INTERFACES.values()}


def test_manuals_raise_no_warning(installed: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    pages = [*MAN.iterdir(), *installed.glob("usr/share/man/*/*")]
    assert len(pages) == 4
    for page in pages:
        done = subprocess.run(
            ["man", "--warnings", "-l", page],
            capture_output=True,
            text=True,
            env={"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert not done.stderr and done.returncode == 0, (page, done.stderr)


def test_every_signature_of_the_tables_is_valid_and_documented() -> None:
    for interface in interfaces.INTERFACES.values():
        assert interface.doc
        for prop in interface.properties:
            assert len(SignatureTree._get(prop.signature).types) == 1 and prop.doc
            assert prop.emits in ("true", "false", "const", "invalidates")
        for method in interface.methods:
            assert method.doc
            SignatureTree._get("".join(s for _, s in method.takes + method.gives))


def test_every_polkit_action_of_the_tables_is_in_the_policy_file() -> None:
    tree = ElementTree.parse(COMMON / "org.usb4rdma1.policy")
    shipped = {a.get("id") for a in tree.iter("action")}
    used = {
        f"{NAME}.{member.action}"
        for i in interfaces.INTERFACES.values()
        for member in (*i.methods, *i.properties)
        if member.action
    }
    assert used <= shipped
    for action in tree.iter("action"):
        owner = action.find("annotate[@key='org.freedesktop.policykit.owner']")
        assert owner is not None and owner.text == "unix-user:usb4rdma"
        assert {d.text for d in action.iter("allow_any")} == {"auth_admin"}


def test_whatever_changes_something_has_a_polkit_action() -> None:
    free = {"FindLink", "FindPeer", "Describe", "Configuration", "UnregisterAgent"}
    for interface in interfaces.SERVED:
        for method in interface.methods:
            assert bool(method.action) is (method.name not in free), method.name


def test_catalogue_has_each_message_id_once() -> None:
    text = (COMMON / "usb4rdma.catalog").read_text()
    assert sorted(re.findall(r"^-- (\w{32})$", text, re.MULTILINE)) == sorted(
        m.id for m in MessageId
    )
    assert len({m.id for m in MessageId}) == len(MessageId)


def test_every_report_of_the_core_has_a_message_id() -> None:
    names = set()
    for path in (TOP / "usb4rdmad").glob("*.py"):
        names |= set(re.findall(r'\.report\(\s*"([a-z-]+)"', path.read_text()))
    names |= {f"link-{s.value}" for s in LinkState if f"LinkState.{s.name}" in _loud()}
    assert names
    for name in names:
        assert name.replace("-", "_").upper() in MessageId.__members__, name


def _loud() -> str:
    text = (TOP / "usb4rdmad" / "step.py").read_text()
    return text[text.index("_LOUD = {") : text.index("class Step")]


def test_manual_names_every_state_setting_command_and_exit_code() -> None:
    daemon = (MAN / "usb4rdmad.8").read_text().replace("\\-", "-")
    for state in LinkState:
        assert f".B {state.value}\n" in daemon
    toml = (MAN / "usb4rdmad.toml.5").read_text()
    for section, values in config.Config().model_dump().items():
        assert f".SH [{section}]" in toml
        for key in values:
            assert f".BR {key} " in toml, key
    for policy in Policy:
        assert f"\\(dq{policy.value}\\(dq" in toml
    tool = manual.tool()
    for command in table.COMMANDS:
        assert f".TP\n\\fB{command.name}\\fR" in tool
        for option in command.options:
            assert f".TP\n\\fB{option.flag.replace('-', chr(92) + '-')}\\fR" in tool
    assert {code.value for code in Exit} == {code for code, _ in table.EXITS}
    assert set(table.STATES) == {s.value for s in LinkState} | {"gone"}
    assert set(table.POLICIES) == {p.value for p in Policy} | {"configured"}


def test_every_verb_of_the_table_does_something() -> None:
    apart = {"doctor", "report", "completion"}
    verbs = set(commands._verbs()) | apart
    assert verbs - {"complete"} == {c.name for c in table.COMMANDS}


def test_every_reason_is_explained_to_people() -> None:
    for reason in Reason:
        assert not reason or render.why(reason.value) != reason.value, reason
        assert not reason or _CURES[reason.value]
    for state in LinkState:
        assert render.Style().glyph(state.value) != "?"


def test_kernel_states_are_those_of_the_driver() -> None:
    header = (TOP / "driver" / "include" / "uapi" / "rdma" / "usb4_rdma.h").read_text()
    assert {s.value for s in KernelState} == set(
        re.findall(r'@USB4_RDMA_LINK_\w+: "(\w+)"', header)
    )


def test_unit_runs_as_its_own_user_with_one_capability() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(COMMON / "usb4rdmad.service")
    service = unit["Service"]
    assert service["User"] == "usb4rdma"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == "CAP_NET_ADMIN"
    assert service["DevicePolicy"] == "closed"


def test_unit_exposes_little() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=20",
            str(COMMON / "usb4rdmad.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_no_module_is_longer_than_400_lines() -> None:
    long = {
        str(p): n
        for p in (TOP / "usb4rdmad").rglob("*.py")
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert not long


@pytest.mark.parametrize(
    ("library", "only"),
    [
        ("dbus_next", {"bus/wire.py", "bus/connection.py"}),
        ("pyudev", {"udev.py"}),
        ("systemd", {"log.py"}),
        ("pydantic", {"config.py", "placed.py", "store.py"}),
        ("cryptography", {"pairing/noise.py"}),
        ("pyverbs", {"selftest/verbs.py"}),
    ],
)
def test_a_library_is_imported_where_it_belongs(library: str, only: set[str]) -> None:
    root = TOP / "usb4rdmad"
    found = {
        str(p.relative_to(root))
        for p in root.rglob("*.py")
        if re.search(rf"^\s*(from|import) {library}\b", p.read_text(), re.MULTILINE)
    }
    assert found == only


@pytest.mark.parametrize(
    "module",
    [
        "model",
        "events",
        "orders",
        "machine",
        "admission",
        "agreement",
        "comparison",
        "administration",
        "probing",
        "policy",
        "addressing",
        "messages",
        "step",
    ],
)
def test_the_core_imports_no_io(module: str) -> None:
    text = (TOP / "usb4rdmad" / f"{module}.py").read_text()
    for name in ("asyncio", "os", "socket", "time", "pathlib", "logging"):
        assert not re.search(rf"^(from|import) {name}\b", text, re.MULTILINE), name
    assert not re.search(r"^from \.(log|driver|udev|net|rdma|store|effects|bus)\b", text, re.M)
