# SPDX-License-Identifier: GPL-2.0-or-later
"""A USB4 port of an emulated router: the cable end that its two lane adapters make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import confspace as cs
from .cable import Cable, LinkState
from .direction import Direction
from .packets import REPLY
from .rings import Sink

if TYPE_CHECKING:
    from .router import Router

LANE_STATES = {
    LinkState.UNPLUGGED: cs.STATE_UNPLUGGED,
    LinkState.DOWN: cs.STATE_UNPLUGGED,
    LinkState.TRAINING: cs.STATE_TRAINING,
    LinkState.UP: cs.STATE_UP,
}


class UsbPort:
    """See `CableEnd`.  Keeps the lane adapters' registers in step with the link."""

    def __init__(self, router: Router, number: int) -> None:
        self.router = router
        self.number = number
        self.adapter = 2 * number - 1
        self.name = f"{router.name}:{number}"
        self.cable: Cable | None = None
        self.out: Direction | None = None
        self.resetting = False
        self.up = False
        self._shown = (LinkState.UNPLUGGED, 1, cs.SPEED_GEN3, router.lanes)

    @property
    def lanes(self) -> int:
        return self.router.lanes

    @property
    def version(self) -> int:
        return self.router.version

    @property
    def ready(self) -> bool:
        return self.router.powered and not self.resetting

    @property
    def bonding_targets(self) -> tuple[bool, bool]:
        lanes = self._lanes()
        dual = all(lane.target_width == cs.TARGET_DUAL and not lane.disabled for lane in lanes)
        return dual, bool(lanes[0].words[cs.LANE_STATUS] & cs.LANE_BOND)

    def set_reset(self, resetting: bool) -> None:
        """The downstream port reset bit was written."""
        if resetting == self.resetting:
            return
        self.resetting = resetting
        if self.cable is not None:
            self.cable.refresh()

    def sink(self, hop: int) -> Sink | None:
        return self.router.sink(self, hop)

    def link_changed(self, state: LinkState, width: int, speed: int, lanes: int) -> None:
        was, self.up = self.up, state is LinkState.UP
        self._shown = (state, width, speed, lanes)
        if was and not self.up:
            self._lanes()[0].words[cs.LANE_STATUS] &= ~cs.LANE_BOND
        self.show()
        if was != self.up:
            self.router.paths_changed()
            self.router.events.link_changed(self)

    def show(self) -> None:
        """Put state, width and speed into the lane adapters' registers."""
        state, width, speed, lanes = self._shown
        first, second = self._lanes()
        first.set_lane(LANE_STATES[state], width, speed, lanes)
        state_of_second = LANE_STATES[state] if lanes == 2 else cs.STATE_UNPLUGGED
        second.set_lane(state_of_second, width, speed, lanes)

    def receive_xdomain(self, kind: int, words: list[int]) -> None:
        self.router.send_control(kind, [REPLY, self.adapter, *words])

    def _lanes(self) -> tuple[cs.Adapter, cs.Adapter]:
        adapters = self.router.adapters
        return adapters[self.adapter], adapters[self.adapter + 1]
