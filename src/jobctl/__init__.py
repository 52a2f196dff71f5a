"""jobctl: a job store that survives restarts, and the recovery toolkit for afterwards."""

from __future__ import annotations

__version__ = "0.1.0"
