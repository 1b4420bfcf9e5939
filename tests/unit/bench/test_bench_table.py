# SPDX-License-Identifier: GPL-2.0-or-later
"""The bench's pure parts: what the plugin says, medians, the table, the verdict."""

from __future__ import annotations

import dataclasses
import json

import pytest
from bench import cases, counts, table
from bench.table import Sample

ANSWER = """marks 3 2
now 1000 50 7 0
between 300 20 4096 1
unnamed 5
ffffffffc0001010 100
ffffffffc0001040 60
ffffffffc0002000 135
"""
KALLSYMS = """ffffffffc0002000 t second\t[usb4_rdma]
ffffffffc0001000 t first\t[usb4_rdma]
ffffffffc0001800 d data\t[usb4_rdma]
ffffffff81000000 T _stext
"""

WRITE = Sample(
    device="usb4rdma0",
    place="small",
    kind="write",
    size=65536,
    count=10,
    sender=160_000,
    receiver=240_000,
    sender_copied=0,
    receiver_copied=655_360,
    frames=170,
    wire_bytes=656_000,
    interrupts=20,
    resends=0,
    lost=0,
    seconds=0.1,
)


def sample(**changes: object) -> Sample:
    return dataclasses.replace(WRITE, **changes)  # type: ignore[arg-type]


def theirs(**changes: object) -> Sample:
    return sample(device="rxe0", sender=1_600_000, receiver=1_900_000, **changes)


def test_the_plugins_answer_is_read() -> None:
    answer = counts.parse(ANSWER)
    assert (answer.begins, answer.ends, answer.now) == (3, 2, 1050)
    assert answer.instructions == 320
    assert (answer.kernel_copied, answer.user_copied, answer.unnamed) == (4096, 1, 5)
    assert answer.blocks[0xFFFFFFFFC0001040] == 60


@pytest.mark.parametrize("text", ["", "now 1 2 3 4\n", ANSWER[:12]])
def test_an_answer_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        counts.parse(text)


def test_blocks_belong_to_the_function_before_them() -> None:
    blocks = {**counts.parse(ANSWER).blocks, 0x10: 1}
    assert counts.by_symbol(blocks, KALLSYMS) == {
        "?": 1,
        "first [usb4_rdma]": 160,
        "second [usb4_rdma]": 135,
    }


def test_a_row_is_the_median_per_operation() -> None:
    (row,) = table.rows([sample(sender=100_000), sample(), sample(sender=900_000)])
    assert (row.sender, row.receiver, row.repeats) == (16_000, 24_000, 3)
    assert row.per_block(row.sender) == 1000
    assert row.per_mib(row.frames) == 272
    assert row.receiver_copies == 1
    assert row.spread == pytest.approx(800_000 / 400_000)


def test_small_messages_are_not_scaled_to_blocks() -> None:
    (row,) = table.rows([sample(size=64)])
    assert row.per_block(row.sender) == row.sender


def test_resends_and_wrong_data_of_any_repeat_count() -> None:
    (row,) = table.rows([sample(), sample(resends=3, good=False)])
    assert (row.resends, row.good) == (3, False)


def test_all_aims_reached_leaves_nothing_to_say() -> None:
    result = table.rows([sample(), sample(place="256 MiB, end"), theirs()])
    result += table.rows([theirs(place="256 MiB, end")])
    assert table.verdict(result, "usb4rdma0", "rxe0") == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sender": 1_600_000}, "53% of rxe0's instructions"),
        ({"resends": 2}, "2 resends without loss"),
        ({"good": False}, "wrong data"),
        ({"kind": "read"}, "not measured on rxe0"),
    ],
)
def test_each_missed_aim_is_named(changes: dict[str, object], complaint: str) -> None:
    result = table.rows([sample(**changes), theirs()])
    (said,) = table.verdict(result, "usb4rdma0", "rxe0")
    assert complaint in said


def test_a_resend_after_a_loss_is_no_fault() -> None:
    result = table.rows([sample(resends=2, lost=1), theirs()])
    assert table.verdict(result, "usb4rdma0", "rxe0") == []


def test_growth_with_the_region_is_named() -> None:
    far = {"place": "256 MiB, end"}
    result = table.rows([sample(), sample(sender=250_000, **far), theirs(), theirs(**far)])
    (said,) = table.verdict(result, "usb4rdma0", "rxe0")
    assert "1.23 times of what a small region costs" in said


def test_the_table_has_a_line_a_case_and_the_share_of_the_other_device() -> None:
    trip = sample(kind="pingpong", size=64)
    text = table.markdown(table.rows([sample(), trip, theirs()]), "rxe0")
    assert "| usb4rdma0 | write | 64 KiB | small | 1.00k + 1.50k | 0.00 / 1.00 | 272 |" in text
    assert text.count("11% |") == 1
    assert "### Per round trip" in text
    assert "### Per message" not in text


def test_raw_data_survive_the_file() -> None:
    data = json.loads(json.dumps(table.to_json([WRITE], {"kernel": "7.2"})))
    assert table.from_json(data) == ([WRITE], {"kernel": "7.2"})


def test_a_repeated_request_counts_once_whichever_side_saw_it() -> None:
    assert cases.resends({"retries": 2, "tx_segments": 9}, {"rx_duplicates": 3}) == 3
    assert cases.resends({"completer_retry_err": 1}, {}) == 1
    assert cases.resends({"probes": 4}, {"tx_acks": 4}) == 0
