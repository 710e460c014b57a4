"""Lockstep keeps an embedding model and its vector index in lockstep."""

__version__ = "0.1.0"
