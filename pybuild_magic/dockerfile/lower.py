"""From a parsed Dockerfile to a builder's input: for each platform the LLB of the target, and its image config."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from ..errors import BuildError, DockerfileError, UsageError
from ..golang.parsebool import parse_bool
from ..golang.patternmatcher import PatternMatcher
from ..golang.text import did_you_mean, quote
from ..llb.ops import Edge
from ..oci import platform as platforms
from ..oci.config import DEFAULT_PATH_UNIX, ImageConfig
from ..oci.platform import Platform
from ..oci.timestamp import EPOCHS
from ..untrusted.foreign import integer
from . import instructions as df
from . import lower_config, rules
from .bases import resolve_bases
from .check_syntax import check_default_bases, check_stages
from .checks import Checks
from .contexts import LazySources, find_named
from .document import Dockerfile
from .lower_copy import lower_files
from .lower_options import LowerOptions
from .lower_run import lower_run
from .lowering import SCAN_CONTEXT, SCAN_STAGE, Lowering, Step
from .metadata import ImageResolver, Metadata
from .onbuild import read_triggers
from .outline import DeclaredArg, Outline, outline_of
from .platform_args import platform_args, proxy_env
from .shell import Expansion, Lexer
from .stages import SCRATCH, StageGraph, StageState, count_steps, reachable, stage_of

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_HEREDOCS = Lexer(plain_quotes=True)
"""Expands here-documents: only `$`, and `\\` before it, are special in them."""

_HANDLERS: Mapping[type[df.Instruction], Callable[[Step, Any], None]] = {
    df.Add: lower_files,
    df.Arg: lower_config.lower_arg,
    df.Cmd: lower_config.lower_cmd,
    df.Copy: lower_files,
    df.Entrypoint: lower_config.lower_entrypoint,
    df.Env: lower_config.lower_env,
    df.Expose: lower_config.lower_expose,
    df.Healthcheck: lower_config.lower_healthcheck,
    df.Label: lower_config.lower_label,
    df.Maintainer: lower_config.lower_maintainer,
    df.Onbuild: lower_config.lower_onbuild,
    df.Run: lower_run,
    df.Shell: lower_config.lower_shell,
    df.StopSignal: lower_config.lower_stopsignal,
    df.User: lower_config.lower_user,
    df.Volume: lower_config.lower_volume,
    df.Workdir: lower_config.lower_workdir,
}


class LoweredTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The graph and the image config of one platform."""

    platform: Platform
    """As the exported index names it."""
    edge: Edge | None
    """The file system; None when it is empty."""
    config: ImageConfig
    """With the history of base image and Dockerfile, and the base image's `rootfs`; `created` is ""."""
    base: ImageConfig | None = None
    """The unchanged config of the base image."""
    epoch: int | None = None
    """SOURCE_DATE_EPOCH, seconds."""
    outline: Outline
    """The arguments, secrets and agents that it accepts."""
    scanned: dict[str, Edge | None] = {}
    """Additional file systems for an SBOM, by name: the build context, and stages."""


def compile(  # noqa: A001
    dockerfile: Dockerfile,
    options: LowerOptions,
    resolver: ImageResolver,
    checks: Checks | None = None,
    *,
    every_stage: bool = False,
) -> list[LoweredTarget]:
    """Lower the target stage of `dockerfile`, once for each platform of `options`.

    `checks` receives, for the first platform, the violated rules up to the first error. With `every_stage`, stages that
    the target does not need are lowered too, and so checked. Otherwise only what the target needs is lowered, and
    looked up with `resolver`. The graph, its vertex names, the config and its history are BuildKit's
    (frontend/dockerfile/dockerfile2llb). Raises DockerfileError with BuildKit's message and the place, and the errors
    of `resolver`.
    """
    if not dockerfile.stages:
        raise DockerfileError("dockerfile contains no stages to build")
    metadata = Metadata(resolver, options.build_platform)
    options = msgspec.structs.replace(options, read_ignore=cache(options.read_ignore))
    checks = checks or Checks()
    targets: list[LoweredTarget] = []
    for platform in options.platforms or (None,):
        lowering = _begin(dockerfile, options, platform, checks)
        targets.append(_lower(lowering, dockerfile, metadata, every_stage=every_stage))
        checks.conclude()
        checks = Checks()
    return targets


def _lower(lowering: Lowering, dockerfile: Dockerfile, metadata: Metadata, *, every_stage: bool) -> LoweredTarget:
    graph = lowering.graph
    for number, stage in enumerate(dockerfile.stages):
        _add_stage(lowering, stage, number)
    target = _find_target(lowering)
    for stage in list(graph.stages):
        stage.commands = [graph.link(stage, instruction, lowering.lexer) for instruction in stage.instructions]
    graph.check_cycles()
    if len(graph.stages) == 1:
        graph.stages[0].label = ""
    needed = _resolve(lowering, target, metadata, every_stage=every_stage)
    lowering.ignored = _ignored(lowering.options)
    for stage in graph.stages:
        if every_stage or (stage in needed and not stage.dispatched):
            _lower_stage(lowering, stage)
    return _finish(lowering, target)


