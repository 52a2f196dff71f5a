"""The launcher for publication: one life of a worker that takes one job, and publishes its video.

``DATABASE FILM FINAL``: rescue what dead workers left, take the job that is due, if any, publish
``FILM`` as ``FINAL`` for it, and settle it. Exit 3 where the attempt failed. ``fails`` after that:
the attempt fails all the same; ``careless``: a deliberately wrong variant that removes what has the name.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import launcher
from sqlalchemy import update

from jobctl import clock
from jobctl.core.settling import Raised, Returned, settle
from jobctl.errors import JobctlError
from jobctl.model.attempts import AttemptId, Claim
from jobctl.ops.rescue import Rescuer, is_gone
from jobctl.ops.site import Site, open_site
from jobctl.outputs import decode
from jobctl.runner import publishing
from jobctl.runner.attempt import Attempt, answer_of
from jobctl.runner.crew import Told
from jobctl.settings import load_settings
from jobctl.store import leases_postgresql, leases_sqlite, workers
from jobctl.store.leases import Holder, Leases, open_leases
from jobctl.store.schema import job
from jobctl.work import TaskSpec

# Imported before the first fork, so that no child pays for it.
PRELOADED = (decode, leases_postgresql, leases_sqlite)
SPEC = TaskSpec(name="film", backoff_s=0.001)
_PATIENCE_S = 60.0


class Direct:
    """An attempt's link to the desk of its worker, in the same process."""

    def __init__(self, site: Site, actor: str) -> None:
        self._desk = publishing.Desk(site, actor)

    def tell(self, message: list[Any]) -> None:
        """Nobody listens."""

    def ask(self, message: list[Any]) -> Any:
        what, job_id, attempt, *words = message
        deadline = clock.monotonic() + _PATIENCE_S
        while (answer := self._desk.answer(Told(AttemptId(job_id, attempt), what, 1, words))) is None:
            if clock.monotonic() > deadline:
                raise TimeoutError("the root stays locked")
            clock.sleep(0.01)
        return answer_of(["answer", 1, *answer])


@contextmanager
def uncounted(site: Site) -> Iterator[None]:
    """Commits within the block are no effects."""
    hook, site.store.commit_hook = site.store.commit_hook, None
    yield
    site.store.commit_hook = hook


def begin_life(site: Site) -> Holder:
    name = f"w-{os.getpid()}-{clock.monotonic_us()}"
    holder = Holder(name, site.executor._replace(pid=os.getpid(), instance=name), ("default",))
    with site.store.write() as connection:
        workers.register(
            connection, holder, tasks=["film"], slots=1, isolation="process", lease_s=9.0, at=clock.now()
        )
    return holder


def rescue(site: Site, holder: Holder, leases: Leases) -> None:
    rescuer = Rescuer(site, actor=holder.actor, warn=print)
    for peer in leases.peers():
        if is_gone(peer.executor, site):
            rescuer.give_up(peer, is_dead=True)
    if rescuer.rescue():
        # What it may have to wait for is another test's.
        with site.store.write() as connection:
            connection.execute(update(job).values(run_at=None))


def publish(site: Site, holder: Holder, claim: Claim, film: str, final: str) -> Returned | Raised:
    """One attempt: its film is its own copy, in a directory of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        made = shutil.copyfile(film, os.path.join(scratch, "film.mp4"))
        attempt = Attempt(claim.id, claim.kind, claim.payload, Direct(site, holder.actor), scratch)
        try:
            return Returned(f'"{attempt.publish(made, final).sha256}"')
        except (JobctlError, OSError) as error:
            return Raised(str(error), "error", "", is_final=False)


def live(url: str, film: str, final: str, *how: str) -> int:
    with open_site(load_settings(database=url, environ={})) as site:
        with uncounted(site):
            holder = begin_life(site)
        with closing(open_leases(site.store, holder)) as leases:
            with uncounted(site):
                rescue(site, holder, leases)
            failed = 0
            for claim in leases.take_turn([], 1, [SPEC.name]).claims:
                ending = publish(site, holder, claim, film, final)
                if "fails" in how:
                    ending = Raised("after it was published", "error", "", is_final=False)
                leases.take_turn([settle(claim, ending, spec=SPEC)], 0)
                failed += isinstance(ending, Raised)
        with uncounted(site), site.store.write() as connection:
            workers.end_worker(connection, holder.worker_id, "stopped", at=clock.now())
    return 3 if failed else 0


def free_without_a_journal(site: Site, root_id: str, path: str, **_: Any) -> None:
    """A deliberately wrong variant: what has the name is removed."""
    from jobctl.store import roots  # noqa: PLC0415

    with site.store.read() as connection:
        (row,) = (row for row in roots.get_roots(connection) if row.root_id == root_id)
    os.unlink(os.path.join(row.path, path))


def run() -> None:
    if "careless" in sys.argv:
        publishing.supersede = free_without_a_journal  # type: ignore[assignment]
    sys.exit(live(*sys.argv[1:]))


if __name__ == "__main__":
    launcher.main(run)
