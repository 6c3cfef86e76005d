"""OCI images: their documents, names and platforms, and the places that hold them."""
