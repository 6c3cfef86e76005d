"""Front ends from other images, run in the sandbox and served through BuildKit's gateway protocol."""
