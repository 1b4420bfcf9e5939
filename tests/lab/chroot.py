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

# $1 root, $2 "ro" or "rw", $3 where changes go if not into the root, $4 number of binds, then
# source, target, mode of each, then the command
_ENTER = r"""
set -e
root=$1 mode=$2 scratch=$3 binds=$4; shift 4
mount --make-rprivate /
if [ -n "$scratch" ]; then
    mkdir -p "$scratch/upper" "$scratch/work" "$scratch/root"
    folders=lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work
    read -r _ outside _ </proc/self/uid_map
    [ "$outside" = 0 ] || folders=$folders,userxattr
    mount -t overlay -o "$folders" overlay "$scratch/root"
    root=$scratch/root
else
    mount --bind "$root" "$root"
fi
while [ "$binds" -gt 0 ]; do
    if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root${2%/*}"; touch "$root$2"; fi
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    binds=$((binds - 1)); shift 3
done
mount -t proc proc "$root/proc"
# Packages that are installed there set sysctls, which are this machine's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
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
    scratch: Path | None = None,
    env: dict[str, str] | None = None,
    cwd: str = "/",
) -> list[str]:
    """The command line that runs `argv` inside `root`; nothing of our environment goes in.

    With `scratch`, a folder, the command may write everywhere, and what it writes goes there: the
    root stays as it was, and the next command with the same folder finds what this one left.
    """
    binds = binds or []
    words = [*namespaces(), "/bin/sh", "-c", _ENTER, "enter", str(root)]
    words += ["rw" if writable or scratch else "ro"]
    words += ["" if scratch is None else str(scratch.resolve()), str(len(binds))]
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
    scratch: Path | None = None,
    env: dict[str, str] | None = None,
    log: Path | None = None,
) -> None:
    """Run to the end; BuildError with the end of the output if the exit code is not 0."""
    words = command(root, argv, binds=binds, writable=writable, scratch=scratch, env=env)
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
