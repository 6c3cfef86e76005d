"""Repositories as images: the files that repo2docker knows, compiled into a readable Dockerfile."""
