# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: parses, calls the API, maps errors to exit codes.

Exit codes: `run` has the guest command's own; otherwise 0, or the exit_code of errors.py (2 usage,
3 missing tool, 4 build, 5 no such lab, 6 lab exists, 7 boot, 8 host gone).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from . import api, build, images, kernels, roots, shell
from .errors import LabError, UsageError
from .host import TIMED_OUT
from .plan import INITS, INSTALLS, Options
from .progress import say

IMPAIRMENTS = ("drop", "crc", "flip", "delay", "dupintr", "nointr", "notxdone")


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="lab", description="Hosts joined by virtual USB4 cables.")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *, named: bool = True) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        if named:
            sub.add_argument(
                "--name", default="lab", metavar="LAB", help="which lab (default: lab)"
            )
        return sub

    up = verb("up", "start a lab and leave it running")
    up.add_argument("--hosts", type=int, default=2, help="number of hosts: a, b, c ... (default 2)")
    up.add_argument(
        "--cable", action="extend", nargs="+", default=[], metavar="A:1-B:1", help="or: none"
    )
    up.add_argument("--kernel", choices=kernels.LABELS, default=kernels.DEFAULT)
    up.add_argument("--init", choices=INITS, default="")
    up.add_argument("--install", choices=INSTALLS, default="none")
    up.add_argument("--mem", type=int, default=0, metavar="MIB")
    up.add_argument("--cpus", type=int, default=1)
    up.add_argument("--iommu", choices=("strict",), default="")
    up.add_argument("--net", action="store_true", help="an Ethernet beside the cables")
    up.add_argument("--topology", default="", metavar="FILE")
    up.add_argument("--disk", type=int, default=0, metavar="GIB", help="keep changes over reboots")
    up.add_argument("--append", default="", help="more kernel arguments")
    up.add_argument(
        "--with", dest="extra", action="append", default=[], metavar="SET", help="more packages"
    )
    up.add_argument("--plugin", default="", metavar="FILE", help="a QEMU plugin, see tests/bench")
    up.add_argument("--no-wait", action="store_true", help="do not wait for the links")

    run = verb("run", "run a command in a host")
    run.add_argument("host")
    run.add_argument("--timeout", type=float, default=None, metavar="S")
    run.add_argument("command", nargs="*")
    for name, text in (("put", "copy into a host"), ("get", "copy out of a host")):
        copy = verb(name, text)
        copy.add_argument("host")
        copy.add_argument("source")
        copy.add_argument("destination")
    for name, text in (
        ("shell", "a shell in a host"),
        ("log", "print a host's console output"),
        ("kill", "power a host off, as if its plug were pulled"),
        ("start", "start a host that is down"),
        ("reboot", "reboot a host and wait for it"),
    ):
        verb(name, text).add_argument("host")
    for name, text in (("plug", "push a cable in"), ("unplug", "pull a cable out")):
        verb(name, text).add_argument("cable", metavar="A:1-B:1")
    inject = verb("inject", "impair a cable")
    inject.add_argument("cable", nargs="?", metavar="A:1-B:1")
    inject.add_argument("what", nargs="?", choices=IMPAIRMENTS)
    inject.add_argument("--rate", type=float)
    inject.add_argument("--nth", type=int)
    inject.add_argument("--seed", type=int)
    inject.add_argument("--off", action="store_true", help="end all impairments")
    verb("trace", "set what the cables trace").add_argument(
        "level", choices=("off", "control", "frames", "bytes")
    )
    verb("stat", "print the cables' counters")
    verb("status", "print the hosts' states")
    verb("logs", "copy all logs and traces to a directory").add_argument("directory", type=Path)
    down = verb("down", "end a lab")
    down.add_argument("--all", action="store_true", help="all labs of this user")
    verb("list", "print the names of the running labs", named=False)
    built = verb("build", "fill the cache, start nothing", named=False)
    built.add_argument("--kernel", choices=kernels.LABELS, action="append", default=[])
    build_root = verb("build-root", "make the build root, print its path", named=False)
    build_root.add_argument("--path", action="store_true", help="(it always prints the path)")
    inside = verb("exec-build", "run a command in the build root", named=False)
    inside.add_argument("--out", type=Path, required=True, help="the directory that is /out there")
    inside.add_argument("--kernel", choices=roots.KERNELS, default=kernels.DEFAULT)
    inside.add_argument("command", nargs="*")
    return top


