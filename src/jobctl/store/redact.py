"""Keeps passwords out of everything that is shown, logged or stored."""

from __future__ import annotations

import re

# In the authority of a URL, well formed or not: everything between the user's colon and the
# last @ of the word, since a password that was not encoded may hold any of : / @ ? itself.
_IN_AUTHORITY = re.compile(r"(?P<start>[a-zA-Z][\w+.-]*://[^\s:/]*):\S*@")
_IN_QUERY = re.compile(r"(?i)(?P<start>[?&;](?:\w*password|passwd|pwd|passphrase|token|key)=)[^&;\s]*")
_IN_DSN = re.compile(
    r"(?i)(?P<start>\b(?:\w*password|passwd|pwd|passphrase)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s'&;]+)"
)


def redact_url(text: str) -> str:
    """``text`` with every password in a URL or a connection string replaced by ``***``."""
    text = _IN_AUTHORITY.sub(r"\g<start>:***@", text)
    text = _IN_QUERY.sub(r"\g<start>***", text)
    return _IN_DSN.sub(r"\g<start>***", text)
