# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs of usb4rdmactl, as one table: parser, help, completion and manual come from it.

Imports next to nothing (no dataclasses: they bring inspect): `--help` has to be quick.
"""

from __future__ import annotations

from typing import NamedTuple

TIMEOUT = 60.0
STATES = (
    "active",
    "degraded",
    "configuring",
    "authorizing",
    "handshaking",
    "discovered",
    "pairing",
    "waiting-approval",
    "blocked",
    "failed",
    "incompatible",
    "gone",
)
POLICIES = ("confirm", "tofu", "cluster", "off", "configured")


class Argument(NamedTuple):
    """A positional argument. `kind` says what completes it."""

    name: str
    help: str
    kind: str = "text"
    """link, peer, any (link or peer), file, text, or choice."""
    optional: bool = False
    choices: tuple[str, ...] = ()


class Option(NamedTuple):
    """An option; without a metavar it is a switch."""

    flag: str
    help: str
    metavar: str = ""
    type: type = str
    default: object = None
    constant: object = None
    """What the option alone means, when its value may be left out."""
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The attribute that the parser puts it into."""
        return self.flag.lstrip("-").replace("-", "_")


JSON = Option(
    "--json",
    "print JSON for programs, on one line with =short",
    "pretty|short",
    constant="pretty",
    choices=("pretty", "short"),
)
WAIT = Option(
    "--wait",
    "until the links are in this state (active); gone: until nothing is plugged",
    "STATE",
    constant="active",
    choices=STATES,
)
PATIENCE = Option("--timeout", "give up waiting after so long", "SECONDS", float, TIMEOUT)
FOR = Option("--timeout", "end after so long", "SECONDS", float)


class Command(NamedTuple):
    """A verb."""

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    more: str = ""
    """For the manual, after the help."""


LINK = Argument("name", "link (0-1) or name of its peer", "link")
PEER = Argument("name", "label, name or start of the fingerprint of a peer", "peer")
ANY = Argument("name", "link or peer", "any")

COMMANDS = (
    Command("status", "overview of all links (default)", (), (JSON, WAIT, PATIENCE)),
    Command("list", "one line a link and a peer", (), (JSON, WAIT, PATIENCE)),
    Command("show", "everything about a link or peer", (ANY,), (JSON, WAIT, PATIENCE)),
    Command("monitor", "print what happens until interrupted", (), (JSON, FOR)),
    Command(
        "top",
        "throughput of the links, as it changes",
        (),
        (
            Option("--interval", "time between two looks", "SECONDS", float, 1.0),
            Option("--count", "end after so many looks", "N", int),
            JSON,
        ),
        "With --json one object a look, on a line of its own.",
    ),
    Command(
        "pair",
        "compare codes with the host at the end of a link",
        (Argument("name", LINK.help, "link", optional=True),),
        (
            Option("--agent", "stay, show each code and ask (default on a terminal)"),
            Option("--no-agent", "begin, print the code and return; confirm ends it"),
            JSON,
            Option("--timeout", "give up waiting after so long", "SECONDS", float),
        ),
        "As an agent it stays until the link is active, and its end ends the pairing. "
        "Without a link the agent asks about every code that comes up, until interrupted.",
    ),
    Command(
        "confirm",
        "the codes are the same",
        (
            LINK,
            Argument("code", "the other host's code; a wrong one ends the pairing", optional=True),
        ),
        (WAIT, PATIENCE),
        "To be said on both hosts.",
    ),
    Command("reject", "the codes differ, or not now", (LINK,)),
    Command(
        "authorize",
        "let a link's peer in without comparing",
        (LINK,),
        (WAIT, PATIENCE),
        "Its key is remembered.",
    ),
    Command("deauthorize", "close a link until it is authorised or plugged again", (LINK,)),
    Command("forget", "remove a peer's key and RDMA device", (PEER,)),
    Command(
        "block",
        "shut a peer out until it is forgotten",
        (ANY,),
        (),
        "Given a link, the host at its end, known or not.",
    ),
    Command(
        "label",
        "give a peer a name of your own",
        (PEER, Argument("label", "the new name; an empty one removes it")),
    ),
    Command(
        "mtu",
        "show or set the MTU wanted with a link's peer",
        (LINK, Argument("value", "1280 to 65520, or default", optional=True)),
        (JSON,),
        "The smaller wish of the two hosts counts. RDMA's path MTU of 4096 needs 4192.",
    ),
    Command(
        "policy",
        "show or set what happens with unknown hosts",
        (Argument("value", "the new policy", "choice", True, POLICIES),),
        (JSON,),
        "What is set here wins over usb4rdmad.toml(5), and outlives the daemon, until it is "
        "set to configured.",
    ),
    Command(
        "test",
        "measure over a link",
        (LINK,),
        (
            Option(
                "--kind",
                "latency, or bandwidth of RDMA writes or reads",
                "KIND",
                default="ping",
                choices=("ping", "write", "read"),
            ),
            Option("--size", "bytes an operation", "BYTES", int),
            Option("--count", "operations", "N", int),
            Option("--plot", "measure both over many sizes and draw them", "FILE.svg"),
            JSON,
        ),
    ),
    Command(
        "doctor",
        "look for known troubles, and say what cures them",
        (),
        (JSON,),
        "The exit code is 1 if there is any. Some checks see more as root.",
    ),
    Command(
        "report",
        "gather what a bug report needs, without names and keys",
        (),
        (
            Option(
                "--output",
                "where to; - prints it",
                "FILE",
                default="usb4rdma-report.txt",
            ),
        ),
        "Host names, labels, UUIDs and users are replaced by aliases, keys and fingerprints cut. "
        "Look through it before you publish it.",
    ),
    Command(
        "config",
        "show what is in force, or check a file",
        (
            Argument("what", "show (default) or check", "choice", True, ("show", "check")),
            Argument("file", "instead of /etc/usb4rdma/usb4rdmad.toml", "file", True),
        ),
        (JSON,),
    ),
    Command(
        "identity",
        "this host's key, as a file for authorized_peers.d of others",
        (),
        (JSON,),
    ),
    Command("reload", "have the daemon read its configuration again"),
    Command(
        "completion",
        "print the completion for a shell",
        (Argument("shell", "bash, zsh or fish", "choice", False, ("bash", "zsh", "fish")),),
    ),
)

DEFAULT = Command("", "", (), (JSON, WAIT, PATIENCE))
"""What the tool takes without a verb: status."""

EXITS = (
    (0, "ok"),
    (1, "failed"),
    (2, "usage"),
    (3, "the daemon cannot be reached"),
    (4, "not authorised"),
    (5, "no such link or peer"),
    (6, "timed out"),
    (7, "refused by the peer or by policy"),
)
