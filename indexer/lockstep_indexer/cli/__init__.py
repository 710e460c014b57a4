"""The command line. Importing it loads nothing heavy: commands import what they call."""

from lockstep_indexer.cli.app import main

__all__ = ["main"]
