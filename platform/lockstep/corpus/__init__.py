"""The corpus: documents, their change log, and what reads files into it."""
