# SPDX-License-Identifier: GPL-2.0-or-later
"""rdma-core's own tests in the hosts: run them, compare two devices, keep and show the figures."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pairs
import scenario
from lab.api import Host, Process

RESULTS = Path(__file__).resolve().parents[2] / "build/results"
SOFT_ROCE = "rxe0"
OUTCOMES = ("pass", "skip", "fail", "error")
FOLDER = "/usr/share/rdma-core-tests"
SECONDS = 1500.0
HUGE_PAGES = 8
# By kernel: tests of what its rdma_cm cannot do, whatever the device. 6.12 resolves no services.
LACKING = {"6.12": {"test_rdmacm_async_resolve_addrinfo"}}


# Both versions, and images of containers: test_rdma_core_of_containers.py wants the same lab.
IMAGES = ("debian-12", "debian-13", "rdma-core-65")


def lab_options() -> dict[str, Any]:
    """The kernel is that of the tables of programs."""
    return pairs.lab_options() | {"extra": ("rdma-core-tests", *IMAGES)}


def version_name(package: str) -> str:
    """The version that upstream gave: 56.1 of 56.1-1, 65 of 65.0-1.1."""
    return package.rsplit("-", 1)[0].removesuffix(".0")


@dataclass(frozen=True)
class Suite:
    """What one version's tests said about both devices of a host."""

    version: str
    kernel: str
    seconds: float
    left_out: list[str]
    devices: dict[str, dict[str, dict[str, Any]]]

    @property
    def series(self) -> str:
        """The kernel's series, like 7.2."""
        return ".".join(self.kernel.split(".")[:2])

    @property
    def modules(self) -> list[str]:
        """In the order they ran."""
        return list(self.devices[scenario.DEVICE])

    def counts(self, device: str, module: str = "") -> Counter[str]:
        """Tests by outcome, of one module or of all."""
        chosen = [module] if module else self.modules
        return Counter(
            test["outcome"] for name in chosen for test in self.devices[device][name]["tests"]
        )

    def bad(self, device: str) -> list[str]:
        """The tests that failed or ended in an error, and why; not those that the kernel fails."""
        return [
            f"{test['outcome']}: {test['test']}\n{test['why']}"
            for module in self.devices[device].values()
            for test in module["tests"]
            if test["outcome"] in ("fail", "error")
            and test["test"].rsplit(".", 1)[-1] not in LACKING.get(self.series, ())
        ]

    def skips(self, device: str) -> Counter[tuple[str, str]]:
        """How often tests of a module were skipped for a reason."""
        return Counter(
            (name, test["why"].strip())
            for name, module in self.devices[device].items()
            for test in module["tests"]
            if test["outcome"] == "skip"
        )

    def _cells(self, device: str, module: str = "") -> str:
        counts = self.counts(device, module)
        chosen = [module] if module else self.modules
        seconds = sum(self.devices[device][name]["seconds"] for name in chosen)
        figures = [sum(counts.values()), *(counts[outcome] for outcome in OUTCOMES)]
        return "".join(f"{figure:6}" for figure in figures) + f"{seconds:7.1f}"

    def table(self) -> str:
        """Both devices side by side, a line for each module; seconds are the host's own."""
        head = "".join(f"{word:>6}" for word in ("run", *OUTCOMES)) + f"{'s':>7}"
        lines = [
            f"rdma-core {self.version}, kernel {self.kernel}",
            f"{'':24}{scenario.DEVICE:>37} | {'Soft-RoCE':>37}",
            f"{'':24}{head} | {head}",
        ]
        for module in (*self.modules, ""):
            ours, theirs = (self._cells(d, module) for d in (scenario.DEVICE, SOFT_ROCE))
            lines.append(f"{module or 'all':24}{ours} | {theirs}")
        lines.append("skipped on ours:")
        for (module, why), number in sorted(self.skips(scenario.DEVICE).items()):
            lines.append(f"  {number:3} {module}: {why}")
        lines.append(f"left out, for other makers' devices: {' '.join(self.left_out)}")
        return "\n".join(lines)

    def note(self, device: str, module: str) -> str:
        """Like "21 of 26, 5 skipped"."""
        counts = self.counts(device, module)
        words = [f"{counts['pass']} of {sum(counts.values())}"]
        for outcome, text in (("skip", "skipped"), ("fail", "failed"), ("error", "in error")):
            if counts[outcome]:
                words.append(f"{counts[outcome]} {text}")
        return ", ".join(words)

    def save(self) -> Path:
        """Replace what an earlier run of this version on this kernel left."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"rdma-core-{self.version}-kernel-{self.series}.json"
        path.write_text(json.dumps(vars(self), indent=1) + "\n", encoding="utf-8")
        return path


def prepare(host: Host) -> None:
    """A Soft-RoCE device on the host's Ethernet, and some huge pages for tests that want them."""
    host.run(f"echo {HUGE_PAGES} > /proc/sys/vm/nr_hugepages", check=True)
    host.run(f"rdma link add {SOFT_ROCE} type rxe netdev eth0", timeout=60, check=True)
    scenario.until(
        f"port of {SOFT_ROCE} in {host.name} ACTIVE",
        60.0,
        lambda: scenario.port_state(host, SOFT_ROCE).endswith("ACTIVE"),
    )


def ipv4_gid(host: Host, device: str) -> int:
    """The index of the device's first IPv4 GID."""
    for index, gid in sorted(scenario.gids(host, device).items()):
        if ":ffff:" in gid:
            return index
    raise scenario.ScenarioError(f"{device} of {host.name} has no IPv4 GID")


def start(host: Host, foreign: str = "") -> Process:
    """All modules, our device first, then Soft-RoCE; in the foreign root of that name if given."""
    program = scenario.program(host, "rdma_core_suite.py")
    devices = [f"{name}:{ipv4_gid(host, name)}" for name in (scenario.DEVICE, SOFT_ROCE)]
    enter = f"/usr/lib/usb4rdma-lab/in-foreign {foreign} " if foreign else ""
    options = " ".join(f"--device {device}" for device in devices)
    return host.start(f"{enter}python3 {program} --tests {FOLDER} {options}", timeout=SECONDS)


def run_both(hosts: dict[str, Host]) -> list[Suite]:
    """The suites of several hosts at once; the keys are foreign roots, "" is the host's own."""
    suites = []
    with ExitStack() as stack:
        running = [
            (host, stack.enter_context(start(host, foreign))) for foreign, host in hosts.items()
        ]
        for host, process in running:
            told = scenario.last_json(process.wait(SECONDS).check())
            kernel = host.run("uname -r", check=True).out.strip()
            suites.append(Suite(version_name(told.pop("version")), kernel, **told))
    return suites
