# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong in the lab, each with a sentence for the person and a next step."""

from __future__ import annotations


class LabError(Exception):
    """A failure that ends the command: `hint` is the next step, `exit_code` the command's."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(LabError):
    """The command line or a topology file asks for something that makes no sense."""

    exit_code = 2


class MissingTool(LabError):
    """This machine lacks a program that the lab needs."""

    exit_code = 3


class BuildError(LabError):
    """A root, an image, a kernel layer or the module could not be built."""

    exit_code = 4


class NoSuchLab(LabError):
    """No lab of that name is running."""

    exit_code = 5


class LabExists(LabError):
    """A lab of that name is already running."""

    exit_code = 6


class BootError(LabError):
    """A host or the cable did not come up within its time."""

    exit_code = 7


class GuestGone(LabError):
    """The host went down, rebooted or was killed while a command ran in it."""

    exit_code = 8
