"""Gates: measured conditions that a candidate must meet before it is promoted."""
