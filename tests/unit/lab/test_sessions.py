# SPDX-License-Identifier: GPL-2.0-or-later
"""Terminal sessions in the documentation: what counts as shown."""

from __future__ import annotations

import pytest
import sessions
from sessions import SessionDiffers, Step

PAGE = """
# Page

```session first
$ true
$ echo a b
a b
# busctl monitor x &
Monitoring …
```

```sh
$ not a session
```

```session second
$ false
```
"""


def test_blocks_become_sessions_and_others_do_not() -> None:
    first, second = sessions.parse(PAGE)
    assert (first.name, second.name) == ("first", "second")
    assert first.steps[1] == Step("echo a b", ("a b",))
    assert [one.stays for one in first.steps] == [False, False, True]


@pytest.mark.parametrize(
    ("shown", "output"),
    [
        (("a b",), "a b\n"),
        (("a b",), "a b"),
        (("a b",), "a b   \n"),
        (("a … c",), "a anything c\n"),
        (("a", "…", "d"), "a\nb\nc\nd\n"),
        (("a", "…", "d"), "a\nd\n"),
        (("1.0 (x) [y]",), "1.0 (x) [y]\n"),
    ],
)
def test_what_the_page_shows_is_found(shown: tuple[str, ...], output: str) -> None:
    Step("command", shown).check(output, True)


@pytest.mark.parametrize(
    ("shown", "output"),
    [
        (("a b",), "a c\n"),
        (("a",), "a\nb\n"),
        (("a", "b"), "a\n"),
        (("a … c",), "a\n c\n"),
        (("a", "…", "d"), "a\nb\n"),
        ((".",), "x\n"),
    ],
)
def test_anything_else_is_a_difference(shown: tuple[str, ...], output: str) -> None:
    with pytest.raises(SessionDiffers):
        Step("command", shown).check(output, True)


def test_a_command_that_goes_on_may_show_more() -> None:
    Step("monitor &", ("a",)).check("a\nb\n", False)
