"""Connections to others: HTTP over pooled sockets, within limits of time."""
