# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is at the other end: the authenticated channel between two daemons.

Sans-IO: bytes in, bytes and events out; the caller brings time and randomness.
Nothing here decides about trust (policy.py) or opens anything (machine.py).
"""
