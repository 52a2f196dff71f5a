"""Keeps passwords out of everything that is shown, logged or stored."""

from __future__ import annotations

import re

# In the authority of a URL, well formed or not: everything between the user's colon and the last @.
_IN_AUTHORITY = re.compile(r"(?P<start>[a-zA-Z][\w+.-]*://[^\s:/@]*):[^\s/]*@")
_IN_QUERY = re.compile(r"(?i)(?P<start>[?&;](?:password|passwd|pwd|sslpassword|token|key)=)[^&;\s]*")
_IN_DSN = re.compile(
    r"(?i)(?P<start>\b(?:password|passwd|pwd|sslpassword)\s*=\s*)(?:'(?:[^'\\]|\\.)*'|[^\s'&;]+)"
)


def redact_url(text: str) -> str:
    """``text`` with every password in a URL or a connection string replaced by ``***``."""
    text = _IN_AUTHORITY.sub(r"\g<start>:***@", text)
    text = _IN_QUERY.sub(r"\g<start>***", text)
    return _IN_DSN.sub(r"\g<start>***", text)
