"""The client of a real BuildKit's Control API."""
