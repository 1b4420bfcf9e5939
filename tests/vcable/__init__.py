# SPDX-License-Identifier: GPL-2.0-or-later
"""The virtual USB4 cable: emulated host interfaces, routers and cables for QEMU guests.

One process, one thread, standard library only.  See README.md in this folder.
"""
