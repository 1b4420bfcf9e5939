# SPDX-License-Identifier: GPL-2.0-or-later
"""Run commands in a root directory: by chroot as root, by user namespaces as anyone else.

Mounts are made in a mount namespace of the command's own and go away with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .errors import BuildError, MissingTool

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# $1 root, $2 "ro" or "rw", $3 number of binds, then source, target, mode of each, then the command
_ENTER = r"""
set -e
root=$1 mode=$2 binds=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$binds" -gt 0 ]; do
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root${2%/*}"; touch "$root$2"; fi
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    binds=$((binds - 1)); shift 3
done
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/var/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/lock"
if [ -e /etc/resolv.conf ] && [ -e "$root/etc/resolv.conf" ]; then
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
fi
[ "$mode" = rw ] || mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Bind:
    """A file or directory of this machine that the command sees at `target`."""

    source: Path
    target: str
    writable: bool = False


def namespaces() -> list[str]:
    """The command prefix that makes a namespace where we are root; empty prefix of ids for root."""
    if shutil.which("unshare") is None:
        raise MissingTool("unshare is missing", "apt-get install util-linux")
    prefix = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if os.geteuid() != 0:
        prefix += ["--user", "--map-root-user", "--map-auto"]
    return prefix


def command(
    root: Path,
    argv: list[str],
    *,
    binds: list[Bind] | None = None,
    writable: bool = False,
    env: dict[str, str] | None = None,
    cwd: str = "/",
) -> list[str]:
    """The command line that runs `argv` inside `root`; nothing of our environment goes in."""
    binds = binds or []
    words = [*namespaces(), "/bin/sh", "-c", _ENTER, "enter", str(root)]
    words += ["rw" if writable else "ro", str(len(binds))]
    for bind in binds:
        words += [str(bind.source), bind.target, "rw" if bind.writable else "ro"]
    settings = {"PATH": PATH, "HOME": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    settings |= {"DEBIAN_FRONTEND": "noninteractive", "TERM": "dumb"}
    settings |= env or {}
    words += ["/usr/bin/env", "-i", "-C", cwd]
    return [*words, *(f"{key}={value}" for key, value in settings.items()), *argv]


def run(
    root: Path,
    argv: list[str],
    *,
    binds: list[Bind] | None = None,
    writable: bool = False,
    env: dict[str, str] | None = None,
    log: Path | None = None,
) -> None:
    """Run to the end; BuildError with the end of the output if the exit code is not 0."""
    words = command(root, argv, binds=binds, writable=writable, env=env)
    run_logged(words, what=f"{' '.join(argv)[:100]} in {root.name}", log=log)


def run_logged(words: list[str], *, what: str, log: Path | None = None) -> None:
    """Run a command with its output in `log` (or kept in memory); BuildError if it fails."""
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    text = done.stdout.decode(errors="replace")
    if log:
        with log.open("a", encoding="utf-8") as handle:
            handle.write(text)
    if done.returncode != 0:
        tail = "\n".join(text.splitlines()[-25:])
        hint = f"the whole output is in {log}" if log else ""
        raise BuildError(f"{what} failed with exit code {done.returncode}:\n{tail}", hint)


def remove_tree(path: Path) -> None:
    """Remove a file or a tree, also one whose files belong to ids of our user namespace."""
    if not path.exists() and not path.is_symlink():
        return
    if path.is_file() or path.is_symlink():
        path.unlink()
    elif os.geteuid() == 0:
        shutil.rmtree(path)
    else:
        run_logged([*namespaces(), "rm", "-rf", "--", str(path)], what=f"rm -rf {path}")
