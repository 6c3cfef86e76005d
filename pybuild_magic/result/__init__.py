"""The result of a build as its user sees it: BuildResult, its image, layers and files. Each displays itself."""

from .build_result import BuildResult
from .files import File, FileTree
from .image import Config, Image, Layers

__all__ = ["BuildResult", "Config", "File", "FileTree", "Image", "Layers"]
