# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operation costs, counted in guest instructions: see README.md."""
