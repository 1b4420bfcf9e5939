# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests over a link through verbs, in a process of their own.

pyverbs waits without deadlines, costs 20 MB, and an open verbs context holds up
the removal of a device; so the daemon starts `python -m usb4rdmad.selftest` for
each test and kills it when its time is up or its link goes. Only verbs.py
imports pyverbs, only tester.py runs in the daemon.
"""
