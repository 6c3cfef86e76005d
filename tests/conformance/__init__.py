"""Dockerfiles built by the embedded builder and by a real BuildKit, compared down to the last byte.

`cases/` has the cases, one module a group; `python -m tests.conformance` builds them all and writes the table of
README.md; the pytest run fails when a level that the table records is lost.
"""
