"""What a service imports."""

from __future__ import annotations

from jobctl.outputs.publish import Published, publish, publishing

__all__ = ["Published", "publish", "publishing"]
