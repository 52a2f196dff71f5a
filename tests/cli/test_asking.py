"""Asking: what counts as an answer, and signals that come at any moment of the wait."""

from __future__ import annotations

import os
import pty
import select
import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from jobctl.cli import asking


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The keyboard of a terminal that is the standard input."""
    keyboard, terminal = pty.openpty()
    with open(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield keyboard
    os.close(keyboard)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (b"y\n", True),
        (b" YES \n", True),
        (b"\n", False),
        (b"n\n", False),
        (b"yo\nno\n", False),
        (b"?\ny\n", True),
    ],
)
def test_only_a_yes_is_one(keys: int, typed: bytes, meant: bool) -> None:
    os.write(keys, typed)
    assert asking.is_confirmed("Go on?") is meant


def test_the_end_of_the_input_is_no_answer(keys: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.write(keys, b"\x04")
    with pytest.raises(typer.Abort):
        asking.is_confirmed("Go on?")
    assert capsys.readouterr().out == "Go on? [y/N]: \n"


def test_a_signal_that_comes_just_before_the_wait_ends_it(keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[int] = []

    def wait(*of: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        found = select.select(*of, 60)
        assert found[0], "it waits for a key"
        os.write(keys, b"n\n")
        return found

    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    monkeypatch.setattr(asking, "select", SimpleNamespace(select=wait))
    try:
        assert not asking.is_confirmed("Go on?")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard
