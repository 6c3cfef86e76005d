"""The nouns of OCI images, and the places an image can be."""
