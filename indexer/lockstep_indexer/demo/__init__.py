"""The demo: the main job, start to end, on real documents with a real model."""

from lockstep_indexer.demo.run import run

__all__ = ["run"]
