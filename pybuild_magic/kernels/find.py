"""The kernels of an image: the kernelspecs that Jupyter would find if it ran in the image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.sandbox.users import resolve_user
from ..errors import UsageError
from ..oci.config import ImageConfig
from ..run import RunImage
from ..store import resolve
from ..store.tree import Tree

SEARCHED = ("/usr/local/bin", "/usr/bin", "/bin")
"""Where programs are looked for in an image without PATH."""
_KERNELS = "share/jupyter/kernels"
_LARGEST = 64 << 10
"""The most bytes of a kernel.json or a picture that are read."""
_PICTURES = ("logo-32x32.png", "logo-64x64.png")
_PNG = b"\x89PNG\r\n\x1a\n"
_PYTHON = re.compile(r"python3?(\.\d+)?")


class _Metadata(msgspec.Struct):
    debugger: bool = False


class _Document(msgspec.Struct):
    """A kernel.json, as described in jupyter_client's "Kernel specs"."""

    argv: list[str]
    display_name: str = ""
    language: str = ""
    interrupt_mode: str = "signal"
    env: dict[str, str] = {}
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class ImageKernel(msgspec.Struct, frozen=True):
    """A kernel in an image; `argv` has Jupyter's placeholders, such as `{connection_file}`."""

    name: str
    argv: tuple[str, ...]
    display_name: str
    language: str
    interrupt_mode: str
    env: dict[str, str]
    debugger: bool
    pictures: dict[str, bytes]
    """Its logos by file name: only PNG, because a foreign SVG would run its scripts in Jupyter's page."""


def kernels_of(tree: Tree, config: ImageConfig, home: str = "") -> tuple[ImageKernel, ...]:
    """Return the kernels of an image, in the order of its own Jupyter.

    `home` is the home directory of the image's user. An unreadable kernelspec is skipped, as by Jupyter.
    """
    kernels: dict[str, ImageKernel] = {}
    for prefix in _prefixes(config, home):
        where = resolve(tree, f"{prefix}/{_KERNELS}")
        for entry in tree.children(where):
            name = entry.path.rpartition("/")[2].lower()
            kernel = _read(tree, config, prefix, f"{where}/{name}", name)
            if kernel is not None:
                kernels.setdefault(name, kernel)
    return tuple(kernels.values())


def home_of(image: RunImage) -> str:
    """Return the home directory of the user of an image whose layers are in the store."""
    return resolve_user(embedded_builder().store.tree(image.snapshot), image.config.config.user).home


def image_kernels(image: RunImage) -> tuple[ImageKernel, ...]:
    """Return the kernels of an image whose layers are in the store."""
    return kernels_of(embedded_builder().store.tree(image.snapshot), image.config, home_of(image))


def choose_kernel(kernels: tuple[ImageKernel, ...], name: str, image: str) -> ImageKernel:
    """Return the kernel called `name`, or the first one for "". Raises UsageError."""
    for kernel in kernels:
        if name in ("", kernel.name):
            return kernel
    known = ", ".join(kernel.name for kernel in kernels)
    raise UsageError(
        f"{image} has no kernel {name}." if name else f"{image} has no Jupyter kernel.",
        hint=f"It has {known}."
        if known
        else f"Build an image that has one with %build kernel --add-ipykernel {image}.",
    )


def find_program(tree: Tree, places: Sequence[str], *names: str) -> str:
    """Return the path of the first of the programs that is in one of the places, place by place; "" for none."""
    for place in places:
        for name in names:
            entry = tree.get(resolve(tree, f"{place}/{name}"))
            if entry is not None and entry.is_file:
                return f"{place}/{name}"
    return ""


def _prefixes(config: ImageConfig, home: str) -> Iterator[str]:
    """Yield the directories that may contain kernelspecs: the user's, those beside PATH's programs, and the
    system's.
    """
    if home.strip("/"):
        yield f"{home.rstrip('/')}/.local"
    prefixes = [entry.removesuffix("/bin") for entry in config.config.search_path if entry.endswith("/bin")]
    yield from dict.fromkeys((*prefixes, "/usr/local", "/usr"))


def _read(tree: Tree, config: ImageConfig, prefix: str, path: str, name: str) -> ImageKernel | None:
    text = _content(tree, f"{path}/kernel.json")
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    words = [word.replace("{resource_dir}", f"/{path}").replace("{prefix}", prefix or "/") for word in document.argv]
    if not words or not re.fullmatch(r"[a-z0-9._-]+", name) or any("\0" in word for word in words):
        return None
    if _PYTHON.fullmatch(words[0]):
        # Jupyter means its own Python by this name: that of the prefix, or of a system which calls it python3 alone.
        places = (f"{prefix}/bin", *(config.config.search_path or SEARCHED))
        words[0] = find_program(tree, places, words[0], "python3") or words[0]
    pictures = {picture: _content(tree, f"{path}/{picture}") for picture in _PICTURES}
    return ImageKernel(
        name=name,
        argv=tuple(words),
        display_name=document.display_name or name,
        language=document.language,
        interrupt_mode="message" if document.interrupt_mode == "message" else "signal",
        env=document.env,
        debugger=document.metadata.debugger,
        pictures={picture: data for picture, data in pictures.items() if data.startswith(_PNG)},
    )


def _content(tree: Tree, path: str) -> bytes:
    entry = tree.get(resolve(tree, path))
    return tree.read(entry) if entry is not None and entry.is_file and entry.size <= _LARGEST else b""
