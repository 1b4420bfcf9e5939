# SPDX-License-Identifier: GPL-2.0-or-later
"""Terminal sessions written in a page of docs/, played in a host: the page is true or a test fails.

A session is a fenced block marked `session`. Lines that begin with `$ ` or `# ` are typed, the
lines below are what must be shown: `…` stands for any text within a line, a line of `…` alone for
any lines. How wide columns are does not count: several spaces are as one. A command that ends in
` &` keeps running while the next ones are typed; its lines must be shown by the end of the block.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

import scenario
from lab.api import Host, Process

_BLOCK = re.compile(r"^```session (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^[$#] ")
ANY = "…"
SECONDS = 60.0


def narrow(line: str) -> str:
    """A line with single spaces, and none at its ends."""
    return " ".join(line.split())


class SessionDiffers(AssertionError):
    """The host shows something else than the page."""


@dataclass(frozen=True)
class Step:
    """A command and what it shows."""

    command: str
    shown: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Whether it keeps running."""
        return self.command.endswith(" &")

    @property
    def pattern(self) -> re.Pattern[str]:
        """What its output must match, once that is narrow()."""
        parts = []
        for line in map(narrow, self.shown):
            if line.strip() == ANY:
                parts.append(r"(?:[^\n]*\n)*?")
            else:
                parts.append(".*?".join(re.escape(part) for part in line.split(ANY)) + "\n")
        return re.compile("".join(parts))

    def check(self, output: str, last: bool) -> None:
        """SessionDiffers unless this was shown; `last`: and nothing after it."""
        text = "".join(f"{narrow(line)}\n" for line in output.splitlines())
        matched = self.pattern.fullmatch(text) if last else self.pattern.match(text)
        if matched is None:
            wanted = "\n".join(self.shown)
            raise SessionDiffers(f"$ {self.command}\n--- the page\n{wanted}\n--- the host\n{text}")


@dataclass(frozen=True)
class Session:
    """One block."""

    name: str
    steps: tuple[Step, ...]

    def play(self, host: Host) -> None:
        """Type it in a host."""
        running: list[tuple[Step, Process]] = []
        try:
            for step in self.steps:
                if step.stays:
                    # Unbuffered, as on a terminal.
                    command = f"exec stdbuf -oL {step.command.removesuffix(' &')} 2>&1"
                    running.append((step, host.start(command)))
                    running[-1][1].wait_for(step.shown[0].split(ANY)[0], SECONDS)
                else:
                    step.check(host.run(step.command, timeout=SECONDS).check().out, True)
            for step, process in running:
                self._wait(step, process)
        finally:
            for _, process in running:
                process.kill()

    @staticmethod
    def _wait(step: Step, process: Process) -> None:
        """Until it has shown all; then end it as a person would."""

        def shown() -> bool:
            try:
                step.check(process.out, False)
            except SessionDiffers:
                return False
            return True

        try:
            scenario.until(step.command, SECONDS, shown)
        except scenario.ScenarioError:
            step.check(process.out, False)
        process.signal(signal.SIGINT)


def parse(text: str) -> list[Session]:
    """The sessions of a page."""
    found = []
    for name, body in _BLOCK.findall(text):
        steps: list[Step] = []
        for line in body.splitlines():
            if _PROMPT.match(line):
                steps.append(Step(line[2:], ()))
            elif steps:
                steps[-1] = Step(steps[-1].command, (*steps[-1].shown, line.rstrip()))
            else:
                raise ValueError(f"session {name} begins with output")
        found.append(Session(name, tuple(steps)))
    return found


def of(page: Path) -> list[Session]:
    """The sessions of a page of the documentation; at least one."""
    found = parse(page.read_text(encoding="utf-8"))
    if not found:
        raise ValueError(f"{page.name} has no sessions")
    return found
