# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: hosts (virtual machines with a stock Debian kernel) joined by virtual USB4 cables."""