def main(argv: list[str]) -> int:
    """Run one command; the exit code."""
    ours, command = split_command(argv)
    args = parser().parse_args(ours)
    if command:
        args.command = [*getattr(args, "command", []), *command]
    try:
        return int(_VERBS[args.verb](args) or 0)
    except LabError as error:
        say(str(error))
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """Our own words, and those behind the first --, which belong to the command to run."""
    if "--" not in argv:
        return argv, []
    position = argv.index("--")
    return argv[:position], argv[position + 1 :]


def words_of(words: list[str]) -> str | list[str]:
    """What to run: one word is a shell command, several are a program and its arguments."""
    if not words:
        raise UsageError("no command", "lab run HOST -- COMMAND...")
    return words[0] if len(words) == 1 else words


def _up(args: argparse.Namespace) -> None:
    fields = {key: getattr(args, key) for key in Options.__dataclass_fields__}
    lab = api.Lab.up(wait_links=not args.no_wait, **fields)
    option = "" if lab.name == "lab" else f" --name {shlex.quote(lab.name)}"
    say(f"up: hosts {' '.join(lab.hosts)}, logs in {lab.run_dir}; `lab down{option}` ends it")


def _run(args: argparse.Namespace) -> int:
    def sink(fd: int, data: bytes) -> None:
        stream = (sys.stdout, sys.stderr)[fd - 1]
        stream.buffer.write(data)
        stream.flush()

    timeout = args.timeout
    host = api.Lab(args.name)[args.host]
    result = host.run(words_of(args.command), timeout=timeout, sink=sink)
    if timeout is not None and result.rc == TIMED_OUT and result.seconds >= timeout:
        say(f"the command's time ({timeout:g} s) was up")
    return result.rc


def _inject(args: argparse.Namespace) -> None:
    lab = api.Lab(args.name)
    if args.off:
        lab.inject_off()
    elif args.cable is None or args.what is None:
        raise UsageError("which cable and what?", "lab inject a:1-b:1 drop --rate 0.01, or --off")
    else:
        lab.inject(args.cable, args.what, rate=args.rate, nth=args.nth, seed=args.seed)


def _down(args: argparse.Namespace) -> None:
    for name in api.running() if args.all else [args.name]:
        api.Lab(name).down()


def _status(args: argparse.Namespace) -> None:
    for name, word in api.Lab(args.name).status().items():
        print(name, word)


def _build(args: argparse.Namespace) -> None:
    images.build_all(args.kernel or [kernels.DEFAULT])
    say(images.check_tools())


def _exec_build(args: argparse.Namespace) -> None:
    words = words_of(args.command)
    argv = ["/bin/sh", "-c", words] if isinstance(words, str) else words
    build.exec_build(argv, args.out, args.kernel)


def _host(args: argparse.Namespace) -> api.Host:
    return api.Lab(args.name)[args.host]


_VERBS = {
    "up": _up,
    "run": _run,
    "put": lambda a: _host(a).put(a.source, a.destination),
    "get": lambda a: _host(a).get(a.source, a.destination),
    "shell": lambda a: shell.interact(_host(a)),
    "log": lambda a: sys.stdout.write(_host(a).console()) and 0,
    "kill": lambda a: _host(a).kill(),
    "start": lambda a: _host(a).power_on(),
    "reboot": lambda a: _host(a).reboot(),
    "plug": lambda a: api.Lab(a.name).plug(a.cable),
    "unplug": lambda a: api.Lab(a.name).unplug(a.cable),
    "inject": _inject,
    "trace": lambda a: api.Lab(a.name).trace(a.level),
    "stat": lambda a: print(json.dumps(api.Lab(a.name).stat(), indent=1)),
    "status": _status,
    "logs": lambda a: api.Lab(a.name).save_logs(a.directory),
    "down": _down,
    "list": lambda a: print("\n".join(api.running())) if api.running() else None,
    "build": _build,
    "build-root": lambda a: print(roots.ensure(roots.BUILD)),
    "exec-build": _exec_build,
}
