"""Bring a finished render home: downloaded beside its place, checked whole, then published."""

from __future__ import annotations

import os
import secrets
from contextlib import closing, suppress
from typing import NamedTuple

from jobctl.core.layout import TEMPORARY_END, Layout, video_name
from jobctl.errors import DownloadFailed, PublishRefused, UnknownRender, UsageError
from jobctl.evidence.remote import Renderer, open_renderer
from jobctl.model.commands import shell_word, show_command
from jobctl.model.files import Role, Tier, Verdict
from jobctl.model.job import Confidence
from jobctl.model.names import to_stored
from jobctl.model.renders import KnownRender, Proof, Render, RenderState
from jobctl.ops.hold import Hold
from jobctl.ops.layouts import layout_of
from jobctl.ops.remote import known_renders
from jobctl.ops.site import Progress, ProgressSink, Site
from jobctl.outputs import effects
from jobctl.outputs.decode import Decoder
from jobctl.outputs.directories import open_directory
from jobctl.outputs.probe import probe
from jobctl.outputs.publish import Published, publish
from jobctl.outputs.root import OpenRoot
from jobctl.store import job_streams, renders, roots, sightings

_DOWNLOAD_MODE = 0o640


class Downloaded(NamedTuple):
    """A video that was brought home. ``size`` in bytes; ``sha256`` of all of them, in hex."""

    job_id: str
    remote_id: str
    root_id: str
    path: str
    size: int
    sha256: str


def bring_home(
    hold: Hold, known: KnownRender, *, as_video: bool = False, progress: ProgressSink | None = None
) -> Downloaded:
    """``download`` with the renderer of the settings. Raises ``RendererKeyMissing``."""
    with closing(open_renderer(hold.site.settings.remote)) as renderer:
        return download(hold, known, renderer, as_video=as_video, progress=progress)


def render_named(site: Site, named: str, *, job_id: str | None = None) -> KnownRender:
    """The render with this id, or of this job; with ``job_id`` an operator says whose it is.

    Raises ``UnknownRender``, and ``UsageError`` for one of no job, or of another one for certain.
    """
    known = _named(site, named)
    if job_id is not None:
        return _decided(known, job_id)
    if known.job_id is None:
        raise UsageError(
            f"render {known.render.remote_id} belongs to no job that is known; nothing was downloaded",
            hint=f"say whose it is: jobctl remote download {known.render.remote_id} --job JOB",
        )
    return known


def download(
    hold: Hold,
    known: KnownRender,
    renderer: Renderer,
    *,
    as_video: bool = False,
    progress: ProgressSink | None = None,
) -> Downloaded:
    """Bring a render home: checked whole, then published under a name that must be free.

    ``as_video``: it is the job's finished video, whose record is then for ``recover`` to
    rebuild. Otherwise it gets the name of a render, from which the service composes the
    video: to call that the video would be a guess. ``hold`` holds the one root it goes to.

    Raises ``UsageError``, ``DownloadFailed``, ``PublishRefused`` and what the renderer raises.
    """
    job_id = known.job_id or ""
    root = _only_root(hold)
    directory, name = _place_for(hold.site, root, known, as_video=as_video)
    render = renderer.render(known.render.remote_id)

    def report(step: Progress) -> None:
        hold.renew_when_due()
        if progress is not None:
            progress(step)

    with closing(_Part(root, directory, name)) as part:
        part.fill(renderer, render, report)
        part.expect_whole(render)
        published = part.publish(job_id)
    _note(hold.site, known._replace(render=render))
    path = os.path.join(directory, name)
    return Downloaded(job_id, render.remote_id, root.root_id, path, published.size, published.sha256)


def _note(site: Site, known: KnownRender) -> None:
    """Keep what was seen of one render, and whose an operator said that it is."""
    with site.store.write() as connection:
        renders.record_renders(connection, [known._replace(seen_at=site.store.now(connection))])


class _Part:
    """A hidden file that a download grows in; gone afterwards unless it was published."""

    def __init__(self, root: OpenRoot, directory: str, name: str) -> None:
        self._place = os.path.join(root.path, directory)
        self._final = name
        self._name = f".{name[:200]}.{secrets.token_hex(6)}{TEMPORARY_END}"
        self._directory_fd = open_directory(root.fd, directory)
        try:
            self._fd = effects.create_file(self._directory_fd, self._name, _DOWNLOAD_MODE)
        except OSError:
            os.close(self._directory_fd)
            raise

    def fill(self, renderer: Renderer, render: Render, report: ProgressSink) -> None:
        """Download into it. Raises ``DownloadFailed`` also where the disk fails."""
        received = 0

        def write(piece: bytes) -> None:
            nonlocal received
            effects.write_all(self._fd, piece)
            received += len(piece)
            report(Progress("download", received >> 20, None, render.remote_id))

        try:
            renderer.download(render, write)
        except OSError as error:
            raise DownloadFailed(
                f"render {render.remote_id} was not downloaded: {error.strerror}; nothing of it was kept",
                hint="make room, then try again",
            ) from error

    def expect_whole(self, render: Render) -> None:
        """Raise ``DownloadFailed`` unless every packet of it can be read."""
        # Nobody else knows of this file: by its own clock it is as old as it must be.
        now_ns = os.fstat(self._fd).st_ctime_ns
        os.close(self._fd)
        self._fd = -1
        with Decoder() as decoder:
            looked = probe(
                self._directory_fd,
                self._name,
                Tier.DEMUX,
                decoder=decoder,
                is_shared=False,
                now_ns=now_ns,
                quiet_s=0.0,
            )
        if looked.check.verdict is not Verdict.WHOLE:
            raise DownloadFailed(
                f"render {render.remote_id} was downloaded, but it is {looked.check.verdict} "
                f"({looked.check.reason}); nothing of it was kept",
                hint="see how it stands with the renderer: jobctl remote list",
            )

    def publish(self, job_id: str) -> Published:
        """Give it its final name. Raises ``PublishRefused`` where another got it meanwhile."""
        final = os.path.join(self._place, self._final)
        try:
            return publish(os.path.join(self._place, self._name), final, job_id=job_id)
        except PublishRefused as error:
            why = (
                f"{self._final} could not be published"
                if not os.path.lexists(final)
                else f"{self._final} is there"
            )
            raise _not_wanted(job_id, why, error.hint) from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        with suppress(FileNotFoundError):
            effects.unlink(self._directory_fd, self._name)
        os.close(self._directory_fd)


