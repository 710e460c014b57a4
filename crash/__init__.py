"""The crash harness: kill Lockstep at every moment, restart it, and hold it against an oracle.

Run it with `python -m crash --help`; docs/crash-testing.md says what it does and what it proves.
"""
