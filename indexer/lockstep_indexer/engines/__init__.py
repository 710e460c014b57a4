"""Engines: how a build makes points of documents, and what encodes them."""
