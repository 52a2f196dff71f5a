"""Whether it is set up: configuration, secrets, tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobctl.model.commands import shell_line
from jobctl.model.health import Diagnosis, fail, ok, together

_OTHERS_WRITE = 0o022
_OTHERS_READ = 0o044


class ConfigFile(NamedTuple):
    """The configuration file that was read. ``mode``: its permission bits.

    ``is_regular``: not a device or a pipe, such as ``/dev/null``, whose mode is none of ours to change.
    """

    path: str
    mode: int
    has_secret: bool
    is_regular: bool = True


def judge_configuration(file: ConfigFile | None, variables: Sequence[str]) -> Diagnosis:
    """Who may read and change the settings. ``variables``: those of the environment that set something."""
    places = [file.path if file else "no file, so defaults", *variables]
    if file is None or not file.is_regular:
        return ok(", ".join(places))
    mend = shell_line(["chmod", "600", file.path])
    if file.mode & _OTHERS_WRITE:
        return fail(f"others may write {file.path}, which says what jobctl runs", "take that from them", mend)
    if file.has_secret and file.mode & _OTHERS_READ:
        return fail(f"others may read {file.path}, and a password is in it", "take that from them", mend)
    return ok(", ".join(places))


def judge_command_lines(showing: Mapping[int, str]) -> Diagnosis:
    """Whether passwords stand where 'ps' shows them. ``showing``: pid to the program that shows one."""
    return together(
        [
            fail(
                f"the command line of pid {pid} ({program}) shows a password to everybody on this host",
                "write the address into a jobctl.toml of mode 0600, or the password into ~/.pgpass; "
                "start it again, and change the password",
            )
            for pid, program in showing.items()
        ],
        well="no command line shows a password",
    )


def judge_decoders(version: str | None, missing: Sequence[str]) -> Diagnosis:
    """Whether videos can be read to their last frame. ``version``: PyAV's, if it loads."""
    if version is None:
        return fail("PyAV does not load: no video can be called whole", "install it anew: pip install av")
    if missing:
        return fail(
            f"PyAV {version} has no decoder for {', '.join(missing)}",
            "install a build of FFmpeg's libraries that has them: pip install --force-reinstall av",
        )
    return ok(f"PyAV {version} decodes h264, aac and vp9")
