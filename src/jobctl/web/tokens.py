"""Bearer tokens: where they come from, and who bears one."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Iterable

from jobctl import clock
from jobctl.errors import ConfigurationError
from jobctl.web.refusals import log

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_SHORTEST = 16
_LARGEST_FILE = 1 << 20
_LOOK_EVERY_S = 1.0


class Tokens:
    """The tokens that are good. Only their digests are kept, so that no dump or log can tell them."""

    def __init__(self, tokens: Iterable[str], *, source: str) -> None:
        self._digests = [_digest(_checked(token, source)) for token in tokens]
        if not self._digests:
            raise ConfigurationError(
                f"{source} holds no token", hint="write one a line, such as of: openssl rand -hex 32"
            )

    def admits(self, token: str) -> bool:
        """Whether a token is one of them, in a time that tells nothing of which it is like."""
        digest = _digest(token)
        return sum([hmac.compare_digest(digest, each) for each in self._digests]) > 0


class TokensFile(Tokens):
    """The tokens of a file, one a line, read anew soon after the file has changed.

    Empty lines and those that begin with # are none. Raises ``ConfigurationError``, also for a file
    that others may read. Where a later state of the file cannot be used, what was read before stays.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen = _state_of(path)
        self._looked_at = clock.monotonic()
        super().__init__(_tokens_in(path), source=path)

    @property
    def is_due(self) -> bool:
        """Whether it is time to look at the file."""
        return clock.monotonic() - self._looked_at >= _LOOK_EVERY_S

    def look(self) -> None:
        """Read the file anew if it has changed. What is wrong with it is told in the log, once."""
        self._looked_at = clock.monotonic()
        found = _state_of(self._path)
        if found == self._seen:
            return
        # Before it is read: what changes meanwhile is seen the next time.
        self._seen = found
        try:
            self._digests = Tokens(_tokens_in(self._path), source=self._path)._digests
        except ConfigurationError as error:
            log.error("%s; the tokens that were read before stay good", error.message)
        else:
            log.warning("the tokens were read anew: %d are good", len(self._digests))


def _state_of(path: str) -> tuple[int, ...] | None:
    """What tells a state of a file from any other; ``None`` where there is no telling."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _tokens_in(path: str) -> list[str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(fd, encoding="ascii") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise _wrong(path, "is no regular file", "name a file with one token a line")
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise _wrong(path, "can be read by others than its owner", f"chmod 600 {path}")
            text = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}", "check --tokens-file") from None
    except UnicodeDecodeError:
        raise _wrong(path, "holds more than plain ASCII", "write one token a line") from None
    if len(text) > _LARGEST_FILE:
        # A token that is cut short is another one.
        raise _wrong(path, f"has more than {_LARGEST_FILE:,} bytes", "write one token a line")
    tokens = [line.strip() for line in text.splitlines()]
    return [token for token in tokens if token and not token.startswith("#")]


def tokens_from_text(text: str, *, source: str) -> Tokens:
    """Read tokens that white space or commas part. Raises ``ConfigurationError``."""
    return Tokens((token for token in re.split(r"[\s,]+", text) if token), source=source)


def _checked(token: str, source: str) -> str:
    # The token itself is never repeated.
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(
            f"{source} holds a token with characters that no HTTP header may bear",
            hint="use letters, digits and -._~+/ only, such as of: openssl rand -hex 32",
        )
    if len(token) < _SHORTEST:
        raise ConfigurationError(
            f"{source} holds a token of less than {_SHORTEST} characters",
            hint="use one that cannot be guessed, such as of: openssl rand -hex 32",
        )
    return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="backslashreplace")).digest()


def _wrong(path: str, why: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"the tokens file {path} {why}", hint=hint)
