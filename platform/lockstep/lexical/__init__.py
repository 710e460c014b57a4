"""Lexical search: texts as BM25 sparse vectors."""
