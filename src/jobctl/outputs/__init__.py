"""The outputs directories: walk, check, publish."""
