"""One file per command: parse, one operation, render, exit code."""
