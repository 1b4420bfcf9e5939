# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmad: the daemon that decides which USB4 host may speak RDMA with this one."""

__version__ = "0.1.0"
