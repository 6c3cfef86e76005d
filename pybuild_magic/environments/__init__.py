"""Environments as Dockerfiles: of the running kernel, of a repository; compared, made smaller, proved by notebooks."""
