"""The patient: what checks look at."""

from __future__ import annotations

from dataclasses import dataclass

from jobctl.errors import JobctlError
from jobctl.ops.site import Site, open_site
from jobctl.settings import Settings
from jobctl.store.dialect import dialect_of


@dataclass(slots=True)
class Patient:
    """One installation. Its store is opened when a check first asks for it, and only once."""

    settings: Settings
    trouble: JobctlError | None = None
    """Why the store cannot be opened, once that is known."""
    _site: Site | None = None

    @property
    def database(self) -> str:
        """``sqlite`` or ``postgresql``. Raises ``UsageError`` for an address that is neither."""
        return dialect_of(self.settings.database).name

    @property
    def site(self) -> Site:
        """The opened store. Raises the errors of ``open_store``, the same one each time."""
        if self.trouble is not None:
            raise self.trouble
        if self._site is None:
            try:
                self._site = open_site(self.settings, pooled=True)
            except JobctlError as error:
                self.trouble = error
                raise
        return self._site

    def close(self) -> None:
        """Let go of the store."""
        if self._site is not None:
            self._site.store.close()
