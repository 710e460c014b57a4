"""Search: from a request, through a query plan, to hits."""
