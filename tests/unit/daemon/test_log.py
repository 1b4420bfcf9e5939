# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of the journal: an id, a priority, and fields that can be searched for."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from usb4rdmad import log as module
from usb4rdmad.log import MessageId, log, note


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    handler = Records()
    level, handlers = log.level, log.handlers[:]
    log.addHandler(handler)
    log.setLevel("INFO")
    yield handler.records
    log.setLevel(level)
    log.handlers[:] = handlers


def test_a_note_has_an_id_and_fields_in_capitals(records: list[logging.LogRecord]) -> None:
    note(MessageId.LINK_ACTIVE, "0-1: is active", link="0-1", peer_name="mars", reason="")
    (record,) = records
    assert record.getMessage() == "0-1: is active"
    assert record.__dict__["MESSAGE_ID"] == MessageId.LINK_ACTIVE.id
    assert record.__dict__["USB4RDMA_LINK"] == "0-1"
    assert record.__dict__["USB4RDMA_PEER_NAME"] == "mars"
    assert "USB4RDMA_REASON" not in record.__dict__, "empty ones are left out"


@pytest.mark.parametrize("message", MessageId)
def test_every_id_is_128_bits_with_a_level_that_the_journal_knows(message: MessageId) -> None:
    assert len(bytes.fromhex(message.id)) == 16 and message.id == message.id.lower()
    assert message.level in module._PRIORITY
    assert message.text


def test_what_a_peer_says_cannot_break_a_line_apart(
    records: list[logging.LogRecord], capsys: pytest.CaptureFixture[str]
) -> None:
    """Percent signs and the like are text, not formats."""
    note(MessageId.LINK_ACTIVE, "100%s %d of %(x)s")
    assert records[0].getMessage() == "100%s %d of %(x)s"


def test_lines_for_a_journal_that_reads_standard_error_have_a_priority(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    monkeypatch.setattr(module, "_journal", None)
    handlers, level, root = log.handlers[:], log.level, logging.getLogger().handlers[:]
    try:
        module.setup("info")
        note(MessageId.LINK_ACTIVE, "0-1: is active")
        note(MessageId.KEY_CHANGED, "0-1: another key")
        logging.getLogger().error("a library's own words")
    finally:
        log.handlers[:], log.level = handlers, level
        log.propagate = True
        logging.getLogger().handlers[:] = root
    assert capsys.readouterr().err == "<5>0-1: is active\n<4>0-1: another key\n"
