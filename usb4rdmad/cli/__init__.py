# SPDX-License-Identifier: GPL-2.0-or-later
"""usb4rdmactl. Imports neither pydantic nor pyudev; the bus only when it is needed."""
