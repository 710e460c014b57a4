"""Passages to vectors: token ids through the fastest route that gives the model's own vectors."""
