"""Connections to servers and daemons: HTTP over pooled sockets and plain byte streams, within time limits."""
