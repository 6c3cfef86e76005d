"""The commands of `%build` for kernels that run in images: `kernel` makes and removes them, `kernels` lists them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..builders import embedded_builder
from ..display.table import Document, Table
from ..errors import BuildError, UsageError
from ..request.flags import Flag, Kind, parse_flags, truth

KERNEL_FLAGS: tuple[Flag, ...] = (
    Flag("add-ipykernel", Kind.BOOL, "", "Build an image with ipykernel on top of it, and use that"),
    Flag("display-name", Kind.ONE, "TEXT", "Name of the kernel in Jupyter's menus"),
    Flag("name", Kind.ONE, "NAME", "Name of the kernel; by default the image's"),
    Flag("remove", Kind.BOOL, "", "Remove the kernel with this name"),
)
"""The flags of `%build kernel` beside those of `%build run`."""


def kernel(words: Sequence[str]) -> Document:
    """Make a Jupyter kernel that runs in an image: `[FLAGS] REF`, or `--remove NAME`."""
    from ..kernels.spec import install, remove
    from ..run.options import FLAGS, options_of_flags

    own = {flag.name for flag in KERNEL_FLAGS}
    table = (*KERNEL_FLAGS, *(flag for flag in FLAGS if flag.name not in own))
    parsed = parse_flags(words, table)
    if len(parsed.arguments) != 1:
        raise UsageError(
            "%build kernel takes one image.", hint="For example: %build kernel app:1. --remove NAME removes it."
        )
    (image,) = parsed.arguments
    given = {
        flag.name: parsed.values[flag.name][-1]
        for flag in KERNEL_FLAGS
        if flag.name in parsed.values
        and (flag.kind is not Kind.BOOL or truth(parsed.values[flag.name][-1], f"--{flag.name}"))
    }
    if "remove" in given:
        return Document((("", f"Removed {image} ({remove(image)})"),))
    values = {name: words for name, words in parsed.values.items() if name not in own}
    options = options_of_flags(type(parsed)(values, []))
    dockerfile = ""
    if "add-ipykernel" in given:
        image, dockerfile = _with_ipykernel(image, options.platform)
    specs = install(image, options, given.get("name", ""), given.get("display-name", ""))
    listed = "\n".join(f"{spec.name}  {spec.display_name}" for spec in specs)
    parts = ((f"The Dockerfile of {image}", dockerfile),) if dockerfile else ()
    where = "Choose it in the notebook's kernel menu, or start a notebook with it from the Launcher."
    return Document((*parts, ("Kernels", f"{listed}\n\n{where}")))


def _with_ipykernel(image: str, platform: str) -> tuple[str, str]:
    """Build an image of `image` that has ipykernel, unless it has; its name, and its Dockerfile when it was built."""
    from ..api.functions import build
    from ..images.layout import place_on_disk
    from ..kernels.derive import derived_name, dockerfile_with_ipykernel
    from ..kernels.find import image_kernels
    from ..run import find_image

    if place_on_disk(image):
        raise UsageError(
            "--add-ipykernel takes the name of an image.", hint=f"%build load {image} -t NAME gives it one."
        )
    store = embedded_builder().store
    with store.lease():
        current = find_image(image, platform)
        if any(kernel.language == "python" for kernel in image_kernels(current)):
            return image, ""
        dockerfile = dockerfile_with_ipykernel(image, store.tree(current.snapshot), current.config)
    name = derived_name(image)
    build(dockerfile, "-", tags=[name], platforms=[platform] if platform else [])
    return name, dockerfile


def kernels(words: Sequence[str]) -> Table:
    """List the kernels that run in images."""
    from ..kernels.spec import installed

    if words:
        raise UsageError(f"%build kernels takes no {words[0]}.")
    rows = tuple(
        (spec.name, spec.display_name, spec.image, spec.kernel, _state(spec.image, spec.digest)) for spec in installed()
    )
    return Table(("NAME", "DISPLAY NAME", "IMAGE", "ITS KERNEL", "STATE"), rows)


def kernel_of(_service: object, params: dict[str, Any]) -> dict[str, str]:
    """Answer the page's `{ref}` with a kernel that runs in that image, made when there is none: `{name}`."""
    from ..kernels.spec import install, installed
    from ..run import RunOptions

    ref = params.get("ref")
    if not isinstance(ref, str) or not ref:
        raise UsageError("The question needs ref, the name of an image.")
    name = next((spec.name for spec in installed() if _whole(spec.image) == _whole(ref)), "")
    return {"name": name or install(ref, RunOptions())[0].name}


def _state(image: str, digest: str) -> str:
    """Return whether the image is here, and still the one that the kernel was made from."""
    from ..images.layout import place_on_disk
    from ..run import find_image

    store = embedded_builder().store
    try:
        if not place_on_disk(image) and not store.images.get(_whole(image)):
            return "not in the store"
        with store.lease():
            current = find_image(image).config.digest
    except BuildError:
        return "not available"
    return "ready" if current == digest else "rebuilt since; the next start uses the new image"


def _whole(image: str) -> str:
    """Return the whole name of an image, by which two that are written otherwise are the same; a path as it is."""
    from ..images.layout import place_on_disk
    from ..oci import reference

    return image if place_on_disk(image) else str(reference.parse(image).tagged())
