"""The methods of `--call`: questions that the front end answers without building."""

from __future__ import annotations

import msgspec

from ...dockerfile import outline
from ...dockerfile.checks import Checks, Finding
from ...dockerfile.document import Dockerfile
from ...dockerfile.lower import compile  # noqa: A004 - the front end's verb
from ...dockerfile.lower_options import LowerOptions
from ...dockerfile.metadata import ImageResolver
from ...dockerfile.parser import parse
from ...errors import BuildError, UnsupportedError
from ...request import calls
from ...request.calls import (
    Answer,
    Failure,
    Lint,
    Location,
    Needed,
    Outline,
    Source,
    Target,
    Targets,
)
from .inputs import BuildInputs


def answer(method: str, definition: BuildInputs, options: LowerOptions, resolver: ImageResolver) -> dict[str, str]:
    """Return the exporter response to a request with the ID `method`.

    The answer is for the builder's platform, whatever the request's is, as in BuildKit. Raises BuildError, except that
    a check includes the error in its answer.
    """
    options = msgspec.structs.replace(options, platforms=())
    if method == calls.METHODS["check"]:
        return calls.response(_check(definition, options, resolver))
    if method == calls.METHODS["targets"]:
        return calls.response(_targets(definition))
    if method == calls.METHODS["outline"]:
        return calls.response(_outline(definition, options, resolver))
    raise UnsupportedError(
        f"The embedded builder does not support --call={method}.", hint="Use check, outline or targets."
    )


def _check(definition: BuildInputs, options: LowerOptions, resolver: ImageResolver) -> Answer:
    findings: list[Finding] = []
    error: Failure | None = None
    text = definition.read()
    try:
        checks = Checks(definition.check_options(text), findings.append)
        dockerfile = definition.parse(text, checks)
        compile(dockerfile, definition.complete(options), resolver, checks, every_stage=not options.target)
    except BuildError as failure:
        error = Failure(failure.message, Location.of(failure.location))
    source = Source(definition.filename, _bytes(text), "Dockerfile")
    return Lint(warnings=tuple(map(_warning, findings)) or None, sources=(source,), error=error)


def _warning(finding: Finding) -> calls.Violation:
    return calls.Violation(
        rule_name=finding.rule.name,
        description=finding.rule.description,
        url=finding.rule.url,
        detail=finding.message,
        location=Location.of(finding.location),
    )


def _outline(definition: BuildInputs, options: LowerOptions, resolver: ImageResolver) -> Answer:
    text = definition.read()
    (target,) = compile(definition.parse(text), definition.complete(options), resolver)
    outline = target.outline
    return Outline(
        name=outline.name,
        description=outline.doc,
        args=tuple(
            calls.Arg(name=arg.name, description=arg.doc, value=arg.value, location=Location.of(arg.location))
            for arg in outline.args
        ),
        secrets=tuple(map(_needed, outline.secrets)),
        ssh=tuple(map(_needed, outline.ssh)),
        sources=(_bytes(text),),
    )


def _needed(argument: outline.Needed) -> Needed:
    return Needed(name=argument.name, required=argument.required, location=Location.of(argument.location))


def _targets(definition: BuildInputs) -> Answer:
    text = definition.read()
    return Targets(targets=_stages(parse(text, definition.filename)) or None, sources=(_bytes(text),))


def _stages(dockerfile: Dockerfile) -> tuple[Target, ...]:
    last = len(dockerfile.stages) - 1
    return tuple(
        Target(
            name=stage.name,
            default=number == last,
            description=stage.base.doc,
            base=stage.base.base,
            platform=stage.base.platform,
            location=Location.of(stage.base.location),
        )
        for number, stage in enumerate(dockerfile.stages)
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
