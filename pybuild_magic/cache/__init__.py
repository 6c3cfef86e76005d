"""Build caches outside the builder, in BuildKit's own format: what it exports is read here, and the reverse."""
