# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes `vcable` importable as the lab starts it, and the bench of these tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (str(HERE), str(HERE.parents[1])):
    if folder not in sys.path:
        sys.path.insert(0, folder)

from vcable_bench import TWO_HOSTS, Bench, Pair  # noqa: E402


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    benches: list[Bench] = []

    def make(topology: str = TWO_HOSTS) -> Bench:
        bench = Bench(topology, tmp_path)
        benches.append(bench)
        return bench

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    """Two hosts and a plugged cable; nobody has started a driver."""
    return make_bench(TWO_HOSTS)


@pytest.fixture
def pair(bench: Bench) -> Pair:
    return Pair(bench)
