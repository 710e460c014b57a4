"""What requests and responses look like: bodies are what comes in, views what goes out."""
