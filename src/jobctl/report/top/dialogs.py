"""What opens above the live view: a question before anything is done, a job's history, help."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from jobctl.model.names import to_shown

KEYS = (
    ("/", "show only what has these words; Esc shows all again"),
    ("Enter", "the history of the job the cursor is on"),
    ("r", "enqueue that job again, once you said yes"),
    ("c", "end that job, or ask it to stop, once you said yes"),
    ("Tab", "on to the next table"),
    ("Space", "look now"),
    ("q", "end"),
)


class Question(ModalScreen[bool]):
    """Asks before something is done. Anything but yes is no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape,q", "answer(False)", show=False),
        Binding("left,right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question above its two answers, of which no is the one at hand."""
        with Vertical(classes="box"):
            yield Static(Text(to_shown(self._question)), id="question")
            with Horizontal(classes="answers"):
                yield Button("No (n)", id="no")
                yield Button("Yes (y)", id="yes")

    def on_mount(self) -> None:
        """Enter alone changes nothing."""
        self.query_one("#no", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """One of the answers was chosen."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:  # noqa: FBT001 - an action's argument
        """Answer by a key."""
        self.dismiss(answer)


class Page(ModalScreen[None]):
    """Something to read, as long as it may be."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss", show=False),
        Binding("j", "down", show=False),
        Binding("k", "up", show=False),
    ]

    def __init__(self, title: str, blocks: Iterable[RenderableType]) -> None:
        super().__init__()
        self._title = title
        self._blocks = list(blocks)

    def compose(self) -> ComposeResult:
        """The text in a frame that can be scrolled."""
        with VerticalScroll(classes="box reading") as frame:
            frame.border_title = Text(to_shown(self._title)).plain.replace("[", "\\[")
            frame.border_subtitle = "Esc: back"
            yield Static(Group(*self._blocks), id="text")

    def action_down(self) -> None:
        """Further down."""
        self.query_one(VerticalScroll).scroll_down(animate=False)

    def action_up(self) -> None:
        """Back up."""
        self.query_one(VerticalScroll).scroll_up(animate=False)


def help_screen() -> Page:
    """What each key does."""
    lines = Text()
    for key, meaning in KEYS:
        lines.append(f"{key:>7}  ", "bold").append(f"{meaning}\n")
    lines.append(
        "\nTo do more: jobctl doctor tells what is not well and what mends it, jobctl recover --dry-run\n"
        "what would be brought back. The order to look at things in: docs/oncall.md"
    )
    return Page("keys", [lines])
