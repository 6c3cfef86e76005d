"""What a builder attests, in a form that can be compared: without times and ids, and what only one machine knows."""

from __future__ import annotations

import copy
from typing import Any

_METADATA = "https://mobyproject.org/buildkit@v1#metadata"
_OF_THE_CLIENT = ("oci.session", "oci.store", "local.session", "local.unique")


def comparable(statement: dict[str, Any]) -> dict[str, Any]:
    """Return a statement of SLSA v0.2 without its subject's digest, times, ids, and digests that a client decides.

    The digest of a vertex is the client's when it reads a local directory or a layout, or what does. The blobs that
    hold a step's layers are those that a builder happens to have, and are compared elsewhere.
    """
    found = copy.deepcopy(statement)
    found.pop("subject", None)
    predicate = found["predicate"]
    metadata = predicate["metadata"]
    for name in ("buildInvocationID", "buildStartedOn", "buildFinishedOn"):
        assert metadata.pop(name)
    args = predicate["invocation"]["parameters"].get("args", {})
    args.pop("frontend.caps", None)  # for front ends that know no named contexts
    for name, value in args.items():
        if value.startswith("oci-layout://"):
            args[name] = "oci-layout://"
    own = metadata[_METADATA]
    own.pop("layers", None)
    for config in (predicate["buildConfig"], *own.get("source", {}).get("infos", ())):
        _without_clients(config)
    return found


def _without_clients(config: dict[str, Any]) -> None:
    client: set[str] = set()
    for step in config.get("llbDefinition", ()):
        source = step["op"]["Op"].get("source", {})
        attrs = source.get("attrs", {})
        for name in _OF_THE_CLIENT:
            attrs.pop(name, None)
        if "attrs" in source and not attrs:
            del source["attrs"]
        inputs = {text.partition(":")[0] for text in step.get("inputs", ())}
        if source.get("identifier", "").startswith(("local://", "oci-layout://")) or inputs & client:
            client.add(step["id"])
    mapping = {step: digest for digest, step in config.get("digestMapping", {}).items()}
    config["digestMapping"] = {step: "" if step in client else mapping[step] for step in sorted(mapping)}


def attachment(entry: dict[str, Any], manifest: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return how a statement is attached: the index's entry, the manifest and the config, without digests and sizes."""
    return {
        "entry": _anonymous(entry),
        "manifest": _anonymous(manifest),
        "config": {**config, "rootfs": {**config["rootfs"], "diff_ids": len(config["rootfs"]["diff_ids"])}},
    }


def _anonymous(value: Any) -> Any:
    if isinstance(value, dict):
        changing = ("digest", "size", "vnd.docker.reference.digest")
        return {key: "" if key in changing else _anonymous(item) for key, item in value.items()}
    return [_anonymous(item) for item in value] if isinstance(value, list) else value
