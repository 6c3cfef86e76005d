"""The built-in scanner: lists the packages of a file system from the databases and metadata that installers leave.

Files are read where they lie in the layers; nothing is unpacked or run. The files are untrusted: each is bounded, and
one that cannot be read is reported and skipped.
"""
