"""Values into terminal screens, JSON and tab-separated lines."""
