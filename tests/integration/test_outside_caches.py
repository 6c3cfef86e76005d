"""Caches outside: written by one builder and read by the other, or by a new store; and those that lie."""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.errors import BuildError, UsageError
from pybuild_magic.result import BuildResult
from pybuild_magic.store import Store
from tests.services.buildkit import Engine
from tests.services.registry import Registry

from .lab import Home, presentable

STEPS = ("COPY", "RUN", "WORKDIR", "ADD")
FILES = {"a/f": "f\n", "a/g": "g\n", "b.txt": "b\n", "c.txt": "c\n", "run.sh": "cat /m/o /etc/hostname >/n || true\n"}
DOCKERFILE = """FROM busybox AS build
WORKDIR /{token}
COPY a a
COPY --chown=nobody *.txt t/
ADD --chmod=711 run.sh /
RUN echo {token} >/o && mkdir /d && cp /o /d
FROM busybox
COPY --from=build /o /d /w/
COPY --link b.txt /linked
RUN --mount=from=build,source=/d,target=/m --mount=type=cache,target=/c --mount=type=secret,id=s sh -c 'cat /m/o >/n'
COPY --exclude=*.txt . /rest
"""


@pytest.fixture
def dockerfile() -> str:
    """One that no builder has built."""
    return DOCKERFILE.replace("{token}", "t" + secrets.token_hex(6))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / f"context-{secrets.token_hex(4)}"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def states(result: BuildResult) -> dict[str, bool]:
    """Whether each step was CACHED, by its instruction."""
    found = {vertex.name.partition("] ")[2]: bool(vertex.cached) for vertex in result.vertexes}
    return {name: cached for name, cached in found.items() if name.startswith(STEPS)}


def engine_states(engine: Engine, *arguments: str | Path) -> dict[str, bool]:
    """As `states`, of a build by BuildKit."""
    command = ("buildx", "build", "--progress=rawjson", "--provenance=false", "--output=type=cacheonly", *arguments)
    log = engine.docker(*command).stderr
    messages = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    last: dict[str, dict[str, Any]] = {}
    for vertex in (vertex for message in messages for vertex in message.get("vertexes", ())):
        last[vertex["digest"]] = {**last.get(vertex["digest"], {}), **vertex}
    found = {vertex["name"].partition("] ")[2]: bool(vertex.get("cached")) for vertex in last.values()}
    return {name: cached for name, cached in found.items() if name.startswith(STEPS)}


