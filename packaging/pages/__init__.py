# SPDX-License-Identifier: GPL-2.0-or-later
"""What of docs/ is made: figures from kept measurements, references from the tables of the code.

`make docs-data` runs it. The same input gives the same bytes; tests/unit/docs compares what is
kept with what would be made. mkdocs.yml, `make site` and site.py (its hook) make the web pages.
"""
