"""Changes of file systems: COPY, ADD, mkdir, rm, and the checksums of contents."""
