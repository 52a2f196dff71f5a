"""A command on a screen is whole: a shell makes of what is copied just that command, however narrow it is."""

from __future__ import annotations

import shlex

import pytest

from jobctl.report.screen import Example, pairs, section, told
from report.screens import render

COMMAND = "jobctl undo 20261123-110000-4f1a --database '/srv/my jobs.db'"


def words_in(lines: list[str]) -> list[str]:
    """The words that a shell makes of these lines; it takes a backslash at the end of one for nothing."""
    return shlex.split("\n".join(lines).replace("\\\n", ""))


def test_one_that_has_room_stands_beside_what_it_is_for() -> None:
    assert render([told("Next: jobctl recover")], 40) == "Next: jobctl recover\n"


@pytest.mark.parametrize("width", [38, 50, 70])
def test_one_that_has_none_stands_below(width: int) -> None:
    said, *lines = render([told(f"To take it back: {COMMAND}.")], width).splitlines()
    assert said == "To take it back:"
    assert words_in(lines) == shlex.split(COMMAND)
    assert max(map(len, lines)) <= width


def test_so_does_one_that_a_reason_names_and_one_that_tells_the_rest() -> None:
    shown = render(
        [section("gone", "it is", [Example("a.mp4", f"why: {COMMAND}")], f"… 3 more: {COMMAND}")], 60
    )
    _, why, first, second, _, more, *rest = shown.splitlines()
    assert (why, more) == ("  why:", "    … 3 more:")
    assert words_in([first, second]) == words_in(rest) == shlex.split(COMMAND)


def test_so_does_one_beside_a_name() -> None:
    first, *further = render([pairs([("job", "j1"), ("take back", COMMAND)])], 50).splitlines()[1:]
    assert words_in([first.removeprefix("take back"), *further]) == shlex.split(COMMAND)


def test_a_sentence_that_names_none_goes_on_in_the_next_line() -> None:
    sentence = "the version of jobctl that made it is another one"
    assert render([told(sentence)], 30).split() == sentence.split()
