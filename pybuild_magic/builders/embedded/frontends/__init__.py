"""Front ends of other images: run in the sandbox, and served by BuildKit's gateway protocol."""