def _named(site: Site, named: str) -> KnownRender:
    found = [known for known in known_renders(site) if named in {known.job_id, known.render.remote_id}]
    if not found:
        raise UnknownRender(
            f"no render of {named} is known; nothing was downloaded",
            hint="ask the renderer what it has: jobctl remote list",
        )
    ready = [known for known in found if known.render.state is RenderState.READY] or found
    if len(ready) > 1:
        ids = ", ".join(known.render.remote_id for known in ready)
        raise UsageError(f"job {named} has several renders: {ids}", hint="name one of them")
    return ready[0]


def _decided(known: KnownRender, job_id: str) -> KnownRender:
    is_certain = known.matched_by is not None and known.matched_by.confidence is Confidence.CERTAIN
    if is_certain and known.job_id != job_id:
        raise UsageError(
            f"render {known.render.remote_id} is of job {known.job_id}, not of {job_id} "
            f"({known.matched_by and known.matched_by.meaning}); nothing was downloaded",
            hint=f"run 'jobctl remote download {known.render.remote_id}'",
        )
    return known if known.job_id == job_id else known._replace(job_id=job_id, matched_by=Proof.OPERATOR)


def _only_root(hold: Hold) -> OpenRoot:
    if len(hold.roots) != 1:
        raise UsageError(
            f"there are {len(hold.roots)} roots; nothing was downloaded",
            hint="name the one it goes to with --root",
        )
    return hold.roots[0]


def _place_for(site: Site, root: OpenRoot, known: KnownRender, *, as_video: bool) -> tuple[str, str]:
    """Directory and name for a render: beside its job's other files, else where the newest video lies.

    Raises ``PublishRefused`` where the job has a video already or was ended for good.
    """
    job_id = known.job_id or ""
    with site.store.read() as connection:
        row = next(each for each in roots.get_roots(connection) if each.root_id == root.root_id)
        seen = sightings.sightings_of(connection, job_id)
        newest = sightings.newest_video(connection, row.root_id)
        buried = next(
            job_streams.stream_tombstones(connection, site.store.dialect, job_id, f"{job_id}\x01"), None
        )
    if buried is not None:
        why = f"the job was ended for good ({buried.cause})"
        raise _not_wanted(job_id, why, f"see its history: {show_command(job_id)}")
    name = _name_for(layout_of(site.settings, row.layout), known, as_video=as_video)
    beside = [path for root_id, path, *_ in seen if root_id == row.root_id]
    directory = os.path.dirname((beside[0] if beside else newest) or "")
    for root_id, path, role, _ in [(row.root_id, os.path.join(directory, name), Role.VIDEO, None), *seen]:
        # What lies in another root cannot be looked at from here; a scan saw it.
        is_there = root_id != row.root_id or os.path.lexists(os.path.join(root.path, path))
        if role == Role.VIDEO and is_there:
            hint = f"see how it is, and move it away if it is broken: jobctl scan --job {shell_word(job_id)}"
            raise _not_wanted(job_id, f"{to_stored(path)} is there already", hint)
    return directory, name


def _name_for(layout: Layout, known: KnownRender, *, as_video: bool) -> str:
    """The name under which a layout knows the render, or the video of its job."""
    job_id, remote_id = known.job_id or "", known.render.remote_id
    if not as_video:
        name = f"avatar_{remote_id}.mp4"
        if layout.classify(name) == (Role.AVATAR.value, ""):
            return name
        raise UsageError(
            f"layout {layout.name} knows no name for a render alone; nothing was downloaded",
            hint="if the render is the finished video of its job: --as-video",
        )
    video = video_name(layout, job_id)
    if video is None:
        raise UsageError(
            f"layout {layout.name} tells no name for the video of {job_id}; nothing was downloaded",
            hint="write a rule with role video and {job_id} in its glob",
        )
    return video


def _not_wanted(job_id: str, why: str, hint: str) -> PublishRefused:
    return PublishRefused(f"no render of job {job_id} was downloaded: {why}; it was left as it is", hint=hint)
