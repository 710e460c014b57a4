"""Hard negatives: passages that look like answers to a query and are none."""