@pytest.fixture(params=["local", "registry"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The values of --cache-to and --cache-from of a cache of each type."""
    if request.param == "local":
        yield f"type=local,dest={tmp_path}/cache,mode=max", f"type=local,src={tmp_path}/cache"
        return
    registry: Registry = request.getfixturevalue("registry")
    ref = f"{registry.host}/cache-{secrets.token_hex(4)}:x"
    yield f"type=registry,ref={ref},mode=max", f"type=registry,ref={ref}"


def test_a_new_store_finds_every_step_that_another_has_exported(
    home: Home, dockerfile: str, context: Path, place: tuple[str, str], store_template: Path, tmp_path: Path
) -> None:
    to, source = place
    first = home.build(dockerfile, str(context), cache_to=to, outputs=f"type=tar,dest={tmp_path}/1.tar")
    assert not any(states(first).values())
    home.close()
    shutil.rmtree(home.root)
    shutil.copytree(store_template, home.root)
    again = home.build(dockerfile, str(context), cache_from=source, outputs=f"type=tar,dest={tmp_path}/2.tar")
    assert all(states(again).values()), states(again)
    assert len(states(again)) == len(states(first))
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    # What has come is kept, and the next build needs the cache no more.
    assert all(states(home.build(dockerfile, str(context), outputs="type=cacheonly")).values())
    home.check()


def test_buildkit_finds_every_step_that_this_builder_has_exported(
    home: Home, engine: Engine, dockerfile: str, context: Path, place: tuple[str, str], tmp_path: Path
) -> None:
    to, source = place
    ran = states(home.build(dockerfile, str(context), cache_to=to, outputs="type=cacheonly"))
    (tmp_path / "Dockerfile").write_text(dockerfile)
    found = engine_states(engine, f"--cache-from={source}", "--file", tmp_path / "Dockerfile", context)
    assert found == dict.fromkeys(ran, True)


def test_this_builder_finds_every_step_that_buildkit_has_exported(
    home: Home, engine: Engine, dockerfile: str, context: Path, place: tuple[str, str], tmp_path: Path
) -> None:
    to, source = place
    (tmp_path / "Dockerfile").write_text(dockerfile)
    ran = engine_states(engine, f"--cache-to={to}", "--file", tmp_path / "Dockerfile", context)
    result = home.build(dockerfile, str(context), cache_from=source, outputs=f"type=local,dest={tmp_path}/out")
    assert states(result) == dict.fromkeys(ran, True)
    assert (tmp_path / "out/n").read_text() == (tmp_path / "out/w/o").read_text()
    home.check()


def test_an_image_carries_its_cache_to_both_builders(
    home: Home, engine: Engine, registry: Registry, store_template: Path, dockerfile: str, context: Path, tmp_path: Path
) -> None:
    stage = dockerfile.partition("FROM busybox\n")[0]
    ref = f"{registry.host}/inline-{secrets.token_hex(4)}:x"
    first = home.build(stage, str(context), tags=ref, push=True, cache_to="type=inline")
    (tmp_path / "Dockerfile").write_text(stage)
    arguments = ("--file", tmp_path / "Dockerfile", context)
    found = engine_states(engine, f"--cache-from={ref}", *arguments)
    assert found
    assert all(found.values())  # of the steps before the last it may say nothing
    home.close()
    shutil.rmtree(home.root)
    shutil.copytree(store_template, home.root)
    assert states(home.build(stage, str(context), cache_from=ref)) == dict.fromkeys(states(first), True)


def test_layers_come_only_when_something_reads_them(
    home: Home, registry: Registry, store_template: Path, tmp_path: Path
) -> None:
    mark = secrets.token_hex(8)
    stages = f"FROM busybox AS build\nRUN echo {mark} >/large\nFROM scratch\nCOPY --from=build /large /\n"
    ref = f"{registry.host}/lazy-{mark}:x"
    first = home.build(stages, cache_to=f"type=registry,ref={ref},mode=max", outputs="type=cacheonly")
    assert len(states(first)) == 2
    home.close()
    shutil.rmtree(home.root)
    shutil.copytree(store_template, home.root)
    seen = len(registry.requests())
    again = home.build(stages, cache_from=ref, outputs=f"type=local,dest={tmp_path}/out")
    assert all(states(again).values())
    assert (tmp_path / "out/large").read_text() == f"{mark}\n"
    blobs = {request.path for request in registry.requests()[seen:] if "/blobs/" in request.path}
    assert len(blobs) == 2, blobs  # the records, and the one layer of the result
    # A step that reads the first stage has its layer fetched, and nothing is run again but itself.
    more = home.build(f"{stages}COPY --from=build /bin/busybox /b\n", cache_from=ref, outputs="type=cacheonly")
    assert list(states(more).values()) == [True, True, False]


Change = Callable[[Path, dict[str, Any]], None]
"""Changes the directory of a cache, and the config in it, which is then written with its new digest."""


def _circle(_: Path, config: dict[str, Any]) -> None:
    step = next(n for n, record in enumerate(config["records"]) if "inputs" in record)
    config["records"][step]["inputs"] = [[{"link": step}]]


def _circle_of_layers(_: Path, config: dict[str, Any]) -> None:
    config["layers"][0]["parent"] = 0


def _no_such_record(_: Path, config: dict[str, Any]) -> None:
    next(record for record in config["records"] if "inputs" in record)["inputs"] = [[{"link": 1 << 40}]]


def _no_such_layer(_: Path, config: dict[str, Any]) -> None:
    next(record for record in config["records"] if "layers" in record)["layers"][0]["layer"] = 99


def _empty_input(_: Path, config: dict[str, Any]) -> None:
    next(record for record in config["records"] if "inputs" in record)["inputs"] = [[]]


def _wrong_types(_: Path, config: dict[str, Any]) -> None:
    config["records"] = {"a": 1}


def _large(_: Path, config: dict[str, Any]) -> None:
    config["more"] = "x" * (1 << 20)


def _deep(_: Path, config: dict[str, Any]) -> None:
    config["more"] = json.loads("[" * 200 + "]" * 200)


CONFIGS: dict[str, Change] = {
    "circle": _circle,
    "circle of layers": _circle_of_layers,
    "no such record": _no_such_record,
    "no such layer": _no_such_layer,
    "empty input": _empty_input,
    "wrong types": _wrong_types,
    "large": _large,
    "deep": _deep,
}


def _no_change(_: Path, config: dict[str, Any]) -> None:
    _ = config


def rewrite(cache: Path, change: Change = _no_change, describe: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Change the config of a cache, how its layers are described, and the documents that name it by its digest."""

    def blob(digest: str) -> Path:
        return cache / "blobs" / digest.replace(":", "/")

    def put(value: dict[str, Any]) -> tuple[str, int]:
        data = json.dumps(value, separators=(",", ":")).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        blob(digest).write_bytes(data)
        return digest, len(data)

    index = json.loads((cache / "index.json").read_bytes())
    manifest = json.loads(blob(index["manifests"][0]["digest"]).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
    change(cache, config)
    manifest["config"]["digest"], manifest["config"]["size"] = put(config)
    for layer in manifest["layers"] if describe else ():
        describe(layer)
    index["manifests"][0]["digest"], index["manifests"][0]["size"] = put(manifest)
    (cache / "index.json").write_text(json.dumps(index))


@pytest.fixture
def cache(home: Home, store_template: Path, tmp_path: Path) -> Path:
    """A cache of `STEP`, which the store knows nothing of."""
    home.build(STEP, cache_to=f"type=local,dest={tmp_path}/cache,mode=max", outputs="type=cacheonly")
    home.close()
    shutil.rmtree(home.root)
    shutil.copytree(store_template, home.root)
    return tmp_path / "cache"


STEP = "FROM busybox\nRUN echo a >/a\nRUN echo b >/b\n"


def built_without(home: Home, cache: Path, tmp_path: Path, *, ran: int = 2) -> str:
    """Build STEP with a cache that is no good; what is said of that."""
    result = home.build(STEP, cache_from=f"type=local,src={cache}", outputs=f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/b").read_text() == "b\n"
    assert list(states(result).values()).count(False) == ran, states(result)
    assert not [vertex for vertex in result.vertexes if vertex.error]
    (warning,) = result.warnings
    home.check()
    return warning.short


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_is_none_is_warned_of(home: Home, cache: Path, tmp_path: Path, name: str) -> None:
    rewrite(cache, CONFIGS[name])
    said = built_without(home, cache, tmp_path)
    assert said.startswith(f"The build continues without the cache {cache}.")
    assert "The cache's config" in said or "of the cache's config" in said or "at most 1048576 are accepted" in said


def layers_of(cache: Path) -> list[dict[str, Any]]:
    index = json.loads((cache / "index.json").read_bytes())
    manifest = (cache / "blobs" / index["manifests"][0]["digest"].replace(":", "/")).read_bytes()
    return json.loads(manifest)["layers"]


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "larger": lambda layer: layer.update(size=1 << 50),
    "smaller": lambda layer: layer.update(size=1),
    "negative": lambda layer: layer.update(size=-1),
    "no number": lambda layer: layer.update(size="x"),
    "other content": lambda layer: layer["annotations"].update({"containerd.io/uncompressed": "sha256:" + "0" * 64}),
    "no digest": lambda layer: layer["annotations"].update({"containerd.io/uncompressed": "../../etc/passwd"}),
    "no type": lambda layer: layer.update(mediaType="text/html"),
    "a time without end": lambda layer: layer["annotations"].update({"buildkit/createdat": "9" * 5000}),
}


@pytest.mark.parametrize("name", LIES)
def test_what_a_cache_says_of_its_layers_may_be_a_lie(home: Home, cache: Path, tmp_path: Path, name: str) -> None:
    """Then it is warned of, or the cache has none of these layers; a step is never given another's."""
    rewrite(cache, describe=LIES[name])
    result = home.build(STEP, cache_from=f"type=local,src={cache}", outputs=f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/b").read_text() == "b\n"
    assert all(states(result).values()) is (name == "a time without end")
    assert not [vertex for vertex in result.vertexes if vertex.error]
    home.check()


def test_a_layer_that_unpacks_without_end_is_warned_of(home: Home, cache: Path, tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(1 << 20)) * (1 << 10)
    digest = "sha256:" + hashlib.sha256(bomb).hexdigest()
    (cache / "blobs" / digest.replace(":", "/")).write_bytes(bomb)
    top: list[str] = []

    def bombs(_: Path, config: dict[str, Any]) -> None:
        layers = config["layers"]
        below = {layer.get("parent", 0) for layer in layers}
        (layer,) = (layer for number, layer in enumerate(layers) if number not in below)
        top.append(layer["blob"])
        layer["blob"] = digest

    def describe(layer: dict[str, Any]) -> None:
        if layer["digest"] in top:
            layer.update(digest=digest, size=len(bomb))

    rewrite(cache, bombs, describe)
    assert built_without(home, cache, tmp_path).startswith("The build starts again without its caches.")
    assert sum(path.stat().st_size for path in home.root.rglob("*") if path.is_file()) < 100 << 20


def test_a_config_in_which_all_links_to_all_is_read_soon(home: Home, cache: Path, tmp_path: Path) -> None:
    def dense(_: Path, config: dict[str, Any]) -> None:
        first = len(config["records"])
        for number in range(first, first + 350):
            ways = [{"link": link} for link in range(first, number)] or [{"link": 0}]
            config["records"].append({"digest": f"sha256:{number:064x}", "inputs": [ways]})

    rewrite(cache, dense)
    assert all(states(home.build(STEP, cache_from=f"type=local,src={cache}", outputs="type=cacheonly")).values())


def _records(config: dict[str, Any]) -> None:
    config["records"] += [{"digest": "x"}] * ((1 << 20) // 20)


def _links(config: dict[str, Any]) -> None:
    config["records"].append({"digest": "x", "inputs": [[{"link": 0}] * ((1 << 20) // 16)]})


def _stacks(config: dict[str, Any]) -> None:
    """Layers that all have as many as there may be below them, each of which some record has."""
    layers, blob = config["layers"], config["layers"][0]["blob"]
    layers.append({"blob": blob, "parent": -1})
    for _ in range(498):
        layers.append({"blob": blob, "parent": len(layers) - 1})
    top = len(layers) - 1
    layers += [{"blob": blob, "parent": top} for _ in range(6500)]
    config["records"].append({"digest": "x", "layers": [{"layer": n} for n in range(top, len(layers))]})


def _chains(config: dict[str, Any]) -> None:
    chain = {"layers": [0] * 500}
    config["records"].append({"digest": "x", "chains": [chain] * 1000})


@pytest.mark.parametrize("fill", [_records, _links, _stacks, _chains])
def test_a_config_that_is_full_is_read_soon(home: Home, cache: Path, fill: Callable[[dict[str, Any]], None]) -> None:
    def change(_: Path, config: dict[str, Any]) -> None:
        fill(config)
        assert (1 << 19) < len(json.dumps(config, separators=(",", ":"))) < 1 << 20

    rewrite(cache, change)
    started = time.monotonic()
    assert all(states(home.build(STEP, cache_from=f"type=local,src={cache}", outputs="type=cacheonly")).values())
    assert time.monotonic() - started < 10


def test_a_cache_without_its_layers_has_no_results(home: Home, cache: Path) -> None:
    for layer in layers_of(cache):
        (cache / "blobs" / layer["digest"].replace(":", "/")).unlink()
    assert not any(states(home.build(STEP, cache_from=f"type=local,src={cache}", outputs="type=cacheonly")).values())


@pytest.mark.parametrize("how", ["reversed", "spoilt"])
def test_layers_that_are_others_are_warned_of_and_nothing_of_them_is_kept(
    home: Home, cache: Path, tmp_path: Path, how: str
) -> None:
    for layer in layers_of(cache):
        blob = cache / "blobs" / layer["digest"].replace(":", "/")
        data = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(data[::-1] if how == "reversed" else data[:-20] + bytes(20))
    digests = {layer["digest"] for layer in layers_of(cache)}
    with Store(home.root) as store:
        known = {digest for digest in digests if store.blobs.has(digest)}
    assert built_without(home, cache, tmp_path).startswith("The build starts again without its caches.")
    with Store(home.root) as store:
        assert {digest for digest in digests if store.blobs.has(digest)} == known


@pytest.mark.parametrize("file", ["config", "manifest"])
def test_a_document_with_another_digest_is_warned_of(home: Home, cache: Path, tmp_path: Path, file: str) -> None:
    index = json.loads((cache / "index.json").read_bytes())
    manifest = cache / "blobs" / index["manifests"][0]["digest"].replace(":", "/")
    config = cache / "blobs" / json.loads(manifest.read_bytes())["config"]["digest"].replace(":", "/")
    path = {"config": config, "manifest": manifest}[file]
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"sha256:", b"sha256:", 1)[:-1] + b" ")
    assert "digest does not match" in built_without(home, cache, tmp_path)


def _add(cache: Path, data: bytes, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (cache / "blobs/sha256" / digest).write_bytes(data)
    return {"digest": f"sha256:{digest}", "size": len(data), **more}


MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


def _nested_config(cache: Path, depth: int = 1_000_000) -> dict[str, Any]:
    """An image whose config is nested without end."""
    config = _add(cache, b'{"a":' + b"[" * depth + b"]" * depth + b"}", mediaType=CONFIG)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    return _add(cache, json.dumps(manifest).encode(), mediaType=MANIFEST)


def _large_config(cache: Path) -> dict[str, Any]:
    """An image whose config is said to be larger than any memory."""
    config = {"mediaType": CONFIG, "digest": "sha256:" + "1" * 64, "size": 1 << 50}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    return _add(cache, json.dumps(manifest).encode(), mediaType=MANIFEST)


def _index_of_indexes(cache: Path) -> dict[str, Any]:
    """An index whose manifest is an index: none can name itself by its digest, but may say what another is."""
    inner = _add(cache, json.dumps({"schemaVersion": 2, "manifests": []}).encode(), mediaType=MANIFEST)
    return _add(cache, json.dumps({"schemaVersion": 2, "manifests": [inner]}).encode(), mediaType=INDEX)


def _many_images(cache: Path) -> dict[str, Any]:
    """An index of so many images that to look into each would take minutes."""
    image = _large_config(cache)
    return _add(cache, json.dumps({"schemaVersion": 2, "manifests": [image] * 20_000}).encode(), mediaType=INDEX)


def _nested_manifest(cache: Path) -> dict[str, Any]:
    data = b'{"schemaVersion":2,"layers":[],"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    return _add(cache, data, mediaType=MANIFEST)


@pytest.mark.parametrize("make", [_nested_config, _large_config, _index_of_indexes, _many_images, _nested_manifest])
def test_an_image_that_is_a_bomb_is_warned_of(
    home: Home, cache: Path, tmp_path: Path, make: Callable[[Path], dict[str, Any]]
) -> None:
    (cache / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [make(cache)]}))
    assert built_without(home, cache, tmp_path).startswith(f"The build continues without the cache {cache}.")


def test_what_is_no_cache_and_what_is_not_there(home: Home, registry: Registry, tmp_path: Path) -> None:
    ref = f"{registry.host}/image-{secrets.token_hex(4)}:x"
    home.build("FROM busybox\nRUN echo x >/x\n", tags=ref, push=True)
    for source, words in (
        (ref, "is neither a cache nor an image with a cache"),
        (f"{registry.host}/nothing:x", "was not found"),
    ):
        result = home.build(STEP, cache_from=source, outputs="type=cacheonly")
        (warning,) = result.warnings
        assert words in warning.short
    # A directory is often made by the build that reads it, too.
    assert not home.build(STEP, cache_from=f"type=local,src={tmp_path}/new", outputs="type=cacheonly").warnings


def test_attributes_are_checked_before_the_build(home: Home) -> None:
    for options, words in (
        ({"cache_to": "type=local,dest=x,moed=max"}, 'Did you mean "mode"?'),
        ({"cache_to": "type=local"}, "needs dest="),
        ({"cache_to": "type=regsitry,ref=x"}, 'Did you mean "registry"?'),
        ({"cache_to": "type=registry,ref=x/y,mode=most"}, "one of min, max"),
        ({"cache_to": "type=registry,ref=x/y,image-manifest=true,oci-mediatypes=false"}, "conflicts"),
        ({"cache_from": "type=local,src=x,digest=y"}, "is not a digest"),
        ({"cache_from": "type=registry,ref=x/UPPER"}, "must be lowercase"),
    ):
        error = presentable(home.fails(STEP, **options))
        assert isinstance(error, UsageError)
        assert words in f"{error.message} {error.hint}"


def test_an_export_that_fails_is_an_error_or_a_warning(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    to = f"type=local,dest={tmp_path}/file/cache"
    error = home.fails(STEP, cache_to=to, outputs="type=cacheonly")
    assert isinstance(error, BuildError)
    assert "cannot be written" in error.message
    result = home.build(STEP, cache_to=f"{to},ignore-error=true", outputs="type=cacheonly")
    assert [warning.short.partition(".")[0] for warning in result.warnings] == ["The cache could not be exported"]


def test_no_secret_is_in_a_record(home: Home, tmp_path: Path) -> None:
    secret = "s3cr3t" + secrets.token_hex(8)
    (tmp_path / "secret").write_text(secret)
    home.build(
        "FROM busybox\nARG TOKEN\nRUN --mount=type=secret,id=s wc -c /run/secrets/s >/n\nRUN test -n $TOKEN\n",
        secrets=f"id=s,src={tmp_path}/secret",
        build_args={"TOKEN": f"arg-{secret}"},
        cache_to=f"type=local,dest={tmp_path}/cache,mode=max,compression=uncompressed",
        outputs="type=cacheonly",
    )
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) > 4
    assert not [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize("form", ["zstd", "gzip", "uncompressed"])
def test_the_form_of_a_cache_is_what_is_asked_for(home: Home, tmp_path: Path, form: str) -> None:
    to = f"type=local,dest={tmp_path}/cache,mode=max,compression={form},force-compression=true"
    home.build(STEP, cache_to=f"{to},oci-mediatypes=false", outputs="type=cacheonly")
    index = json.loads((tmp_path / "cache/index.json").read_bytes())["manifests"][0]
    assert index["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    document = json.loads((tmp_path / "cache/blobs" / index["digest"].replace(":", "/")).read_bytes())
    kinds = {entry["mediaType"] for entry in document["manifests"]}
    packed = "" if form == "uncompressed" else f".{form}"
    layer = f"application/vnd.docker.image.rootfs.diff.tar{packed}"
    assert kinds == {layer, "application/vnd.buildkit.cacheconfig.v0"}
