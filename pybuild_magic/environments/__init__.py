"""Environments as Dockerfiles: from the running kernel or a repository, compared, slimmed, and verified by
notebooks.
"""
