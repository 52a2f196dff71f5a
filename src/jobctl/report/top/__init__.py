"""The live view. The only package that imports Textual; only ``jobctl top`` imports it."""
