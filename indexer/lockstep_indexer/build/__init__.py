"""Builds index versions."""
