"""The `image` exporter: an image stored, pushed to its registry, or both."""

from __future__ import annotations

import base64

from ..errors import UsageError
from ..oci import reference
from ..oci.reference import Reference
from ..session import Sink
from . import ExportContext, SolveResult, assemble
from .attributes import IMAGE_ATTRIBUTES, Attribute, Values
from .push import push_image

_ATTRIBUTES: tuple[Attribute, ...] = (
    *IMAGE_ATTRIBUTES,
    Attribute("push", "bool", False, "Push the image after it is made."),
    Attribute("push-by-digest", "bool", False, "Push without a tag; names must not have one."),
    Attribute("registry.insecure", "bool", False, "Push over plain HTTP, or over TLS without verification."),
    Attribute("store", "bool", True, "Keep the image in the store under its names."),
    Attribute("unpack", "bool", True, "Prepare the layers for running, which the embedded store always does."),
    Attribute("dangling-name-prefix", "string", "", "Name the image PREFIX@DIGEST, besides its other names."),
    Attribute("danging-name-empty-only", "bool", False, "Use the dangling name only when the image has no other."),
    Attribute("name-canonical", "bool", False, "Also name the image NAME@DIGEST."),
)


class ImageExporter:
    """Makes the image and stores it, and pushes it if `push` is set."""

    name = "exporting to image"

    def __init__(self, kind: str, attributes: tuple[Attribute, ...]) -> None:
        self.type = kind
        self.attributes = attributes

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError for invalid names, and for incompatible attributes."""
        _ = sink
        assemble.check(values)
        names = image_names(values["name"], tagged=not values["push-by-digest"])
        if values["push"] and not names:
            raise UsageError("A push needs a name to push to.", hint="Add -t NAME, or name=NAME.")
        if values["push-by-digest"] and (tagged := [ref.familiar for ref in names if ref.tag or ref.digest]):
            raise UsageError(f'"{tagged[0]}" has a tag, so it cannot be pushed by digest.')
        if values["unpack"] and "unpack" in values.explicit and values["rewrite-timestamp"]:
            raise UsageError('"rewrite-timestamp=true" conflicts with "unpack=true".')

    def export(self, result: SolveResult, values: Values, context: ExportContext) -> dict[str, str]:
        """Assemble the image, name it in the store, push it."""
        image = assemble.assemble(result, values, context, packed=values["push"])
        response = image.response
        response["containerimage.descriptor"] = base64.b64encode(image.root.encode()).decode()
        refs = image_names(values["name"], tagged=not values["push-by-digest"])
        names = [str(ref) for ref in refs]
        stored = [f"{name}@{image.root.digest}" for name in names if values["name-canonical"] and "@" not in name]
        prefix: str = values["dangling-name-prefix"]
        if prefix and not (names and values["danging-name-empty-only"]):
            names.append(f"{prefix}@{image.root.digest}")
        remote = context.remote
        is_remote = remote is not None and any(
            remote.form(layer) for target in result.targets for layer in target.snapshot
        )
        for name in [*names, *stored] if values["store"] else ():
            context.cancel.check()
            if is_remote:
                # Layers of its base stayed in a registry, so the image does too: its name now leads there.
                context.store.images.remove(name)
            else:
                with context.progress.step(f"naming to {name}"):
                    context.store.images.put(name, image.root)
        if values["push"]:
            for ref in refs:
                push_image(image, ref, context, insecure=values["registry.insecure"])
        if names:
            response["image.name"] = ",".join(names)
        return response


def image_names(names: tuple[str, ...], *, tagged: bool = True) -> list[Reference]:
    """Return the references listed in `name`, in full: `docker.io/library/x:latest`. Raises UsageError."""
    refs = [reference.parse(name) for name in names]
    return list(dict.fromkeys(ref.tagged() if tagged else ref for ref in refs))


EXPORTER = ImageExporter("image", _ATTRIBUTES)
