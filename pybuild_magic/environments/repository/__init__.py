"""A repository as an image: the files that repo2docker knows, compiled to a Dockerfile that one can read."""
