"""What makes a file on disk the one that was seen, checked or planned with."""

from __future__ import annotations

import os

from jobctl.model.files import FileIdentity
from jobctl.outputs.stats import signed64, within64


def identity_of(found: os.stat_result) -> FileIdentity:
    """What makes a file the one that ``found`` tells of."""
    return FileIdentity(
        signed64(found.st_dev),
        signed64(found.st_ino),
        found.st_size,
        within64(found.st_mtime_ns),
        found.st_ctime_ns,
    )
