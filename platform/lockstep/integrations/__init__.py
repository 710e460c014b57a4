"""Lockstep in the frameworks of others. Each module needs the extra of its name."""
