# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver holds on a host: objects in the slab caches, rings, RDMA objects, memory.

With `slab_debug=U` on the kernel's command line (SLAB_TRACES) the kernel knows who allocated each
object of a slab cache; those in whose making our module took part are counted by its function.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection
from dataclasses import dataclass

import scenario
from lab.api import Host, Lab

SLAB_TRACES = "slab_debug=U,kmalloc-*"
# KiB by which memory varies for reasons of its own.
MEMORY_SLACK = 12288
# A frame's way into the network stack is not the driver's memory any more.
PASSING = ("u4_rail_poll", "net_rx", "u4_net_rx")
# What sysfs has looked up stays, with the names of what has gone, until those caches are dropped.
# Not ours are: buffers that ib_core posts for management datagrams when a device registers, which
# are replaced as they are used; its GID entries, made at once or later, as addresses are there or
# come; what the driver core makes to bind a service to us, found in our init or in a hotplug; a
# network namespace's table, which grows with whatever module (rdma_rxe) asks for a place.
# The memory of a module's init is given away when it has run: its address says nothing then, or has
# the name of what lies there now, so all that inits have made is one count.
_SLAB = r"""
echo 2 >/proc/sys/vm/drop_caches
cat /sys/kernel/debug/slab/kmalloc*/alloc_traces 2>/dev/null | awk -v wanted="WANTED" '
function note() {
    if (owner == "") return
    sub(/\+.*/, "", owner)
    if (wanted == "") sum["slab:" owner] += n
    else if (wanted == "slab:" owner) printf "%s\n", text
}
/^ *[0-9]+ / {
    note(); n = $1; name = $2; owner = text = ""
    seen = $2 ~ /pcs_|sheaf|ib_mad_post|add_modify_gid|net_alloc_generic/
}
{ text = text "\n" $0 }
/really_probe/ { seen = 1 }
/\[usb4_rdma\]/ && !seen { owner = $1 ~ /^[0-9]+$/ ? name : $1; seen = NR }
/softirq|irq_exit/ { seen = 1 }
/ 0xffffffff/ && !seen { owner = "unknown"; seen = NR }
/do_one_initcall/ { of_init = !seen || seen == NR - 1 ? NR : 0 }
/do_init_module/ && of_init && of_init == NR - 1 { owner = "init" }
END { note(); for (name in sum) print name, sum[name] }'
"""
_RINGS = "echo rings $(grep -c '\\[usb4_rdma\\]' /proc/vmallocinfo)"
_OBJECTS = "rdma resource show | awk '{ for (i = 3; i < NF; i += 2) print \"rdma:\" $i, $(i + 1) }'"
# Counts that say nothing of ours where other modules come; where such ones go as well.
OTHERS_COME = ("slab:init",)
OTHERS_GO = (*OTHERS_COME, "slab:unknown")
# Programs' own memory is theirs: a Python program of many hours is not the kernel's leak.
_MEMORY = (
    "sync; echo 3 >/proc/sys/vm/drop_caches;"
    "awk '/^MemAvailable|^AnonPages/ { sum += $2 } END { print sum }' /proc/meminfo"
)


def held(host: Host) -> dict[str, int]:
    """Counts by name; only those of OTHERS_GO where the module is not loaded."""
    words = f"{_SLAB.replace('WANTED', '')}\n{_RINGS}\n{_OBJECTS}"
    lines = host.run(words, timeout=90, check=True).out.splitlines()
    counts = {name: int(number) for name, number in map(str.split, lines)}
    return {
        name: number
        for name, number in counts.items()
        if number and not name.removeprefix("slab:").startswith(PASSING)
    }


def available(host: Host) -> int:
    """KiB of memory that programs have or could have."""
    return int(host.run(_MEMORY, timeout=90, check=True).out)


def held_by_all(lab: Lab) -> dict[str, dict[str, int]]:
    """What each host holds."""
    return {name: held(host) for name, host in lab.hosts.items()}


@dataclass
class Ledger:
    """What the hosts held at a quiet moment, to be compared with later ones."""

    lab: Lab
    before: dict[str, dict[str, int]]
    but: Collection[str] = ()

    @classmethod
    def open(cls, lab: Lab, *, but: Collection[str] = ()) -> Ledger:
        """Note what is held now, which shall not grow, but for these counts."""
        return cls(lab, held_by_all(lab), but)

    def settle(self, seconds: float = 60.0) -> None:
        """Until each host holds what it held; ScenarioError with the difference if it does not.
        It may take a little: memory is freed some time after its user has gone."""
        for name, host in self.lab.hosts.items():
            settle(host, self.before[name], seconds, but=self.but)


def settle(
    host: Host, wanted: dict[str, int], seconds: float = 60.0, *, but: Collection[str] = ()
) -> None:
    """Until this host holds no more than that, but for these counts."""
    now: dict[str, int] = {}

    def same() -> bool:
        now.clear()
        now.update((name, number) for name, number in held(host).items() if name not in but)
        return all(number <= wanted.get(name, 0) for name, number in now.items())

    try:
        scenario.until(f"host {host.name} holds what it should", seconds, same)
    except scenario.ScenarioError as error:
        more = [name for name, number in now.items() if number > wanted.get(name, 0)]
        stacks = "".join(made_by(host, name) for name in more if name.startswith("slab:"))
        raise scenario.ScenarioError(f"{error}: {difference(wanted, now)}{stacks}") from None


def made_by(host: Host, name: str) -> str:
    """The calls that made the objects of a slab count."""
    return host.run(_SLAB.replace("WANTED", name), timeout=90).out


def difference(before: dict[str, int], after: dict[str, int]) -> str:
    """What there is more or less of."""
    names = sorted({*before, *after})
    changes = [(name, before.get(name, 0), after.get(name, 0)) for name in names]
    return ", ".join(f"{name} {was} -> {now}" for name, was, now in changes if was != now)


class Memory:
    """Memory of the hosts for programs over time, in KiB. What a leak takes, it takes steadily: the
    median of the last third of the samples may not lie far below that of the first."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.samples: dict[str, list[int]] = {name: [] for name in lab.hosts}
        self.sample()

    def sample(self) -> None:
        """One more sample of each host."""
        for name, host in self.lab.hosts.items():
            self.samples[name].append(available(host))

    def lost(self) -> dict[str, int]:
        """What each host has lost; negative for more than at first."""
        lost = {}
        for name, samples in self.samples.items():
            third = max(1, len(samples) // 3)
            lost[name] = int(
                statistics.median(samples[:third]) - statistics.median(samples[-third:])
            )
        return lost

    def told(self) -> str:
        """In words."""
        parts = [
            f"{name} {self.samples[name][0]} to {self.samples[name][-1]} KiB (trend {-lost:+d})"
            for name, lost in self.lost().items()
        ]
        return f"memory for programs: {', '.join(parts)}"

    def check(self) -> None:
        """ScenarioError if a host has lost much."""
        if max(self.lost().values()) > MEMORY_SLACK:
            raise scenario.ScenarioError(f"{self.told()}; samples: {self.samples}")
