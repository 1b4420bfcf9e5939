# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab is to be: from the options of `lab up` to a plan for the supervisor to carry out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import accel, debug_kernel, disk, extras, images, kernels, tools, tsc
from .errors import UsageError
from .topology import Topology, from_file, from_options

INITS = ("fast", "systemd")
INSTALLS = ("driver", "all", "none")
MEMORY_FAST = 768
MEMORY_SYSTEMD = 1024
MEMORY_LEAST = 384
# What shadow memory, lock classes and tracked objects of the debug kernel take.
MEMORY_DEBUG = 1024


@dataclass(frozen=True)
class Options:
    """The options of `lab up`, by the same names."""

    name: str = "lab"
    hosts: int = 2
    cable: tuple[str, ...] = ()
    kernel: str = kernels.DEFAULT
    init: str = ""
    install: str = "none"
    mem: int = 0
    cpus: int = 1
    iommu: str = ""
    net: bool = False
    topology: str = ""
    append: str = ""
    extra: tuple[str, ...] = ()
    plugin: str = ""
    disk: int = 0

    def checked(self) -> Options:
        """The same with the defaults that depend on others; UsageError if they contradict."""
        if self.install not in INSTALLS:
            raise UsageError(f"--install {self.install}: use one of {', '.join(INSTALLS)}")
        init = self.init or ("systemd" if self.install == "all" else "fast")
        if init not in INITS:
            raise UsageError(f"--init {init}: use one of {', '.join(INITS)}")
        if init == "fast" and self.install == "all":
            raise UsageError(
                "--install all needs systemd", "leave out --init, or say --init systemd"
            )
        if self.iommu not in ("", "strict"):
            raise UsageError(f"--iommu {self.iommu}: only strict is known")
        if self.topology and (self.cable or self.hosts != 2):
            raise UsageError("--topology says hosts and cables", "leave out --hosts and --cable")
        if self.kernel not in kernels.LABELS:
            raise UsageError(f"--kernel {self.kernel}: use one of {', '.join(kernels.LABELS)}")
        mem = self.mem or (MEMORY_SYSTEMD if init == "systemd" else MEMORY_FAST)
        if not self.mem and self.kernel == debug_kernel.DEBUG:
            mem += MEMORY_DEBUG
        # What one processor does meets nothing but its own interrupts.
        cpus = max(self.cpus, 2) if self.kernel == debug_kernel.KCSAN else self.cpus
        if mem < MEMORY_LEAST:
            raise UsageError(f"--mem {mem}: a host needs at least {MEMORY_LEAST} MiB")
        if not 0 <= self.disk <= 64:
            raise UsageError(f"--disk {self.disk}: use 0 (none) to 64 GiB")
        if not 1 <= self.cpus <= 64:
            raise UsageError(f"--cpus {self.cpus}: use 1 to 64")
        extra = extras.checked(self.extra)
        return dataclasses.replace(self, init=init, mem=mem, cpus=cpus, extra=extra)

    def layout(self) -> Topology:
        """The hosts and cables these options ask for."""
        if self.topology:
            return from_file(Path(self.topology))
        return from_options(self.hosts, list(self.cable))


@dataclass(frozen=True)
class HostPlan:
    """One host: `index` counts from 1 and makes its addresses."""

    name: str
    index: int
    routers: int


@dataclass(frozen=True)
class Plan:
    """All that the supervisor needs to know; nothing in it has to be built any more."""

    options: Options
    hosts: tuple[HostPlan, ...]
    cables: tuple[str, ...]
    topology: str
    kernel_version: str
    vmlinux: str
    initrd: str
    layers: tuple[str, ...]
    accel: str
    qemu: tuple[str, ...]
    qemu_env: dict[str, str]
    tsc_khz: int = 0

    @property
    def has_cable(self) -> bool:
        """Whether the hosts have USB4 host routers at all."""
        return bool(self.topology)

    def host(self, name: str) -> HostPlan:
        """The host called `name`; UsageError if there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise UsageError(
            f"there is no host {name!r}", f"hosts: {' '.join(h.name for h in self.hosts)}"
        )

    def to_json(self) -> str:
        """For the run directory."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @staticmethod
    def from_json(text: str) -> Plan:
        """The reverse of to_json()."""
        data: dict[str, Any] = json.loads(text)
        options = data.pop("options")
        for key in ("cable", "extra"):
            options[key] = tuple(options[key])
        hosts = tuple(HostPlan(**host) for host in data.pop("hosts"))
        for key in ("cables", "layers", "qemu"):
            data[key] = tuple(data[key])
        return Plan(options=Options(**options), hosts=hosts, **data)


def make(options: Options) -> Plan:
    """Check the options and build what they need; this may take minutes with an empty cache."""
    options = options.checked()
    layout = options.layout()
    kernel = kernels.ensure(options.kernel)
    words, env = tools.qemu()
    layers = images.layers(kernel, options.init, options.install, options.extra)
    return Plan(
        options=options,
        hosts=tuple(HostPlan(h.name, i, h.routers) for i, h in enumerate(layout.hosts, 1)),
        cables=layout.cables,
        topology=layout.text,
        kernel_version=kernel.version,
        vmlinux=str(kernel.vmlinux),
        initrd=str(disk.initrd(kernel) if options.disk else kernel.initrd),
        layers=tuple(str(path) for path in layers),
        accel="tcg" if options.plugin else accel.choose(kernel),
        qemu=tuple(words),
        qemu_env=env,
        tsc_khz=tsc.khz(),
    )
