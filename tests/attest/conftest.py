"""A store of its own for each test that builds."""

from __future__ import annotations

from tests.integration.conftest import _no_settings, home, store_template

__all__ = ["_no_settings", "home", "store_template"]
