"""The offline side of Lockstep: ingesting, training, re-indexing, and the command line."""
