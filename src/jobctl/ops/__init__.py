"""Use cases: each returns values and never prints."""
