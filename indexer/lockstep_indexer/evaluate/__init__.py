"""Evaluation: how well models find what judged queries ask for, on the path that searches take."""
