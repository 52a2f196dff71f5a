"""Facts about jobs from outside the outputs directories."""
