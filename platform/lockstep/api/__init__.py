"""The HTTP API: routes by noun, problems as RFC 9457 has them, and the server that runs it."""
