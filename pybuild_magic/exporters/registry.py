"""The `registry` exporter: an image pushed to its registry, and not stored."""

from __future__ import annotations

from .attributes import changed
from .image import EXPORTER as IMAGE
from .image import ImageExporter

EXPORTER = ImageExporter("registry", changed(IMAGE.attributes, push=True, store=False))
