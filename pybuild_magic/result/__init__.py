"""The result of a build for its user: BuildResult, with its image, its layers and its files. Each displays itself."""

from .build_result import BuildResult
from .files import File, FileTree
from .image import Config, Image, Layers

__all__ = ["BuildResult", "Config", "File", "FileTree", "Image", "Layers"]
