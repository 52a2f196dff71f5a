"""Text files for other programs: whole or not at all."""

from __future__ import annotations

import os

from jobctl.outputs import effects

_FOR_ALL_TO_READ = 0o644


def write_whole(path: str, text: str) -> None:
    """Replace a file in one step, so that nobody reads half of it. Raises ``OSError``."""
    directory, name = os.path.split(os.path.abspath(path))
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        effects.write_file_atomically(fd, name, text.encode(), _FOR_ALL_TO_READ)
    finally:
        os.close(fd)
