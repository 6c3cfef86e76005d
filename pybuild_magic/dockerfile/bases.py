"""Bases of stages: scratch, an image, or a named context that replaces either."""

from __future__ import annotations

import msgspec

from ..errors import BuildError, DockerfileError, UsageError
from ..golang.text import did_you_mean, quote
from ..llb.ops import Edge, Node, SourceOp
from ..oci import config as image_config
from ..oci import reference
from ..oci.config import ImageConfig
from ..oci.platform import Platform, normalise
from . import rules
from .contexts import NamedContext, find_named, load_named
from .lowering import Lowering
from .metadata import ImageRequest, Metadata, ResolvedImage, reason
from .stages import SCRATCH, StageState
from .state import State

_COMMON = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


def resolve_bases(lowering: Lowering, stages: set[StageState], metadata: Metadata) -> None:
    """Set the state and config of every one of the `stages` whose base is not another stage.

    All images are looked up at once. Raises DockerfileError for an invalid image name, even in a stage that is not
    needed, and the resolver's errors at their FROM.
    """
    waiting: list[tuple[StageState, NamedContext | None, ImageRequest | None]] = []
    for stage in lowering.graph.stages:
        if stage.base is not None or stage.dispatched or stage.resolved:
            continue
        if stage.base_name == SCRATCH and stage.named_context is None:
            _on_scratch(lowering, stage)
            continue
        full = _full_name(stage)
        if stage not in stages:
            continue
        stage.resolved = True
        try:
            context = stage.named_context or find_named(lowering.options, full, stage.platform or lowering.platform)
            request = context.request() if context else _request(lowering, stage, full)
        except BuildError as error:
            error.at(stage.base_from.location)
            raise
        waiting.append((stage, context, request))
    metadata.fetch([request for _, _, request in waiting if request])
    for stage, context, request in waiting:
        try:
            image = metadata.get(request) if request else None
            if context:
                _on_context(lowering, stage, context, image)
            elif image:
                _on_image(lowering, stage, image)
        except BuildError as error:
            if context is None:
                _explain(error, lowering, stage)
            error.at(stage.base_from.location)
            raise
        stage.dispatched |= stage.implicit


def _full_name(stage: StageState) -> str:
    try:
        return str(reference.parse(stage.base_name).tagged())
    except UsageError as error:
        raise DockerfileError(
            f"failed to parse stage name {quote(stage.base_name)}: {reason(error)}",
            location=stage.base_from.location,
        ) from error


def _request(lowering: Lowering, stage: StageState, full: str) -> ImageRequest:
    platform = stage.platform or lowering.platform
    where = f"{platform.full} " if lowering.options.multi_platform else ""
    return ImageRequest(full, platform, f"[{where}internal] load metadata for {full}")


def _explain(error: BuildError, lowering: Lowering, stage: StageState) -> None:
    """Add to the error which name of the Dockerfile it is about, and which name was probably meant."""
    name = stage.base_from.base if "$" not in stage.base_from.base else stage.base_name
    explanation = error.message if name in error.message else f"{name}: {error.message}"
    stage_meant = did_you_mean(name, lowering.graph.names(), case_sensitive=True)
    if stage_meant:
        error.message = f"The Dockerfile has no such stage{stage_meant}, and as an image: {explanation}"
        error.hint = ""
        return
    images = [reference for image in _COMMON for reference in (image, f"{image}:latest")]
    error.message = explanation + did_you_mean(name, images, case_sensitive=True)


def _on_scratch(lowering: Lowering, stage: StageState) -> None:
    stage.resolved = True
    stage.state = State()
    stage.config = image_config.empty(lowering.platform)
    stage.platform = lowering.platform
    stage.dispatched |= stage.implicit


def _on_context(lowering: Lowering, stage: StageState, context: NamedContext, image: ResolvedImage | None) -> None:
    state, config = load_named(context, image, lowering.lazy, lambda: stage.paths, stage.base_from.location)
    stage.state = state
    if stage.named_context:
        # The whole stage is replaced: its instructions are not run.
        stage.dispatched = True
        if config:
            stage.config = config
            if config.architecture and config.os:
                stage.platform = config.platform
        return
    platform = stage.platform or lowering.platform
    stage.base_config = stage.config = config or image_config.empty(platform)
    stage.state = msgspec.structs.replace(state, platform=normalise(platform))
    stage.platform = platform


def _on_image(lowering: Lowering, stage: StageState, image: ResolvedImage) -> None:
    config = image.parsed
    platform = stage.platform or lowering.platform
    if stage.platform is None and lowering.implicit_platform:
        platform = _corrected(lowering, config)
    stage.base_config = config
    stage.config = msgspec.structs.replace(config, created="")
    stage.platform = platform
    named, stage.base_name = stage.base_name, image.pinned
    if not config.rootfs.diff_ids and all(entry.empty_layer for entry in config.history):
        stage.state = State()
        return
    actual = config.platform
    if (platform.os, platform.architecture) != (actual.os, actual.architecture):
        values = (quote(normalise(actual).full), quote(normalise(platform).full))
        lowering.checks.report(rules.INVALID_BASE_IMAGE_PLATFORM, stage.base_from.location, named, *values)
    mode = lowering.options.image_resolve_mode
    attrs = {"image.resolvemode": mode} if mode != "default" else {}
    node = Node(
        SourceOp(f"docker-image://{image.pinned}", attrs),
        name=lowering.prefix(stage, platform, {}) + f"FROM {image.pinned}",
        platform=str(platform),
        location=stage.base_from.location,
    )
    stage.state = State(Edge(node), platform=normalise(platform))


def _corrected(lowering: Lowering, config: ImageConfig) -> Platform:
    """Return the platform of an image for which none was requested: for the builder's, the one that the image
    claims.
    """
    target, build = lowering.platform, lowering.options.build_platform
    own = (config.os, config.architecture)
    if own != (target.os, target.architecture) and own == (build.os, build.architecture):
        return build
    return target
