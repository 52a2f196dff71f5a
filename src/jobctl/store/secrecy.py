"""Takes secrets out of whole documents that leave the machine: those that are known, and what looks like one.

Rather too much than too little: what is cut out is replaced by ``***``, never left in part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from jobctl.store.redact import redact_url

GONE = "***"
LONGEST_TEXT = 2_000
_SHORTEST_SECRET = 4
_NO_SECRETS = frozenset({"none", "null", "true", "false", "default", "required", "disable", "prefer", GONE})
_DEEPEST = 40

_WORDS = (
    r"passw(?:or)?d|passwd|pwd|passphrase|passcode|secret|token|credentials?|signature|private|cookie|session"
    r"|authorization|api[_.-]?key|access[_.-]?key|account[_.-]?key|signing[_.-]?key|encryption[_.-]?key|bearer|dsn"
)
_NAME = re.compile(rf"(?i){_WORDS}|(?:^|[_.-])(?:key|auth|sig|pass|pin)$|^(?:key|auth|sig|pass)(?:[_.-]|$)")
"""The names of settings, variables and fields whose values nobody else may read."""

_ASSIGNED = re.compile(
    rf"(?i)(?P<start>(?<![\w.-])[\w.-]{{0,64}}(?:{_WORDS}|[_.-]key|\bsig)[\w.-]{{0,64}}[\"']?\s{{0,8}}[:=]\s{{0,8}})"
    r"(?:\"[^\"\n]*\"?|'[^'\n]*'?|[^\s,;&]+)"
)
_HEADER = re.compile(
    r"(?i)(?P<start>\b(?:proxy-)?(?:authorization|authentication|set-cookie|cookie|x-api-key|x-auth-token)"
    r"[\"']?\s{0,8}[:=])[^\r\n]*"
)
_SCHEME = re.compile(r"(?i)(?P<start>\b(?:bearer|basic|digest|token)\s{1,8})[\w.~+/=-]{8,}")
_USER_OF_PAGE = re.compile(r"(?i)(?P<start>\bhttps?://)[^\s/?#@]{1,512}@")
_ISSUED = re.compile(
    r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bgh[pousr]_\w{16,}|\bgithub_pat_\w{16,}"
    r"|\bglpat-[\w-]{16,}|\bxox[a-z]-[\w-]{8,}|\b[sr]k[-_][\w-]{16,}|\bAIza[\w-]{30,}"
)
_PEM = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}-----|\Z)", re.DOTALL)


def is_secret_name(name: str) -> bool:
    """Whether what bears this name is nobody else's business."""
    return _NAME.search(name) is not None


def secrets_in_url(url: str) -> set[str]:
    """The passwords in a URL, as they are written and as they are meant."""
    found = set()
    try:
        parts = urlsplit(url)
        found |= {parts.password or ""}
    except ValueError:
        return set()
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if is_secret_name(name):
            found.add(value)
    return {form for secret in found if secret for form in (secret, unquote(secret))}


def secrets_in(document: Any, name: str = "") -> set[str]:
    """The texts in a document that stand under a secret's name, and the passwords in its URLs."""
    found = set[str]()
    # Not by recursion: whoever nests deeply enough would keep all that follows from being looked at.
    waiting = [(name, document)]
    while waiting:
        name, each = waiting.pop()
        if isinstance(each, Mapping):
            waiting += ((f"{key}", value) for key, value in each.items())
        elif isinstance(each, list | tuple):
            waiting += ((name, value) for value in each)
        elif isinstance(each, str):
            found |= ({each} if is_secret_name(name) else set()) | secrets_in_url(each)
    return found


class Redactor:
    """Takes out what it knows to be secret, wherever it stands, and all that looks like a secret."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._by_beginning: dict[str, set[str]] = {}
        self.learn(known)

    def learn(self, known: Iterable[str]) -> None:
        """Take these out, too."""
        for secret in known:
            for form in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
                if _is_telling(form):
                    self._by_beginning.setdefault(form[:_SHORTEST_SECRET], set()).add(form)

    def text(self, text: str) -> str:
        """A text without secrets, and no longer than anybody reads."""
        # The longest first: one secret may be a part of another.
        for secret in sorted(self._perhaps_in(text), key=len, reverse=True):
            text = text.replace(secret, GONE)
        if len(text) > LONGEST_TEXT:
            text = f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"
        text = _PEM.sub(GONE, text)
        text = _HEADER.sub(rf"\g<start> {GONE}", text)
        text = _ISSUED.sub(GONE, text)
        text = _SCHEME.sub(rf"\g<start>{GONE}", text)
        text = _USER_OF_PAGE.sub(rf"\g<start>{GONE}@", text)
        return redact_url(_ASSIGNED.sub(rf"\g<start>{GONE}", text))

    def _perhaps_in(self, text: str) -> Iterator[str]:
        """The secrets whose beginning stands there: every job may have one, and few are in any one text."""
        size = _SHORTEST_SECRET
        there = {text[at : at + size] for at in range(len(text) - size + 1)} if self._by_beginning else set()
        for beginning in self._by_beginning.keys() & there:
            yield from self._by_beginning[beginning]

    def document(self, document: Any, name: str = "", depth: int = 0) -> Any:
        """A JSON document without secrets: neither under a secret's name nor in any text."""
        if isinstance(document, Mapping):
            if depth >= _DEEPEST:
                return GONE
            return {
                self.text(str(key)): self.document(value, str(key), depth + 1)
                for key, value in document.items()
            }
        if isinstance(document, list | tuple | set | frozenset):
            return GONE if depth >= _DEEPEST else [self.document(each, name, depth + 1) for each in document]
        if document is None or isinstance(document, bool | int | float | datetime):
            return GONE if is_secret_name(name) and not _is_plain(document) else document
        return GONE if is_secret_name(name) else self.text(str(document))


def _is_telling(secret: str) -> bool:
    """Whether a text is a secret, and no word that stands everywhere."""
    return len(secret) >= _SHORTEST_SECRET and secret.lower() not in _NO_SECRETS


def _is_plain(value: Any) -> bool:
    """Whether a value gives nothing away: nothing, yes or no, a time."""
    return value is None or isinstance(value, bool | datetime)
