"""Measurements against named rivals. Run one with `python -m benchmarks.NAME --help`."""
