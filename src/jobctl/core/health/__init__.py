"""Judgements of health, pure: facts in, a diagnosis out. One module a theme; facts are read elsewhere."""
