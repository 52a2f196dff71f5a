"""Places: when two paths may mean the same file to somebody. Pure."""

from __future__ import annotations

import unicodedata


def folded(path: str) -> str:
    """A path as all its spellings have in common: composed or not, in capitals or not.

    A record that names a file in another spelling (HFS+ and SMB clients write such) still means it.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", path).casefold())
