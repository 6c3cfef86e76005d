"""The commands of `%build` for kernels that run in images: `kernel` makes and removes them, `kernels` lists them."""

from __future__ import annotations

from typing import Any

from ..builders import embedded_builder
from ..display.table import Document, Table
from ..errors import BuildError, UsageError
from ..kernels.spec import NOT_OF_KERNELS
from ..request.flags import Flag, Kind, ParsedFlags
from ..run.flags import ROWS as RUN_FLAGS
from ..run.options import options_of_flags
from .command import command

_FLAGS: tuple[Flag, ...] = (
    Flag("add-ipykernel", Kind.BOOL, "", "Add ipykernel on top of the image, and use the result"),
    Flag("display-name", Kind.ONE, "TEXT", "Name of the kernel in Jupyter's menus"),
    Flag("name", Kind.ONE, "NAME", "Name of the kernel; by default the image's"),
    Flag("remove", Kind.BOOL, "", "Remove the kernel with this name"),
)
_OWN = {flag.name for flag in _FLAGS}


@command(
    "kernel",
    "REF",
    takes="one image",
    hint="For example: %build kernel app:1. --remove NAME removes it.",
    names=("image", "file"),
    flags=(*_FLAGS, *(flag for flag in RUN_FLAGS if flag.field not in NOT_OF_KERNELS and flag.name not in _OWN)),
)
def kernel(flags: ParsedFlags) -> Document:
    """Make a Jupyter kernel that runs in an image; with --remove and its name, remove one."""
    from ..kernels.spec import install, remove

    (image,) = flags.arguments
    if flags.on("remove"):
        return Document((("", f"Removed {image} ({remove(image)})"),))
    options = options_of_flags(ParsedFlags({k: v for k, v in flags.values.items() if k not in _OWN}, []))
    dockerfile = ""
    if flags.on("add-ipykernel"):
        image, dockerfile = _with_ipykernel(image, options.platform)
    specs = install(image, options, flags.last("name"), flags.last("display-name"))
    listed = "\n".join(f"{spec.name}  {spec.display_name}" for spec in specs)
    parts = ((f"The Dockerfile of {image}", dockerfile),) if dockerfile else ()
    where = "Choose it in the notebook's kernel menu, or start a notebook with it from the Launcher."
    return Document((*parts, ("Kernels", f"{listed}\n\n{where}")))


def _with_ipykernel(image: str, platform: str) -> tuple[str, str]:
    """Build an image with ipykernel on `image`, unless that has it. Return its name, and its Dockerfile if it was
    built.
    """
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


@command("kernels")
def kernels(_flags: ParsedFlags) -> Table:
    """List the kernels that run in images."""
    from ..kernels.spec import installed

    rows = tuple(
        (spec.name, spec.display_name, spec.image, spec.kernel, _state(spec.image, spec.digest)) for spec in installed()
    )
    note = "" if rows else "No image is a kernel yet: %build kernel REF makes it one."
    return Table(("NAME", "DISPLAY NAME", "IMAGE", "ITS KERNEL", "STATE"), rows, note)


def kernel_of(_service: object, params: dict[str, Any]) -> dict[str, str]:
    """Answer the page's `{ref}` with the `{name}` of a kernel that runs in that image; make one if there is none."""
    from ..kernels.spec import install, installed
    from ..run import RunOptions

    ref = params.get("ref")
    if not isinstance(ref, str) or not ref:
        raise UsageError("The request needs ref, the name of an image.")
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
    """Return the full name of an image, the same however it is written; a path stays as it is."""
    from ..images.layout import place_on_disk
    from ..oci import reference

    return image if place_on_disk(image) else str(reference.parse(image).tagged())
