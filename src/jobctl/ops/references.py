"""References: which jobs other tables name, looked up as long as a plan is made or applied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobctl.errors import SourceUnusable
from jobctl.ops.site import Site
from jobctl.ops.sources import SourcesRead, read_sources


@dataclass(frozen=True, slots=True)
class References:
    """What the tables that protect files name. Empty where none is configured."""

    read: SourcesRead

    def to_job(self, job_id: str) -> str | None:
        """Where a job is named, or ``None``."""
        following = f"{job_id}\0"
        return next((locator for _, locator in self.read.references(job_id, following)), None)


@contextmanager
def read_references(site: Site) -> Iterator[References]:
    """Read every table that protects files. Raises ``SourceUnusable`` where one cannot be read whole."""
    with read_sources(site) as read:
        expect_all_references(read)
        yield References(read)


def expect_all_references(read: SourcesRead) -> None:
    """Raise ``SourceUnusable`` unless it is known of every job whether a table names it."""
    if not read.knows_all_references:
        names = ", ".join(read.unread)
        why = f" ({read.errors[0].message})" if read.errors else ""
        raise SourceUnusable(
            f"it cannot be told which jobs are still referred to: {names} could not be read{why}; "
            "nothing was taken away",
            hint="mend the source, or take references = true off it in jobctl.toml",
        )
