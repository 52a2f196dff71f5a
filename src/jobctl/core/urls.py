"""The forms in which the service writes a video's URL, and the job id in them."""

from __future__ import annotations

import re

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_LONGEST = 2_000
_FORMS = re.compile(
    r"(?:^|/)(?:"
    rf"(?:api/custom/|api/custom-projects-backend/)?presentations/(?P<path>{_UUID})(?:/(?:video|thumbnail))?"
    rf"|api/custom/download/(?:presentation|thumbnail)_(?P<name>{_UUID})\.(?:mp4|jpg)"
    r")/?\Z"
)


def job_id_of(url: str) -> str | None:
    """The job whose video or thumbnail a URL or path names, in any of the service's forms; else ``None``."""
    if len(url) > _LONGEST:
        return None
    match = _FORMS.search(url.split("?", 1)[0].split("#", 1)[0])
    return (match["path"] or match["name"]) if match else None


_QUERY = re.compile(r"(?P<address>\bhttps?://[^\s?#\"'<>]{1,2000})[?#][^\s\"'<>]*")


def without_queries(text: str) -> str:
    """``text`` with the query of every URL dropped: signed URLs carry their secret there."""
    return _QUERY.sub(r"\g<address>", text) if "://" in text else text
