"""Advice: whether to fine-tune, and what to make of a gain."""