def _ignored(options: LowerOptions) -> PatternMatcher | None:
    """Return the patterns of .dockerignore, for a context that is a local directory."""
    if options.context is not None:
        return None
    patterns = options.read_ignore(options.context_name, "[internal] load .dockerignore")
    return PatternMatcher(patterns) if patterns else None


def _begin(dockerfile: Dockerfile, options: LowerOptions, platform: Platform | None, checks: Checks) -> Lowering:
    check_stages(dockerfile.stages, checks)
    target = platform or options.build_platform
    stage = options.target or dockerfile.stages[-1].name
    args = platform_args(options.build_platform, target, stage, options.build_args)
    lazy, graph = LazySources(options), StageGraph()
    context = options.context or lazy.local(
        options.context_name,
        options.context_name,
        "[internal]",
        lambda: {path for stage in graph.stages for path in stage.context_paths},
        verb="load build context",
    )
    lowering = Lowering(
        options=options,
        lexer=Lexer(escape=dockerfile.directives.escape),
        platform=target,
        implicit_platform=platform is None,
        build_args=options.build_args,
        global_args=args,
        epoch=None,
        proxy_env=proxy_env(options.build_args),
        lazy=lazy,
        context=context,
        graph=graph,
        checks=checks,
    )
    check_default_bases(dockerfile.meta_args, dockerfile.stages, args, lowering.lexer, checks)
    for instruction in dockerfile.meta_args:
        for arg in instruction.args:
            _declare(lowering, instruction, arg, args)
    lowering.epoch = _epoch(options.build_args.get("SOURCE_DATE_EPOCH", args.get("SOURCE_DATE_EPOCH", "")))
    return lowering


def _declare(lowering: Lowering, instruction: df.Arg, arg: df.ArgValue, args: dict[str, str]) -> None:
    """Set a variable of an ARG before the first FROM."""
    declared, uses = lowering.meta_args, frozenset[str]()
    value = lowering.build_args.get(arg.key)
    if value is None and arg.value is not None:
        expansion = lowering.expand_global(instruction, arg.value, args)
        value, uses = expansion.text, expansion.matched
        if arg.key in uses:  # it is made of its previous value
            earlier = declared.get(arg.key)
            uses = uses - {arg.key} | (earlier.uses if earlier else frozenset[str]())
    if value is not None:
        args[arg.key] = value
    declared[arg.key] = DeclaredArg(arg.key, value or "", arg.doc, instruction.location, uses)


def _epoch(text: str) -> int | None:
    if not text:
        return None
    value = integer(text) if _INTEGER.fullmatch(text) else None
    if value is None or value not in EPOCHS:
        raise DockerfileError(f"invalid SOURCE_DATE_EPOCH: {text}", hint="Set it to a number of seconds since 1970.")
    return value


def _add_stage(lowering: Lowering, stage: df.Stage, number: int) -> None:
    """Add a stage of the Dockerfile to the graph, its FROM expanded."""
    location = stage.base.location
    base, used = _expand_from(lowering, stage.base, stage.base.base)
    base_name = base.text
    if not base_name:
        raise DockerfileError(f"base name ({stage.base.base}) should not be blank", location=location)
    state = stage_of(stage, base_name, number)
    state.outline.args.update(lowering.meta_args)
    if stage.base.platform:
        state.platform, arguments = _platform(lowering, stage.base)
        used |= arguments
    if stage.name:
        platform = state.platform or (None if lowering.implicit_platform else lowering.platform)
        state.named_context = find_named(lowering.options, stage.name, platform)
    lowering.graph.add(state)
    if state.named_context:
        state.base = None
        return
    state.outline.used |= used
    own = state.base is None and base_name != SCRATCH
    state.steps = own + count_steps(stage.instructions)
    state.ignore_cache = lowering.options.ignores_cache(stage.name)


def _expand_from(lowering: Lowering, base: df.From, word: str) -> tuple[Expansion, frozenset[str]]:
    """Expand a word of a FROM; also return the variables that it uses."""
    expansion = lowering.expand_global(base, word, lowering.global_args)
    known = lowering.global_args.keys() | lowering.meta_args.keys()
    for name in sorted(expansion.unmatched - known):
        hint = did_you_mean(name, sorted(known), case_sensitive=True)
        lowering.checks.under(base.comments).report(rules.UNDEFINED_ARG_IN_FROM, base.location, name, hint)
    return expansion, expansion.matched


