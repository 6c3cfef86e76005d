"""The `image` and `registry` exporters: an image kept in the store, pushed to its registry, or both."""

from __future__ import annotations

import base64

from ..errors import UsageError
from ..oci import reference
from ..oci.reference import Reference
from ..session import Sink
from . import ExportContext, SolveResult, assemble
from .attributes import IMAGE_ATTRIBUTES, Attribute, Values, changed
from .push import push_image

_ATTRIBUTES: tuple[Attribute, ...] = (
    *IMAGE_ATTRIBUTES,
    Attribute("push", "bool", False, "Push the image after it is made."),
    Attribute("push-by-digest", "bool", False, "Push without a tag; names must have none."),
    Attribute("registry.insecure", "bool", False, "Push over plain HTTP, or over TLS without verification."),
    Attribute("store", "bool", True, "Keep the image in the store under its names."),
    Attribute("unpack", "bool", True, "Make the layers ready to run; the embedded store always has them so."),
    Attribute("dangling-name-prefix", "string", "", "Name the image PREFIX@DIGEST, besides its other names."),
    Attribute("danging-name-empty-only", "bool", False, "Use the dangling name only when there is no other."),
    Attribute("name-canonical", "bool", False, "Name the image NAME@DIGEST too."),
)


class ImageExporter:
    """Makes the image and keeps it; pushes it when `push` says so."""

    name = "exporting to image"

    def __init__(self, kind: str, attributes: tuple[Attribute, ...]) -> None:
        self.type = kind
        self.attributes = attributes

    def check(self, values: Values, sink: Sink | None) -> None:
        """Raise UsageError for names that are none, and for attributes that do not go together."""
        _ = sink
        assemble.check(values)
        names = image_names(values["name"], tagged=not values["push-by-digest"])
        if values["push"] and not names:
            raise UsageError("A push needs a name to push to.", hint="Add -t NAME, or name=NAME.")
        if values["push-by-digest"] and (tagged := [ref.familiar for ref in names if ref.tag or ref.digest]):
            raise UsageError(f'"{tagged[0]}" has a tag, so it cannot be pushed by digest.')
        if values["unpack"] and "unpack" in values.given and values["rewrite-timestamp"]:
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
        left = remote is not None and any(remote.form(layer) for target in result.targets for layer in target.snapshot)
        for name in [*names, *stored] if values["store"] else ():
            context.cancel.check()
            if left:
                # Layers of its base stayed in a registry, and so does the image: there the name leads from now on.
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
    """Return the references that `name` lists, whole: `docker.io/library/x:latest`. Raises UsageError."""
    refs = [reference.parse(name) for name in names]
    return list(dict.fromkeys(ref.tagged() if tagged else ref for ref in refs))


IMAGE = ImageExporter("image", _ATTRIBUTES)
REGISTRY = ImageExporter("registry", changed(_ATTRIBUTES, push=True, store=False))
