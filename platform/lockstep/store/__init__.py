"""Vector stores: the port, its filters, and one adapter for each engine."""
