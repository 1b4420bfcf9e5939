# SPDX-License-Identifier: GPL-2.0-or-later
"""Peers without a machine that do to a host what no kernel would (see tests/vcable/scripted.py)."""
