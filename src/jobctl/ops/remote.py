"""Remote renders: list them, match them to jobs, and bring a finished one home."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from jobctl.core.accounts import Account, End
from jobctl.core.layout import video_name
from jobctl.core.matching import Doubt, JobClue, match_renders
from jobctl.core.rebuild import believe
from jobctl.errors import DownloadFailed, JobctlError, UnknownRender, UsageError
from jobctl.evidence.remote import Renderer, open_renderer
from jobctl.model.files import Tier, Verdict
from jobctl.model.renders import KnownRender, Render
from jobctl.model.timestamps import parse_timestamp
from jobctl.ops.accounts import account_of_rows, load_lives
from jobctl.ops.hold import Hold
from jobctl.ops.layouts import layout_of
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.outputs import effects
from jobctl.outputs.decode import Decoder
from jobctl.outputs.directories import open_directory
from jobctl.outputs.probe import probe
from jobctl.outputs.publish import Published, publish
from jobctl.outputs.root import OpenRoot
from jobctl.store import evidence, renders, roots, sightings

_DOWNLOAD_MODE = 0o640


@dataclass(slots=True)
class RemoteReport:
    """What the renderer told. ``doubts``: renders and jobs that cannot be told apart."""

    renders: list[KnownRender] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    errors: list[JobctlError] = field(default_factory=list)


class Downloaded(NamedTuple):
    """A video that was brought home."""

    job_id: str
    remote_id: str
    root_id: str
    path: str
    size: int


def ask(site: Site, *, progress: ProgressSink | None = None) -> RemoteReport:
    """``refresh`` with the renderer of the settings. Raises ``RendererKeyMissing``."""
    with closing(open_renderer(site.settings.remote)) as renderer:
        return refresh(site, renderer, progress=progress)


def bring_home(site: Site, hold: Hold, named: str, *, progress: ProgressSink | None = None) -> Downloaded:
    """``download`` with the renderer of the settings. Raises ``RendererKeyMissing``."""
    with closing(open_renderer(site.settings.remote)) as renderer:
        return download(site, hold, named, renderer, progress=progress)


def refresh(site: Site, renderer: Renderer, *, progress: ProgressSink | None = None) -> RemoteReport:
    """Ask the renderer for all it knows, match that to jobs, and keep it.

    Where it stops answering, what it said until then is kept, and the error is in the report.
    """
    report = RemoteReport()
    found: dict[str, Render] = {}
    try:
        for render in renderer.renders(report.errors):
            found.setdefault(render.remote_id, render)
            if progress:
                progress(Progress("remote", len(found), None, renderer.name))
    except JobctlError as error:
        report.errors.append(error)
    matching = match_renders(found.values(), _clues(site))
    by_render = {match.remote_id: match for match in matching.matches}
    entries = []
    for remote_id, render in found.items():
        match = by_render.get(remote_id)
        entries.append((render, match.job_id if match else None, match.proof if match else None))
    with site.store.write() as connection:
        renders.record_renders(connection, renderer.name, entries, at=site.store.now(connection))
    report.doubts = matching.doubts
    report.renders = known_renders(site)
    return report


def known_renders(site: Site) -> list[KnownRender]:
    """What the renderer told when it was last asked."""
    with site.store.read() as connection:
        return renders.list_renders(connection)


def render_named(site: Site, named: str) -> KnownRender:
    """The render with this id, or of this job. Raises ``UnknownRender``, ``UsageError`` for one of no job."""
    known = _named(site, named)
    if known.job_id is None:
        raise UsageError(
            f"render {known.render.remote_id} belongs to no job that is known; nothing was downloaded",
            hint="read the log that names both: jobctl evidence ingest FILE, then jobctl remote list",
        )
    return known


def download(
    site: Site, hold: Hold, named: str, renderer: Renderer, *, progress: ProgressSink | None = None
) -> Downloaded:
    """Bring the render of a job, or with an id, home: checked whole, then published under its job's name.

    ``hold`` holds the one root it goes to. The record is then for ``recover`` to rebuild. Raises
    what ``render_named`` raises, ``DownloadFailed``, ``PublishRefused`` and what the renderer raises.
    """
    known = render_named(site, named)
    job_id = known.job_id or ""
    root = _only_root(hold)
    directory, name = _place_for(site, root, job_id)
    render = renderer.render(known.render.remote_id)
    with closing(_Part(root, directory, name)) as part:
        part.fill(renderer, render, progress)
        part.expect_whole(render)
        published = part.publish(job_id)
    return Downloaded(job_id, render.remote_id, root.root_id, os.path.join(directory, name), published.size)


class _Part:
    """A hidden file that a download grows in; gone afterwards unless it was published."""

    def __init__(self, root: OpenRoot, directory: str, name: str) -> None:
        self._place = os.path.join(root.path, directory)
        self._final = name
        self._name = f".{name[:200]}.{secrets.token_hex(6)}.part"
        self._directory_fd = open_directory(root.fd, directory)
        try:
            self._fd = effects.create_file(self._directory_fd, self._name, _DOWNLOAD_MODE)
        except OSError:
            os.close(self._directory_fd)
            raise

    def fill(self, renderer: Renderer, render: Render, progress: ProgressSink | None) -> None:
        """Download into it. Raises ``DownloadFailed`` also where the disk fails."""
        received = 0

        def write(piece: bytes) -> None:
            nonlocal received
            effects.write_all(self._fd, piece)
            received += len(piece)
            if progress:
                progress(Progress("download", received >> 20, None, render.remote_id))

        try:
            renderer.download(render, write)
        except OSError as error:
            raise DownloadFailed(
                f"render {render.remote_id} was not downloaded: {error.strerror}; nothing of it was kept",
                hint="make room, then try again",
            ) from error

    def expect_whole(self, render: Render) -> None:
        """Raise ``DownloadFailed`` unless every packet of it can be read."""
        os.close(self._fd)
        self._fd = -1
        with Decoder() as decoder:
            looked = probe(
                self._directory_fd,
                self._name,
                Tier.DEMUX,
                decoder=decoder,
                is_shared=False,
                now_ns=None,
                quiet_s=0.0,
            )
        if looked.check.verdict is not Verdict.WHOLE:
            raise DownloadFailed(
                f"render {render.remote_id} was downloaded, but it is {looked.check.verdict} "
                f"({looked.check.reason}); nothing of it was kept",
                hint="see how it stands with the renderer: jobctl remote list",
            )

    def publish(self, job_id: str) -> Published:
        """Give it its final name, never replacing another."""
        return publish(
            os.path.join(self._place, self._name), os.path.join(self._place, self._final), job_id=job_id
        )

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        with suppress(FileNotFoundError):
            effects.unlink(self._directory_fd, self._name)
        os.close(self._directory_fd)


def _clues(site: Site) -> Iterator[JobClue]:
    """What logs know of every job that may have had a render."""
    with site.store.read() as connection:
        lives = load_lives(connection)
        rows = evidence.stream_traces(connection, site.store.dialect, "", None)
        for job_id, group in groupby(rows, key=itemgetter(0)):
            yield _clue(job_id, account_of_rows(job_id, group, lives))


def _clue(job_id: str, account: Account) -> JobClue:
    values = believe(account.facts).values

    def moment(name: str) -> str | None:
        value = values.get(name)
        return value if isinstance(value, str) else None

    created, started, ended = (moment(name) for name in ("created_at", "started_at", "completed_at"))
    has_ended = account.fate is not None and account.fate.end is End.COMPLETED
    return JobClue(
        job_id,
        frozenset(values.get("remote_ids") or ()),
        parse_timestamp(created) if created else None,
        parse_timestamp(started) if started else None,
        parse_timestamp(ended) if ended and has_ended else None,
    )


def _named(site: Site, named: str) -> KnownRender:
    found = [known for known in known_renders(site) if named in {known.job_id, known.render.remote_id}]
    if not found:
        raise UnknownRender(
            f"no render of {named} is known; nothing was downloaded",
            hint="ask the renderer what it has: jobctl remote list",
        )
    ready = [known for known in found if known.render.state.value == "ready"] or found
    if len(ready) > 1:
        ids = ", ".join(known.render.remote_id for known in ready)
        raise UsageError(f"job {named} has several renders: {ids}", hint="name one of them")
    return ready[0]


def _only_root(hold: Hold) -> OpenRoot:
    if len(hold.roots) != 1:
        raise UsageError(
            f"there are {len(hold.roots)} roots; nothing was downloaded",
            hint="name the one it goes to with --root",
        )
    return hold.roots[0]


def _place_for(site: Site, root: OpenRoot, job_id: str) -> tuple[str, str]:
    """Directory and name for a job's video: beside its other files, else where the newest video lies."""
    with site.store.read() as connection:
        row = next(each for each in roots.get_roots(connection) if each.root_id == root.root_id)
        beside = [
            path for root_id, path, *_ in sightings.sightings_of(connection, job_id) if root_id == row.root_id
        ]
        newest = sightings.newest_video(connection, row.root_id)
    name = video_name(layout_of(site.settings, row.layout), job_id)
    if name is None:
        raise UsageError(
            f"layout {row.layout} tells no name for the video of {job_id}; nothing was downloaded",
            hint="write a rule with role video and {job_id} in its glob",
        )
    path = beside[0] if beside else newest
    return os.path.dirname(path or ""), name
