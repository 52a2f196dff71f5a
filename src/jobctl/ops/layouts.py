"""The layout a root was registered with: built in, or from the configuration."""

from __future__ import annotations

from jobctl.core.layout import PRESENTATIONS, Layout, layout_from_mapping
from jobctl.errors import ConfigurationError
from jobctl.settings import Settings


def layout_of(settings: Settings, name: str) -> Layout:
    """The layout called ``name``. Raises ``ConfigurationError`` where there is none."""
    if name in settings.layouts:
        return layout_from_mapping(name, settings.layouts[name])
    if name == PRESENTATIONS.name:
        return PRESENTATIONS
    known = ", ".join(sorted({PRESENTATIONS.name, *settings.layouts}))
    raise ConfigurationError(
        f"no layout is called {name!r}", hint=f"write [layouts.{name}] in jobctl.toml, or use one of: {known}"
    )
