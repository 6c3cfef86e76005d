"""Registries: endpoints, credentials, downloads and uploads."""