def _platform(lowering: Lowering, base: df.From) -> tuple[Platform, frozenset[str]]:
    """Return the platform of `FROM --platform`, and the variables that it uses."""
    args, checks = lowering.global_args, lowering.checks.under(base.comments)
    expansion, used = _expand_from(lowering, base, base.platform)
    text = expansion.text
    if used == frozenset({"TARGETPLATFORM"}) and not expansion.unmatched and text == args["TARGETPLATFORM"]:
        checks.report(rules.REDUNDANT_TARGET_PLATFORM, base.location, base.platform)
    hint = next(
        filter(None, (did_you_mean(name, args, case_sensitive=True) for name in sorted(expansion.unmatched))), ""
    )
    if not text:
        raise DockerfileError(f"empty platform value from expression {base.platform}{hint}", location=base.location)
    try:
        platform = platforms.parse(text)
    except UsageError as error:
        raise DockerfileError(
            f"failed to parse platform {base.platform}: {error.message}{hint}", location=base.location
        ) from error
    constant = not used and not expansion.unmatched
    if constant and platform.os not in base.name and platform.architecture not in base.name:
        checks.report(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, base.location, quote(text))
    return platform, used


def _find_target(lowering: Lowering) -> StageState:
    graph, name = lowering.graph, lowering.options.target
    if not name:
        return graph.stages[-1]
    stage = graph.find(name)
    if stage is None:
        hint = did_you_mean(name, graph.names(), case_sensitive=True)
        raise DockerfileError(f"target stage {quote(name)} could not be found{hint}")
    return stage


def _resolve(lowering: Lowering, target: StageState, metadata: Metadata, *, every_stage: bool) -> set[StageState]:
    """Resolve the bases of the needed stages, and return those stages.

    A trigger of a base image may need further stages and images, so this is repeated until nothing new is needed.
    """
    while True:
        needed = reachable(target)
        resolve_bases(lowering, set(lowering.graph.stages) if every_stage else needed, metadata)
        news = False
        for stage in lowering.graph.stages:
            if stage in needed:
                stage.inherit()
                news |= read_triggers(lowering, stage)
        if not news:
            return needed


def _lower_stage(lowering: Lowering, stage: StageState) -> None:
    stage.inherit()
    stage.dispatched = True
    stage.platform = stage.platform or lowering.platform
    config = stage.config.config
    if stage.platform.os != "windows" and not any(pair.partition("=")[0] == "PATH" for pair in config.env):
        stage.configure(env=(*config.env, f"PATH={DEFAULT_PATH_UNIX}"))
    stage.state = msgspec.structs.replace(
        stage.state.with_environ(stage.config.config.env),
        hostname=lowering.options.hostname or stage.state.hostname,
        user=config.user or stage.state.user,
        network=lowering.options.network,
    )
    if config.working_dir:
        lower_config.enter_directory(stage, config.working_dir)
    for command in stage.commands:
        try:
            _lower_instruction(Step(lowering, stage, command))
        except BuildError as error:
            error.at(command.instruction.location)
            raise


def _lower_instruction(step: Step) -> None:
    instruction = step.command.instruction
    if not isinstance(instruction, df.Arg):  # its default may be overridden before it is used
        instruction = instruction.expand(step.expand)
    if isinstance(instruction, df.Files):
        instruction = instruction.expand_heredocs(
            lambda text: step.lowering.expand(step.stage, instruction, text, _HEREDOCS)
        )
    _HANDLERS[type(instruction)](step, instruction)


def _finish(lowering: Lowering, target: StageState) -> LoweredTarget:
    target.paths.add("/")  # a local context that is itself the target
    if lowering.options.labels:
        target.configure(labels=target.config.config.labels | lowering.options.labels)
    return LoweredTarget(
        platform=platforms.normalise(lowering.platform),
        edge=lowering.lazy.settle(target.state.edge),
        scanned={name: lowering.lazy.settle(edge) for name, edge in _scanned(lowering, target)},
        config=_with_platform(target.config, lowering),
        base=target.base_config,
        epoch=lowering.epoch,
        outline=outline_of(target),
    )


def _scanned(lowering: Lowering, target: StageState) -> Iterator[tuple[str, Edge | None]]:
    """Return the values of BUILDKIT_SBOM_SCAN_CONTEXT and BUILDKIT_SBOM_SCAN_STAGE: true, or a list of stages."""

    def asked(stage: StageState, name: str) -> bool:
        value = stage.build_args.get(name) or lowering.global_args.get(name, "")
        truth = parse_bool(value) if value else False
        return stage.label in value.split(",") if truth is None else truth

    if asked(target, SCAN_CONTEXT):
        yield "context", lowering.context
    needed = reachable(target)
    for stage in lowering.graph.stages:
        if stage is not target and stage in needed and not stage.implicit and asked(stage, SCAN_STAGE):
            yield stage.label, stage.state.edge


def _with_platform(config: ImageConfig, lowering: Lowering) -> ImageConfig:
    """Return the config for the requested platform; without one, for its own platform in normal form."""
    own, target = config.platform, lowering.platform
    if not lowering.implicit_platform:
        same = (target.os, target.architecture) == (own.os, own.architecture)
        own = Platform(
            architecture=target.architecture,
            os=target.os,
            os_version=target.os_version or (own.os_version if same else ""),
            os_features=target.os_features or own.os_features,
            variant=target.variant or (own.variant if same else ""),
        )
    own = platforms.normalise(own)
    return msgspec.structs.replace(
        config,
        architecture=own.architecture,
        os=own.os,
        os_version=own.os_version,
        os_features=own.os_features,
        variant=own.variant,
    )
