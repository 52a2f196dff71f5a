"""HTML and SVG, built so that no text can become markup."""

from __future__ import annotations

import html

from jobctl.model.names import to_shown


class Markup(str):
    """Text that is markup already; only ``element`` makes it of anything else."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Any text as markup that shows just that text, also what is invisible or would turn the line around."""
    return Markup(html.escape(to_shown(text), quote=True))


def element(name: str, *content: str, **attributes: str | float) -> Markup:
    """An element. Content and values of attributes that are no markup yet are escaped.

    A trailing underscore of an attribute's name is dropped, others become hyphens, as ``class_``.
    """
    given = "".join(
        f' {attribute.rstrip("_").replace("_", "-")}="{escaped(_plain(value))}"'
        for attribute, value in attributes.items()
    )
    return Markup(f"<{name}{given}>{joined(*content)}</{name}>")


def joined(*content: str) -> Markup:
    """Pieces after each other, each escaped where it is no markup yet."""
    return Markup("".join(each if isinstance(each, Markup) else escaped(each) for each in content))


def _plain(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
