# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion, as each shell itself says it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from usb4rdmad.cli import completion, table

VERBS = {c.name for c in table.COMMANDS}


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A usb4rdmactl that knows two links, first in the path."""
    fake = tmp_path / "usb4rdmactl"
    fake.write_text('#!/bin/sh\n[ "$1" = --complete ] && printf "0-1\\nmars\\n"\n')
    fake.chmod(0o755)
    return tmp_path


def shell(name: str, text: str, tool: Path) -> list[str]:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [path, *(("-f",) if name == "zsh" else ()), "-c", text],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tool,
        env=dict(os.environ, PATH=f"{tool}:{os.environ['PATH']}", HOME=str(tool)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def bash(tool: Path, *words: str) -> set[str]:
    script = tool / "completion.bash"
    script.write_text(completion.bash())
    listed = " ".join(f"'{w}'" for w in words)
    return set(
        shell(
            "bash",
            f"set -u; . {script}; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; "
            '_usb4rdmactl; [ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\\n" "${COMPREPLY[@]}"',
            tool,
        )
    )


def test_bash_completes_verbs_options_values_and_live_names(tool: Path) -> None:
    assert bash(tool, "usb4rdmactl", "") == VERBS
    assert bash(tool, "usb4rdmactl", "sta") == {"status"}
    assert bash(tool, "usb4rdmactl", "pair", "") == {"0-1", "mars"}
    assert bash(tool, "usb4rdmactl", "pair", "m") == {"mars"}
    assert bash(tool, "usb4rdmactl", "policy", "t") == {"tofu"}
    assert "--plot" in bash(tool, "usb4rdmactl", "test", "mars", "--")
    assert bash(tool, "usb4rdmactl", "test", "mars", "--kind", "") == {"ping", "write", "read"}
    assert bash(tool, "usb4rdmactl", "confirm", "mars", "") == set()
    (tool / "out.svg").touch()
    assert "out.svg" in bash(tool, "usb4rdmactl", "test", "mars", "--plot", "ou")


def test_fish_completes_the_same(tool: Path) -> None:
    script = tool / "completion.fish"
    script.write_text(completion.fish())

    def fish(line: str) -> set[str]:
        out = shell(
            "fish", f"source {script}; complete -C '{line}' | string split -f1 \\t; true", tool
        )
        return set(out)

    assert fish("usb4rdmactl ") == VERBS
    assert fish("usb4rdmactl forget ") == {"0-1", "mars"}
    assert fish("usb4rdmactl policy t") == {"tofu"}
    assert fish("usb4rdmactl test mars --kind ") >= {"ping", "write", "read"}


def test_zsh_completes_the_same(tool: Path) -> None:
    """Through a pseudo terminal: zsh completes in its line editor only."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tool / "_usb4rdmactl").write_text(completion.zsh())
    helper = tool / "drive.zsh"
    helper.write_text(
        "zmodload zsh/zpty\n"
        "zpty shell zsh -f -i\n"
        'zpty -w shell "PS1=; fpath=($PWD \\$fpath); autoload -Uz compinit; compinit -u -D; '
        "bindkey '^I' complete-word; zstyle ':completion:*' list-prompt ''; "
        "LISTMAX=0; echo rea''dy\"\n"
        "zpty -r shell seen '*ready*'\n"
        "zpty -w -n shell \"usb4rdmactl $1\"$'\\t'\n"
        'zpty -r shell seen "*$2*" && print -r -- found\n'
        "zpty -d shell\n"
    )
    for typed, wanted in (("stat", "status"), ("policy tof", "tofu"), ("pair ma", "mars")):
        out = shell("zsh", f". {helper} '{typed}' '{wanted}'", tool)
        assert out == ["found"], (typed, out)


def test_every_script_names_every_verb_and_option() -> None:
    for name in ("bash", "zsh", "fish"):
        text = completion.script(name)
        for command in table.COMMANDS:
            assert command.name in text, (name, command.name)
            for option in command.options:
                assert option.flag.lstrip("-") in text, (name, option.flag)
