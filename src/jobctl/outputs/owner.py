"""Whose process this is: as root, jobctl becomes the owner of what it works on."""

from __future__ import annotations

import os
import pwd

from jobctl.errors import RootUnavailable


def become_owner_of(path: str) -> None:
    """As root, become the owner of ``path`` for good, so that its files and the store stay theirs.

    Any other user stays who they are, and so does root where ``path`` is root's own.
    Raises ``RootUnavailable`` where that owner cannot be learnt or cannot be become.
    """
    if os.geteuid() != 0:
        return
    try:
        owner = os.stat(path)
        if owner.st_uid != 0:
            _become(owner.st_uid, owner.st_gid)
    except OSError as error:
        raise RootUnavailable(
            f"this process cannot become the owner of {path}: {error.strerror}; nothing was changed",
            hint="run jobctl as the owner of the outputs, or stay root on purpose: --as-root",
        ) from None


def _become(uid: int, gid: int) -> None:
    """Groups first: without root they cannot be changed. Real, effective and saved: there is no way back."""
    try:
        account = pwd.getpwuid(uid)
    except KeyError:
        os.setgroups([])
    else:
        os.initgroups(account.pw_name, account.pw_gid)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
