# SPDX-License-Identifier: GPL-2.0-or-later
"""What --with adds to a host: packages in its root, or another Debian beside it."""

from __future__ import annotations

import pytest
from lab import extras, images
from lab.errors import UsageError


def test_a_foreign_root_does_not_change_the_hosts_own() -> None:
    names = extras.checked(("rdma-core-65", "clients"))
    assert extras.in_root(names) == ("clients",)
    assert [spec.name for spec in extras.foreign(names)] == ["rdma-core-65"]
    assert extras.packages(names) == extras.packages(("clients",))


def test_sets_come_in_one_order_and_once() -> None:
    assert extras.checked(("storage", "clients", "storage")) == ("clients", "storage")


def test_an_unknown_set_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(UsageError, match="clients.*rdma-core-65"):
        extras.checked(("nothing",))


def test_a_sets_script_runs_while_the_root_is_made() -> None:
    assert "rdma-core-tests" in extras.script(("rdma-core-tests",))
    assert "SCRIPT" in images._ADD_PACKAGES
    assert extras.script(("clients",)) == ""
