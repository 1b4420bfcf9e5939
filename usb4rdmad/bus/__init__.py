# SPDX-License-Identifier: GPL-2.0-or-later
"""org.usb4rdma1 on the system bus. Only wire.py and connection.py import dbus_next."""

NAME = "org.usb4rdma1"
ROOT = "/org/usb4rdma1"
