"""Read sidecars: small JSON files, opened so that no symlink leads out of the root."""

from __future__ import annotations

import json
import os
import stat
from typing import Any

_LARGEST = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_json(directory_fd: int, name: str) -> dict[str, Any]:
    """The JSON object in a file. Raises ``ValueError`` saying why there is none."""
    try:
        fd = os.open(name, _FLAGS, dir_fd=directory_fd)
    except OSError as error:
        raise ValueError(f"it cannot be opened: {error.strerror}") from None
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - what the file holds is a value
    return document
