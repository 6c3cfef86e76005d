"""The content-addressed store: blobs, layers with their indexes, images, cache records."""
