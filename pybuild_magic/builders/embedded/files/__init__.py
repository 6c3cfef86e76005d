"""Changes to file systems (COPY, ADD, mkdir, rm), and checksums of contents."""
