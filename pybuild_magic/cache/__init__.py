"""Build caches outside the builder, in BuildKit's format: each side reads what the other exports."""
