"""Where a command's answer goes: JSON, a stream of JSON lines, tab-separated lines, or a screen.

stdout is data, stderr is what is said about it. A stream is one item a line; where there
is more to tell than the items (counts, warnings, errors), an envelope is its last line.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from jobctl.cli.table import COMMANDS, command_in
from jobctl.errors import ExitCode, JobctlError
from jobctl.model.commands import shell_word
from jobctl.model.names import to_shown
from jobctl.report.columns import Column, RowT, tsv_heading, tsv_line
from jobctl.report.envelope import SCHEMA, Ending, closing_fields, envelope, to_json
from jobctl.store.redact import redact_url

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from jobctl.model.health import Diagnosis

RowT_contra = TypeVar("RowT_contra", contravariant=True)
Item = Callable[[RowT], Mapping[str, Any]]


# A command somebody may copy: in quotes, or, with words of its own in quotes perhaps, up to where a sentence
# or another command goes on. One that ends in a quote without its other half is none; that it fits all the
# same keeps each text from being read again for every command in it.
_CALLED = rf"jobctl (?:{'|'.join(sorted({name.split()[0] for name in COMMANDS}))})\b"
_WORDS = r"""(?:[^'"\n]|'[^'\n]*'|"[^"\n]*")*?"""
_QUOTED_WORDS = r"""(?:(?<=\s)\$?'[^'\n]*'(?=[\s'])|[^'\n])+"""
_END = r"(?=[;,)](?:\s|$)|\s(?:\||&&|\()|\.?$)"
_OPEN_QUOTE = r"""(?P<open>'(?![^'\n]*')|"(?![^"\n]*"))"""
_COMMAND = re.compile(
    rf"(?<=')jobctl (?!COMMAND){_QUOTED_WORDS}(?<![\s$])(?=')"
    rf"|(?<!')\b{_CALLED}{_WORDS}(?:{_END}|{_OPEN_QUOTE})",
    re.MULTILINE,
)


class Format(Enum):
    """How stdout is written."""

    TEXT = "text"
    JSON = "json"
    JSON_LINES = "jsonl"


class AnswerLost(JobctlError):
    """The answer could not be written; what the command did is not touched by that."""

    code = "answer-lost"


class Listing(Protocol[RowT_contra]):
    """Takes the rows of an answer one by one, so that a million of them stay flat in memory."""

    def add(self, row: RowT_contra) -> None:
        """Write one row."""

    def end(self, ending: Ending, warnings: Sequence[str]) -> None:
        """Write what comes after the last row."""


@dataclass(slots=True)
class Output:
    """The answer of one command.

    ``is_quiet``: say nothing when all is well. ``place``: the options that named store and
    configuration, to be repeated in every command that is suggested.
    """

    command: str
    format: Format = Format.TEXT
    is_quiet: bool = False
    is_verbose: bool = False
    warnings: list[str] = field(default_factory=list)
    place: dict[str, str] = field(default_factory=dict)
    further: dict[str, Callable[[], Any]] = field(default_factory=dict)
    """What else the answer's data holds, looked up only where a machine reads it."""
    _listing: Listing[Any] | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads stdout."""
        return self.format is Format.TEXT and sys.stdout.isatty()

    @property
    def can_redraw(self) -> bool:
        """Whether a terminal can be drawn anew; one that cannot gets one screen after the other."""
        return self.is_terminal and not self._console().is_dumb_terminal

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return self._console().width

    @property
    def height(self) -> int:
        """Lines of the terminal."""
        return self._console().height

    def listing(self, columns: Sequence[Column[RowT]], item: Item[RowT]) -> Listing[RowT]:
        """Begin an answer of many rows. A terminal shows none of them: it gets a screen."""
        listing: Listing[RowT]
        if self.format is Format.JSON:
            listing = _JsonObject(self.command, item)
        elif self.format is Format.JSON_LINES:
            listing = _JsonLines(self.command, item)
        elif self.is_terminal:
            listing = _Nothing()
        else:
            listing = _TabSeparated(columns, is_quiet=self.is_quiet)
        self._listing = listing
        return listing

    def rows(self, columns: Sequence[Column[RowT]], item: Item[RowT], rows: Iterable[RowT]) -> None:
        """Answer with the rows of a listing: as a table where a person reads it."""
        if self.is_terminal:
            from jobctl.report.screen import table  # noqa: PLC0415 - rich is only for terminals

            listed = list(rows)
            if listed:
                self.screen([table(columns, listed, self.width)])
            return
        listing = self.listing(columns, item)
        for row in rows:
            listing.add(row)

    def continued(self, columns: Sequence[Column[RowT]], rows: Iterable[RowT], *, with_heading: bool) -> None:
        """Show further rows of a table that goes on, on a terminal."""
        from jobctl.report.screen import table  # noqa: PLC0415 - rich is only for terminals

        self.screen([table(columns, rows, self.width, with_heading=with_heading)])

    def blocks(self, *blocks: tuple[Sequence[Column[Any]], Iterable[Any]]) -> None:
        """Off a terminal: several listings after each other, an empty line between them."""
        if self.format is Format.TEXT:
            for number, (columns, rows) in enumerate(blocks):
                if number:
                    _write("")
                _write(tsv_heading(columns))
                for row in rows:
                    _write(tsv_line(columns, row))

    def screen(self, blocks: Iterable[RenderableType]) -> None:
        """Show something to a person; elsewhere it is not shown."""
        if self.is_terminal:
            console = self._console()
            for block in blocks:
                console.print(block)

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """A screen of its own, drawn when there is something new; the terminal is left as it was."""
        if not self.can_redraw:
            yield lambda block: self.screen([block])
            return
        from rich.live import Live  # noqa: PLC0415 - rich is only for terminals

        with Live(console=self._console(), screen=True, auto_refresh=False) as live:
            yield lambda block: live.update(block, refresh=True)

    def placed(self, text: str) -> str:
        """Make ``text`` with every command it names work on the store and configuration of this call.

        One that names them already is left as it is.
        """
        if not self.place:
            return text
        given = "".join(f" {option} {shell_word(value)}" for option, value in self.place.items())

        def at_its_place(command: re.Match[str]) -> str:
            said = command.group()
            is_whole = given in said or said.endswith("--help") or command["open"]
            return said if is_whole else said + given

        return _COMMAND.sub(at_its_place, text)

    def placed_diagnosis(self, found: Diagnosis) -> Diagnosis:
        """A diagnosis whose commands work on the store and configuration of this call."""
        return found._replace(fix=self.placed(found.fix), command=self.placed(found.command))

    def text(self, text: str) -> None:
        """Answer with a text that other programs read: as it is, but harmless to a terminal."""
        if self.format is Format.TEXT:
            _write("\n".join(map(to_shown, text.split("\n"))) if self.is_terminal else text, end="")

    def name(self, text: str) -> None:
        """Answer with one name that other programs read: as it is, but on a terminal on one line."""
        if self.format is Format.TEXT:
            _write(to_shown(text) if self.is_terminal else text)

    def say(self, text: str) -> None:
        """Say what was done in one line, where no machine reads: on a terminal's stdout, else on stderr."""
        if self.format is Format.TEXT and not self.is_quiet:
            shown = self._shown(text)
            _write(shown) if self.is_terminal else _tell(shown)

    def note(self, text: str) -> None:
        """Say on stderr what was done on the way to the answer."""
        if self.format is Format.TEXT and not self.is_quiet:
            _tell(self._shown(text))

    def warn(self, text: str) -> None:
        """Say that something is amiss, and go on."""
        shown = self._shown(text)
        if self.format is Format.TEXT:
            _tell(f"warning: {shown}")
        else:
            self.warnings.append(shown)

    def alert(self, text: str) -> None:
        """Say at once on stderr that something is amiss, in an answer that has no end to tell it at."""
        _tell(f"warning: {self._shown(text)}")

    def detail(self, text: str) -> None:
        """Say on stderr what only ``--verbose`` wants to know."""
        if self.is_verbose:
            _tell(redact_url(text))

    def end(self, ending: Ending | None = None) -> ExitCode:
        """Finish the answer; gives the exit code back."""
        ending = ending or Ending()
        for error in ending.errors:
            error.message, error.hint = redact_url(error.message), redact_url(self.placed(error.hint))
        if self.format is not Format.TEXT and self.further:
            more = {name: look() for name, look in self.further.items()}
            ending = ending._replace(data={**ending.data, **more})
        if self._listing is not None:
            self._listing.end(ending, self.warnings)
        elif self.format is not Format.TEXT:
            _write(to_json(envelope(self.command, ending, self.warnings)))
        self._listing = None
        if self.format is Format.TEXT:
            for error in ending.errors:
                tell_error(error)
        return ending.code

    def fail(self, error: JobctlError) -> ExitCode:
        """Finish with an error, even in the middle of an answer."""
        return self.end(Ending(code=error.exit_code, errors=[error]))

    def _shown(self, text: str) -> str:
        """What anybody said, as a person may read it: harmless, without secrets, its commands placed."""
        return redact_url(to_shown(self.placed(text)))

    def _console(self) -> Console:
        from rich.console import Console  # noqa: PLC0415 - rich is only for terminals

        return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def output_for(arguments: Sequence[str]) -> Output:
    """The output a command line asks for, told before it is parsed, so that its errors go there too."""
    own = list(arguments)
    if "--" in own:
        own = own[: own.index("--")]
    output = Output(command_in(own))
    if "--jsonl" in own:
        output.format = Format.JSON_LINES
    if "--json" in own:
        output.format = Format.JSON
    return output


@dataclass(slots=True)
class _JsonObject(Generic[RowT]):
    """The envelope as it grows: items first, the rest of its fields when they are known."""

    command: str
    item: Item[RowT]
    has_items: bool = False

    def __post_init__(self) -> None:
        opening = to_json({"schema": SCHEMA, "command": self.command})
        _write(f'{opening[:-1]},"data":{{"items":[', end="")

    def add(self, row: RowT) -> None:
        _write(f"{',' if self.has_items else ''}\n{to_json(self.item(row))}", end="")
        self.has_items = True

    def end(self, ending: Ending, warnings: Sequence[str]) -> None:
        further = "".join(f",{to_json(name)}:{to_json(value)}" for name, value in ending.data.items())
        _write(f"]{further}}},{to_json(closing_fields(ending, warnings))[1:]}")


@dataclass(slots=True)
class _JsonLines(Generic[RowT]):
    command: str
    item: Item[RowT]

    def add(self, row: RowT) -> None:
        _write(to_json(self.item(row)))

    def end(self, ending: Ending, warnings: Sequence[str]) -> None:
        if ending._replace(data={}) != Ending() or warnings:
            _write(to_json(envelope(self.command, ending, warnings)))


@dataclass(slots=True)
class _TabSeparated(Generic[RowT]):
    columns: Sequence[Column[RowT]]
    is_quiet: bool
    has_heading: bool = False

    def add(self, row: RowT) -> None:
        self._head()
        _write(tsv_line(self.columns, row))

    def end(self, ending: Ending, warnings: Sequence[str]) -> None:
        del warnings
        if not self.is_quiet and not ending.errors:
            self._head()

    def _head(self) -> None:
        if not self.has_heading:
            _write(tsv_heading(self.columns))
            self.has_heading = True


class _Nothing(Generic[RowT]):
    def add(self, row: RowT) -> None:
        """A terminal shows a screen instead."""

    def end(self, ending: Ending, warnings: Sequence[str]) -> None:
        """A terminal shows a screen instead."""


def tell_error(error: JobctlError) -> None:
    """Say on stderr what happened and what to do next."""
    _tell(f"error: {redact_url(to_shown(error.message))}\n hint: {redact_url(to_shown(error.hint))}")


def flush_answer() -> None:
    """Write out what is buffered, while it can still be told that it failed."""
    with _answering():
        sys.stdout.flush()


def _write(text: str, end: str = "\n") -> None:
    with _answering():
        sys.stdout.write(text + end)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise AnswerLost(
            f"the answer could not be written: {error.strerror}", hint="mend that, and ask again"
        ) from error


def _tell(line: str) -> None:
    # Nobody to tell is no reason to stop.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the one place that speaks on stderr


def keep_streams_alive() -> None:
    """Let nothing in a name, a locale or the caller's shell break what is written.

    A closed standard stream is replaced: the next file that was opened, the store perhaps,
    would otherwise take its number and be written into.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - open to the end
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
