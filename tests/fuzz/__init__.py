# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzzers of the driver's sources, compiled for user space."""
