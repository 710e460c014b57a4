"""Synthetic questions: a language model asks what a passage answers."""
