# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line of DESIGN.md, and what it refuses."""

from __future__ import annotations

import pytest
from lab import cli
from lab.errors import UsageError
from lab.plan import Options


def parsed(line: str) -> dict[str, object]:
    ours, command = cli.split_command(line.split())
    args = vars(cli.parser().parse_args(ours))
    if command:
        args["command"] = command
    return args


def test_up_takes_every_option_of_the_interface() -> None:
    args = parsed(
        "up --hosts 3 --cable a:1-b:1 b:2-c:1 --kernel 6.12 --init systemd --install driver "
        "--mem 900 --cpus 2 --iommu strict --net --name x"
    )
    assert args["hosts"] == 3
    assert args["cable"] == ["a:1-b:1", "b:2-c:1"]
    assert (args["kernel"], args["init"], args["install"]) == ("6.12", "systemd", "driver")
    assert (args["mem"], args["cpus"], args["iommu"], args["net"]) == (900, 2, "strict", True)
    assert args["name"] == "x"


def test_cable_may_be_given_several_times() -> None:
    assert parsed("up --cable a:1-b:1 --cable b:2-c:1")["cable"] == ["a:1-b:1", "b:2-c:1"]


def test_run_leaves_the_commands_own_options_alone() -> None:
    args = parsed("run a --timeout 5 -- ls --name -l --timeout 9 -- x")
    assert (args["host"], args["timeout"]) == ("a", 5.0)
    assert args["command"] == ["ls", "--name", "-l", "--timeout", "9", "--", "x"]


def test_one_word_is_a_shell_command_and_several_are_a_program() -> None:
    assert cli.words_of(["ls | wc"]) == "ls | wc"
    assert cli.words_of(["ls", "-l"]) == ["ls", "-l"]
    with pytest.raises(UsageError):
        cli.words_of([])


def test_inject_takes_rate_nth_and_seed() -> None:
    args = parsed("inject a:1-b:1 drop --rate 0.5 --seed 7")
    assert (args["cable"], args["what"], args["rate"], args["seed"]) == ("a:1-b:1", "drop", 0.5, 7)
    assert parsed("inject --off")["off"] is True
    assert parsed("inject a:1-b:1 notxdone --nth 3")["nth"] == 3


@pytest.mark.parametrize(
    "line",
    [
        "",
        "fly",
        "up --hosts many",
        "up --kernel 5.10",
        "up --init upstart",
        "up --install some",
        "up --iommu lazy",
        "inject a:1-b:1 explode",
        "plug",
        "put a x",
    ],
)
def test_nonsense_is_a_usage_error(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(line)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_install_all_boots_systemd() -> None:
    assert Options(install="all").checked().init == "systemd"
    assert Options(install="driver").checked().init == "fast"


@pytest.mark.parametrize(
    "options",
    [
        Options(install="all", init="fast"),
        Options(topology="x.toml", cable=("a:1-b:1",)),
        Options(topology="x.toml", hosts=3),
        Options(mem=16),
        Options(cpus=0),
        Options(kernel="2.6"),
        Options(init="busybox"),
        Options(install="half"),
        Options(iommu="on"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: Options) -> None:
    with pytest.raises(UsageError):
        options.checked()


def test_a_lab_that_does_not_run_is_exit_code_5(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["run", "a", "--name", "nosuchlab", "--", "true"]) == 5
    assert "not running" in capsys.readouterr().err


def test_a_lab_name_cannot_leave_its_directory(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("../x", "a/b", "", "-x", "x" * 40):
        assert cli.main(["status", f"--name={name}"]) == 2
    assert "cannot name a lab" in capsys.readouterr().err
