# SPDX-License-Identifier: GPL-2.0-or-later
"""Rings, interrupts and registers of the host interface, driven by fake hosts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vcable import nhi as regs
from vcable.fakehost import DirectBus
from vcable.rings import COMPLETED, ENABLE, INTERRUPT, POSTED
from vcable_bench import Bench, Pair

MakeBench = Callable[[str], Bench]


def test_a_frame_arrives_with_length_sof_and_eof(pair: Pair) -> None:
    pair.atx.queue(b"payload", 1, 2)
    (frame,) = pair.brx.poll()
    assert (frame.data, frame.sof, frame.eof, frame.crc_error) == (b"payload", 1, 2, False)
    assert pair.atx.completed() == 1


def test_length_zero_means_4096(pair: Pair) -> None:
    data = bytes(range(256)) * 16
    pair.atx.queue(data, 1, 2)
    assert pair.atx.descriptor(0)[1] & 0xFFF == 0
    (frame,) = pair.brx.poll()
    assert frame.data == data


def test_rx_completion_clears_the_posted_bit_which_also_means_overrun(pair: Pair) -> None:
    pair.atx.queue(b"x", 1, 2)
    word = pair.brx.descriptor(0)[1]
    assert word & COMPLETED and not word & POSTED


def test_order_holds_over_ring_wraps_and_both_directions(pair: Pair) -> None:
    got_a: list[bytes] = []
    got_b: list[bytes] = []
    sent = [f"{n}".encode() for n in range(200)]
    for message in sent:
        pair.atx.queue(message, 1, 2)
        pair.btx.queue(message, 1, 2)
        got_b += [frame.data for frame in pair.brx.poll()]
        got_a += [frame.data for frame in pair.arx.poll()]
        pair.atx.completed()
        pair.btx.completed()
    assert got_a == sent
    assert got_b == sent


def test_many_doorbells_in_one_batch_make_one_interrupt(pair: Pair) -> None:
    bus = pair.a.bus
    assert isinstance(bus, DirectBus)
    bus.batching = True
    for n in range(20):
        pair.atx.queue(bytes([n]), 1, 2)
    assert pair.brx.poll() == []
    bus.device.batch_done()
    assert len(pair.brx.poll()) == 20
    assert pair.b.bus.irqs() == [pair.vector]


def test_a_masked_ring_interrupts_when_it_is_unmasked_with_its_status_set(pair: Pair) -> None:
    pair.brx.clear()
    pair.brx.mask()
    pair.atx.queue(b"x", 1, 2)
    assert pair.b.bus.irqs() == []
    pair.brx.unmask()
    assert pair.b.bus.irqs() == [pair.vector]


def test_unmasking_after_clearing_the_status_is_silent(pair: Pair) -> None:
    pair.brx.mask()
    pair.atx.queue(b"x", 1, 2)
    pair.brx.clear()
    pair.brx.unmask()
    assert pair.b.bus.irqs() == []


def test_a_completion_while_the_status_is_set_interrupts_again(pair: Pair) -> None:
    pair.atx.queue(b"1", 1, 2)
    pair.b.bus.irqs()
    pair.atx.queue(b"2", 1, 2)
    assert pair.b.bus.irqs() == [pair.vector]


def test_masking_by_rewriting_the_mask_register_works_too(pair: Pair) -> None:
    old = pair.b.bus.read32(regs.INT_MASK)
    pair.b.bus.write32(regs.INT_MASK, old & ~(1 << pair.brx.index))
    pair.atx.queue(b"x", 1, 2)
    assert pair.b.bus.irqs() == []
    assert pair.b.bus.read32(regs.INT_MASK) == old & ~(1 << pair.brx.index)


def test_a_descriptor_that_asks_for_no_interrupt_gets_none(pair: Pair) -> None:
    address, word = pair.brx.descriptor(0)
    pair.brx.write_descriptor(0, address, word & ~INTERRUPT)
    pair.atx.queue(b"x", 1, 2)
    assert pair.b.bus.irqs() == []
    assert len(pair.brx.poll()) == 1


def test_status_is_cleared_by_reading_unless_auto_clear_is_off(pair: Pair) -> None:
    pair.brx.clear()
    pair.atx.queue(b"x", 1, 2)
    bit = 1 << pair.brx.index
    assert pair.b.bus.read32(regs.INT_STATUS) & bit
    assert pair.b.bus.read32(regs.INT_STATUS) & bit
    pair.b.bus.write32(regs.DMA_MISC, 0)
    assert pair.b.bus.read32(regs.INT_STATUS) & bit
    assert not pair.b.bus.read32(regs.INT_STATUS) & bit


def test_doorbell_and_stop_in_one_batch_send_the_frame_first(pair: Pair) -> None:
    bus = pair.a.bus
    assert isinstance(bus, DirectBus)
    bus.batching = True
    pair.atx.queue(b"last words", 1, 2)
    pair.atx.stop()
    bus.device.batch_done()
    assert [frame.data for frame in pair.brx.poll()] == [b"last words"]


def test_without_end_to_end_control_a_full_ring_drops_and_sets_overflow(pair: Pair) -> None:
    for n in range(70):
        pair.atx.queue(bytes([n]), 1, 2)
        pair.atx.completed()
    assert len(pair.brx.poll(repost=False)) == 63
    stat = pair.bench.world.stat()
    assert stat["routers"]["b"]["rings"]["rx1"]["dropped"] == 7
    assert stat["cables"]["a:1-b:1"]["from"]["a:1"]["lost_by_reason"] == {"no-descriptor": 7}
    overflow = 2 * 12 + 1
    assert pair.b.bus.read32(regs.INT_STATUS) & 1 << overflow


def test_with_end_to_end_control_the_sender_waits_and_nothing_is_lost(bench: Bench) -> None:
    pair = Pair(bench, e2e=True, size=16)
    sent = [bytes([n]) for n in range(15)]
    for message in sent:
        pair.atx.queue(message, 1, 2)
    assert pair.atx.completed() == 15
    for n in range(15, 25):
        pair.atx.queue(bytes([n]), 1, 2)
    assert pair.atx.completed() == 0
    first = pair.brx.poll()
    assert pair.atx.completed() == 10
    second = pair.brx.poll()
    assert [frame.data[0] for frame in first + second] == list(range(25))


def test_a_stopped_receiver_lets_a_waiting_sender_go_on(bench: Bench) -> None:
    pair = Pair(bench, e2e=True, size=8)
    for n in range(7):
        pair.atx.queue(bytes([n]), 1, 2)
    assert pair.atx.completed() == 7
    pair.atx.queue(b"waits", 1, 2)
    assert pair.atx.completed() == 0
    pair.brx.stop()
    assert pair.atx.completed() == 1


def test_frames_outside_the_rings_pdf_masks_are_dropped_and_counted(bench: Bench) -> None:
    pair = Pair(bench)
    pair.brx.stop()
    pair.brx.start(masks=1 << 16 + 1 | 1 << 2)
    pair.brx.post()
    for sof, eof in ((1, 3), (2, 2), (1, 2)):
        pair.atx.queue(bytes([sof, eof]), sof, eof)
    assert [frame.data for frame in pair.brx.poll()] == [bytes([1, 2])]
    assert bench.world.stat()["routers"]["b"]["other"]["pdf_not_in_mask"] == 2


@pytest.mark.parametrize("path_side", ["a", "b"])
def test_without_a_path_a_frame_is_completed_and_lost(pair: Pair, path_side: str) -> None:
    host = pair.a if path_side == "a" else pair.b
    host.disable_path(1, 8, 1)
    pair.atx.queue(b"x", 1, 2)
    assert pair.atx.completed() == 1
    assert pair.brx.poll() == []


def test_a_path_that_comes_back_carries_frames_again(pair: Pair) -> None:
    pair.b.disable_path(1, 8, 1)
    pair.atx.queue(b"lost", 1, 2)
    pair.b.enable_path(1, 8, 1, 1)
    pair.atx.queue(b"found", 1, 2)
    assert [frame.data for frame in pair.brx.poll()] == [b"found"]


def test_an_unmapped_tx_buffer_is_a_fault_of_that_ring_and_the_ring_goes_on(pair: Pair) -> None:
    address, _ = pair.atx.descriptor(0)
    pair.a.memory.write(address, b"x")
    pair.atx.write_descriptor(0, 1 << 50, 1 | 2 << 12 | 1 << 16 | POSTED | INTERRUPT)
    pair.atx.head = 1
    pair.atx.ring()
    pair.atx.queue(b"next", 1, 2)
    assert pair.atx.completed() == 2
    assert [frame.data for frame in pair.brx.poll()] == [b"next"]
    stat = pair.bench.world.stat()["routers"]["a"]
    assert stat["dma_faults"] == 1
    assert stat["dma_faults_by_ring"] == {"tx1": 1}
    assert pair.bench.traced("DMA fault")


def test_an_unmapped_rx_buffer_is_a_fault_and_the_descriptor_says_bad_frame(pair: Pair) -> None:
    pair.brx.write_descriptor(0, 1 << 50, POSTED | INTERRUPT)
    pair.atx.queue(b"x", 1, 2)
    from vcable.rings import CRC_ERROR

    word = pair.brx.descriptor(0)[1]
    assert word & COMPLETED and word & CRC_ERROR
    assert pair.bench.world.stat()["routers"]["b"]["dma_faults_by_ring"] == {"rx1": 1}


def test_an_unmapped_ring_is_a_fault_and_no_exception(pair: Pair) -> None:
    base = 16
    pair.a.bus.write32(base, 0xDEAD0000)
    pair.atx.head = 1
    pair.atx.ring()
    pair.b.bus.write32(regs.RX_RINGS + 16, 0xDEAD0000)
    pair.btx.queue(b"x", 1, 2)
    assert pair.bench.world.stat()["routers"]["a"]["dma_faults_by_ring"] == {"tx1.desc": 1}


@pytest.mark.parametrize("producer", [64, 0xFFFF])
def test_a_doorbell_beyond_the_ring_is_counted_and_ignored(pair: Pair, producer: int) -> None:
    pair.a.bus.write32(16 + 8, producer << 16)
    assert pair.bench.world.stat()["routers"]["a"]["other"]["bad_doorbell"] == 1
    assert pair.brx.poll() == []


def test_an_rx_doorbell_beyond_the_ring_gives_no_room(pair: Pair) -> None:
    pair.b.bus.write32(regs.RX_RINGS + 16 + 8, 0xFFFF)
    pair.atx.queue(b"x", 1, 2)
    assert pair.brx.poll() == []


def test_a_ring_of_size_zero_moves_nothing(bench: Bench) -> None:
    a = bench.host("a")
    a.bus.write32(16 + 12, 0)
    a.bus.write32(regs.TX_OPTIONS + 32, ENABLE)
    a.bus.write32(16 + 8, 5 << 16)
    assert bench.world.stat()["routers"]["a"]["dma_faults"] == 0


def test_caps_show_rings_and_version(make_bench: MakeBench) -> None:
    bench = make_bench(
        '[[host]]\nname = "a"\n[[host.router]]\nrings = 3\nversion = 2\n[[host]]\nname = "b"\n'
    )
    a, b = bench.host("a", start=False), bench.host("b", start=False)
    assert a.bus.read32(regs.CAPS) == 3 | 0x40 << 16
    assert b.bus.read32(regs.CAPS) == 12


def test_registers_beyond_the_last_ring_do_nothing(make_bench: MakeBench) -> None:
    bench = make_bench('[[host]]\nname = "a"\n[[host.router]]\nrings = 3\n')
    a = bench.host("a")
    for base in (0, regs.RX_RINGS):
        a.bus.write32(base + 16 * 3, 0x1234)
        assert a.bus.read32(base + 16 * 3) == 0
    for base in (regs.TX_OPTIONS, regs.RX_OPTIONS):
        a.bus.write32(base + 32 * 3, ENABLE)
        assert a.bus.read32(base + 32 * 3) == 0


def test_throttling_registers_are_plain_storage(bench: Bench) -> None:
    a = bench.host("a")
    a.bus.write32(0x38C04, 500)
    assert a.bus.read32(0x38C04) == 500


def test_mmio_and_interrupts_are_counted(pair: Pair) -> None:
    pair.bench.command(cmd="reset_stat")
    pair.atx.queue(b"x", 1, 2)
    stat = pair.bench.world.stat()["routers"]
    assert (stat["a"]["mmio_writes"], stat["a"]["mmio_reads"]) == (1, 0)
    assert stat["a"]["interrupts"] == 1
    assert stat["b"]["interrupts"] == 1
    assert stat["a"]["data"]["tx_frames"] == 1
    assert stat["b"]["data"]["rx_bytes"] == 1
