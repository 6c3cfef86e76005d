"""The builders: one request in, one stream of status and one response out."""
