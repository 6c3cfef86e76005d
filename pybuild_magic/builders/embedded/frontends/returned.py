"""Results in the gateway protocol: file systems and metadata, by platform."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ....attest.given import GivenAttestation, checked
from ....attest.statement import Itself, Subject
from ....dockerfile.lower import LoweredTarget
from ....dockerfile.outline import Outline
from ....errors import SourceError
from ....golang.json import dumps
from ....llb.ops import Edge
from ....oci import config as image_config
from ....oci import platform as platforms
from ....oci.config import ImageConfig
from ....oci.platform import Platform
from ....oci.timestamp import EPOCHS
from ....untrusted.foreign import integer
from ...proto import gateway_pb2 as gw
from .result import DefinitionError, FrontendResult, Origin

CONFIG = "containerimage.config"
BASE_CONFIG = "containerimage.base.config"
PLATFORMS = "refs.platforms"
EPOCH = "source.date.epoch"
_MAX_PLATFORMS = 100

AddRef = Callable[[Edge | None, Origin | None], gw.Ref]


class _PlatformEntry(msgspec.Struct, frozen=True, rename="upper"):
    id: str
    platform: Platform = msgspec.field(name="Platform")


class _PlatformList(msgspec.Struct, frozen=True):
    platforms: list[_PlatformEntry] | None = msgspec.field(name="Platforms", default=None)


def result_of(
    refs: Mapping[str, tuple[Edge | None, Origin | None]],
    metadata: Mapping[str, bytes],
    epoch: int | None,
    *,
    multi_platform: bool,
    attestations: Mapping[str, list[tuple[GivenAttestation, Edge]]] | None = None,
) -> FrontendResult:
    """Return the result of a front end: file systems by platform id, or a single one under "".

    `epoch` is the request's own. Raises DefinitionError for a result that no exporter could write.
    """
    if len(refs) > _MAX_PLATFORMS:
        raise DefinitionError(f"the front end returned {len(refs)} platforms")
    listed = _platforms(metadata.get(PLATFORMS, b""))
    targets: list[tuple[LoweredTarget, Origin | None]] = []
    for name, (edge, origin) in refs.items():
        if multi_platform and name not in listed:
            raise DefinitionError(f"unable to find platform {name} in the result of the front end")
        suffix = f"/{name}" if multi_platform else ""
        config = _config(metadata, CONFIG + suffix)
        platform = listed.get(name) or (config.platform if config else next(iter(listed.values()), None))
        platform = platforms.normalise(platform or platforms.host())
        own_epoch = read_epoch(metadata.get(EPOCH + suffix, b""))
        target = LoweredTarget(
            platform=platform,
            edge=edge,
            config=config or image_config.empty(platform),
            base=_config(metadata, BASE_CONFIG + suffix),
            epoch=epoch if own_epoch is None else own_epoch,
            outline=Outline("", "", (), (), ()),
        )
        targets.append((target, origin))
    order = list(listed)
    targets.sort(key=lambda pair: order.index(name) if (name := pair[0].platform.full) in order else len(order))
    origins = tuple(origin for _, origin in targets)
    full = {name: platform.full for name, platform in listed.items()}
    attested = {full.get(name, name): given for name, given in (attestations or {}).items()}
    return FrontendResult(tuple(target for target, _ in targets), dict(metadata), multi_platform, origins, attested)


def message_of(result: FrontendResult, add_ref: AddRef) -> gw.Result:
    """Return a result in the form in which another front end receives it."""
    if not result.targets:
        return gw.Result(ref=gw.Ref(), metadata=result.metadata)
    metadata: dict[str, bytes] = {}
    refs: dict[str, gw.Ref] = {}
    entries: list[_PlatformEntry] = []
    for target, origin in zip(result.targets, result.origins, strict=True):
        name = target.platform.full
        suffix = f"/{name}" if result.multi_platform else ""
        entries.append(_PlatformEntry(name, target.platform))
        metadata[CONFIG + suffix] = target.config.encode()
        if target.base:
            metadata[BASE_CONFIG + suffix] = target.base.encode()
        if target.epoch is not None:
            metadata[EPOCH + suffix] = str(target.epoch).encode()
        refs[name] = add_ref(target.edge, origin)
    metadata[PLATFORMS] = dumps(
        {"Platforms": [{"ID": entry.id, "Platform": entry.platform.document()} for entry in entries]}
    )
    if result.multi_platform:
        return gw.Result(refs=gw.RefMap(refs=refs), metadata=metadata)
    return gw.Result(ref=next(iter(refs.values())), metadata=metadata)


def given_attestation(sent: gw.Attestation) -> GivenAttestation:
    """Return an attestation as it was sent. Raises BuildError for one that is not complete."""
    subjects: list[Subject | Itself] = []
    for subject in sent.inTotoSubjects:
        raw = Subject(subject.name or "_", tuple(subject.digest))
        subjects.append(raw if subject.kind == gw.Raw else Itself(subject.name))
    given = GivenAttestation(
        sent.path, sent.kind == gw.Bundle, dict(sent.metadata), sent.inTotoPredicateType, tuple(subjects)
    )
    return checked(given, has_content=bool(sent.ref.id))


def _platforms(data: bytes) -> dict[str, Platform]:
    if not data:
        return {}
    try:
        entries = msgspec.json.decode(data, type=_PlatformList).platforms or []
    except (msgspec.MsgspecError, RecursionError) as error:
        raise DefinitionError(f"the platforms of the front end's result cannot be read: {error}") from None
    return {entry.id: entry.platform for entry in entries}


def _config(metadata: Mapping[str, bytes], name: str) -> ImageConfig | None:
    data = metadata.get(name, b"")
    try:
        return image_config.decode(data) if data else None
    except SourceError as error:
        raise DefinitionError(f"failed to parse image config of the front end's result: {error.message}") from None


def read_epoch(data: bytes) -> int | None:
    """Return the seconds of a SOURCE_DATE_EPOCH; None when it is empty. Raises DefinitionError."""
    if not data:
        return None
    value = integer(data.decode("ascii", "replace"))
    if value is None or value not in EPOCHS:
        raise DefinitionError(f"invalid SOURCE_DATE_EPOCH: {data.decode('ascii', 'replace')}")
    return value
