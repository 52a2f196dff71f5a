"""The job runner: workers, and the attempts they run."""
