"""The job store: SQLite or PostgreSQL behind one set of functions."""
