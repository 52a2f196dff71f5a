"""Keeps passwords out of everything that is shown, logged or stored."""

from __future__ import annotations

import re

# In the authority of a URL, well formed or not: everything between the user's colon and the
# last @ of the word, since a password that was not encoded may hold any of : / @ ? itself.
_TO_PASSWORD = re.compile(r"(?<![\w+.-])[\w+.-]++://[^\s:/]*+:")
_WORD = re.compile(r"\S++")
_IN_QUERY = re.compile(r"(?i)(?P<start>[?&;](?:\w*password|passwd|pwd|passphrase|token|key)=)[^&;\s]*")
_IN_DSN = re.compile(
    r"(?i)(?P<start>\b(?:\w*password|passwd|pwd|passphrase)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s'&;]+)"
)


def redact_url(text: str) -> str:
    """``text`` with every password in a URL or a connection string replaced by ``***``.

    In time that grows with the text and no faster: an error may be a megabyte of anything.
    """
    if "://" in text and "@" in text:
        text = _WORD.sub(_without_password, text)
    text = _IN_QUERY.sub(r"\g<start>***", text)
    return _IN_DSN.sub(r"\g<start>***", text)


def _without_password(word: re.Match[str]) -> str:
    url = word.group()
    last = url.rfind("@")
    found = _TO_PASSWORD.search(url, 0, last + 1)
    return f"{url[: found.end()]}***{url[last:]}" if found else url
