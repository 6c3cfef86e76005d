"""Real services for tests and benchmarks: a Docker engine with BuildKit, a registry, base images, Chromium.

Each module starts one service, shares or caches what is costly, and raises `ServiceMissingError` with a sentence
that tells what to do where the machine cannot run it. Tests take them as fixtures of `tests/conftest.py`.
"""

from .common import ServiceError, ServiceMissingError, cache_dir, require, tool

__all__ = ["ServiceError", "ServiceMissingError", "cache_dir", "require", "tool"]
