"""Bake files: resolved as `docker buildx bake --print` resolves them, and built, with targets as contexts of others."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pybuild_magic.api.bake import bake, plan
from pybuild_magic.builders import embedded_builder
from pybuild_magic.errors import BuildError, UsageError
from pybuild_magic.images.load import load_image
from pybuild_magic.notebook.bake_command import bake_line
from tests.integration.lab import close_builder
from tests.services.baseimages import BaseImage
from tests.services.buildkit import Engine

FILE = r"""
variable "TAG" { default = "latest" }
variable "N" { default = 2 }
function "tagged" {
  params = [name]
  variadic_params = more
  result = "${name}:${TAG}-${length(more)}"
}
group "default" { targets = ["app", "db"] }
target "base" {
  args = { A = 1, B = "x${N}", C = null, D = true }
  labels = { "a.b" = "c" }
  tags = ["base"]
}
target "app" {
  inherits = ["base"]
  dockerfile = "Dockerfile.app"
  tags = [tagged("app", 1, 2), "x/${upper("y")}"]
  args = { B = "over" }
  platforms = ["linux/amd64", "linux/arm64"]
  output = ["type=docker", "out", {type="image", push=true}]
  cache-from = ["user/app:cache", "type=local,src=/c"]
  cache-to = [{type = "inline"}]
  secret = ["id=s,src=secret", {id="t", env="T"}, "type=env,id=q,source=Z"]
  ssh = []
  attest = ["type=provenance,mode=max", {type="sbom"}]
  no-cache = true
  network = "host"
  contexts = { alpine = "docker-image://alpine", dep = "target:db" }
  shm-size = "128m"
  ulimits = ["nofile=1024:1024"]
  extra-hosts = { h = "1.2.3.4" }
  annotations = ["index:a=b"]
  entitlements = ["security.insecure"]
  description = "the app"
}
target "db" {
  dockerfile-inline = <<EOT
FROM scratch
LABEL a=${TAG}
EOT
  context = "db"
  target = "x"
  pull = false
  no-cache-filter = ["a", "b"]
}
"""
MATRIX = r"""
target "app" {
  name = "app-${v}-${replace(w.n, ".", "_")}"
  matrix = { v = ["a", "b"], w = [{n="1.2", p="linux/amd64"}, {n="2", p="linux/arm64"}] }
  args = { V = v, W = w.n }
  platforms = [w.p]
  tags = ["${target.base.tags[0]}-${v}"]
}
target "base" { tags = ["q"] }
group "all" { targets = ["app", "base"] }
"""
GROUPS = """
target "a" {
 tags = ["1"]
 args = {x = "1"}
}
target "a" { args = {y = "2"} }
group "g" { targets = ["a","h"] }
group "h" { targets = ["b"] }
target "b" {}
"""
VARIABLES = """
variable "PB_PLAIN" {}
variable "PB_LIST" { default = ["a"] }
variable "PB_NUM" { default = 1 }
variable "PB_BOOL" { default = false }
variable "PB_TYPED" {
  type = list(string)
  default = []
}
variable "UNSET" { type = string }
target "default" {
  args = { h = PB_PLAIN, n = PB_NUM + 1, b = PB_BOOL, t = join("-", PB_TYPED), bp = BAKE_LOCAL_PLATFORM }
}
"""
JSON = json.dumps(
    {
        "variable": {"T": {"default": "v1"}},
        "group": {"default": {"targets": ["a"]}},
        "target": {
            "a": {"tags": ["x:${T}"], "args": {"Q": "${upper(T)}", "E": "$${T}"}, "output": ["type=docker"]},
            "b": {},
        },
    }
)
COMPOSE = """
services:
  db:
    image: postgres
  web:
    image: me/web:${PB_NUM:-1}
    build:
      context: ./web
      dockerfile: ../web.Dockerfile
      args:
        A: 1
        B: ${PB_NONE:-fallback}
      labels: ["x=y"]
      target: run
      cache_from: ["type=registry,ref=me/cache"]
      shm_size: 128m
      extra_hosts: ["h:1.2.3.4"]
      additional_contexts:
        base: service:base
      secrets: [token]
      x-bake:
        tags: [me/web:extra]
        platforms: linux/amd64
  base:
    build: ./base
secrets:
  token:
    file: ./secret
"""
OVERRIDES = [
    "app.args.B=new", "*.platform=linux/arm64", "app.tags=one", "app.tags=two", "app.output=type=local,dest=o",
    "db.context=elsewhere", "app.no-cache=false", "app.labels.z=q", "app.cache-from+=type=gha", "app.push=true",
]  # fmt: skip
CASES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "a file": ("docker-bake.hcl", FILE, [], []),
    "overrides": ("docker-bake.hcl", FILE, ["app"], OVERRIDES),
    "one target": ("docker-bake.hcl", FILE, ["db"], []),
    "a pattern": ("docker-bake.hcl", FILE, ["*"], []),
    "a matrix in a group": ("docker-bake.hcl", MATRIX, ["all"], []),
    "a matrix": ("docker-bake.hcl", MATRIX, ["app"], []),
    "blocks of one name": ("docker-bake.hcl", GROUPS, ["g"], []),
    "variables": ("docker-bake.hcl", VARIABLES, [], []),
    "JSON": ("docker-bake.json", JSON, [], []),
    "JSON, all": ("docker-bake.json", JSON, ["a", "b"], []),
    "Compose": ("compose.yaml", COMPOSE, [], []),
    "Compose, one": ("compose.yaml", COMPOSE, ["base"], ["base.args.x=y"]),
}
EXPRESSIONS = [
    r'x > 2 && true ? "yes" : "no"',
    r'join(",", [for i in y : "${i}"])',
    r"jsonencode(m)",
    r'format("%s-%03d-%5.2f-%t-%q-%v", "s", 7, 3.14159, true, "q", [1,"a"])',
    r"x / 2",
    r"-x + 10 % 4",
    r'try(nosuch.a, "fallback")',
    r"can(m.A)",
    r'trimspace("  z ")',
    r'regex("([a-z]+)-([0-9]+)", "abc-12")[1]',
    r'regex_replace("a-b", "(.)-(.)", "$2-$1")',
    r'"$${literal} %%{x} \t tab \"q\" \u00e9"',
    r'"${x}"',
    r'coalesce("", null, "c")',
    r'element(["a","b"], 3)',
    r'substr("hello", 1, 3)',
    r'split("/", "a/b/c")[2]',
    r'merge({a="1"}, {b="2"})["b"]',
    r'title("hello world")',
    r'timeadd("2020-01-01T00:00:00Z", "1h30m")',
    r"""formatdate("YYYY-MM-DD'T'hh:mm", "2020-03-04T05:06:07Z")""",
    r'sha256("a")',
    r'base64encode("hi")',
    r'urlencode("a b&c")',
    r'indexof(["x","y"], "y")',
    r'contains(["a"], "a")',
    r'[for k in sort(["b","a"]) : k][0]',
    r'basename("/a/b.c")',
    r'sanitize("a.b/c")',
    r'strlen("héy")',
    r"1e3",
    r"1.50",
    r"max(1, 5, 3)",
    r"keys({b=1,a=2})[0]",
    r'length(setunion(["a"],["b","a"]))',
    r'flatten([["a"],["b",["c"]]])[2]',
    r'chomp("x\n")',
    r"""<<-EOT
      indented
        more ${x}
    EOT""",
    r"10 / 4",
    r"!true",
    r"x == 3",
    r'"a" == "a"',
    r"int(3.7)",
    r'parseint("ff", 16)',
    r'dirname("/a/b")',
    r'uuidv5("dns", "example.org")',
    r'zipmap(["a"],["z"]).a',
    r'slice(["a","b","c"],1,3)[0]',
    r'uuidv5("6ba7b811-9dad-11d1-80b4-00c04fd430c8", "a")',
    r'md5("a")',
    r"pow(2, 10)",
    r"ceil(1.2)",
    r'cidrhost("10.12.112.0/20", 16)',
    r'cidrhost("10.12.112.0/20", -1)',
    r'cidrhost("fd00:fd12:3456:7890::/72", 34)',
    r'cidrnetmask("172.16.0.0/12")',
    r'cidrsubnet("172.16.0.0/12", 4, 2)',
    r'cidrsubnet("fd00:fd12:3456:7890::/56", 16, 162)',
    r'join(" ", cidrsubnets("10.1.0.0/16", 4, 4, 8, 4))',
    r'"%{ if x > 2 }yes%{ else }no%{ endif }!"',
    r'"%{ if x < 2 }yes%{ endif }"',
    r'"%{ for i in y }${i};%{ endfor }"',
    r'"a %{~ for k, v in m ~} ${k}=${v} %{~ endfor ~} b"',
    r'"%{ for i in y }%{ if i > 0 }${i}%{ else }zero%{ endif },%{ endfor }"',
    r'"%%{ if } $${x}"',
    r"""<<-EOT
      %{ for i in y ~}
      item   ${~ i ~}   .
      %{ endfor ~}
      %{ if x == 3 }three%{ else }other%{ endif }
    EOT""",
    r'formatlist("%s!", ["a","b"])[1]',
]
"""Each with x = 3, y = [0, 4, 6] and m = {A = 1.5, B = 2.5}."""
HEAD = """
x = 3
y = [for i in range(4) : i * 2 if i != 1]
m = { for k, v in {a = 1, b = 2} : upper(k) => v + 0.5 }
"""
ENVIRON = {"PB_NUM": "41", "PB_BOOL": "1", "PB_TYPED": "a,b", "PB_PLAIN": "p"}


def theirs(engine: Engine, root: Path, name: str, words: Sequence[str], sets: Sequence[str] = ()) -> Any:
    given = [word for text in sets for word in ("--set", text)]
    done = engine.docker(
        "buildx", "bake", "-f", name, "--print", *given, *words, cwd=root, env={**os.environ, **ENVIRON}
    )
    return ordered(json.loads(done.stdout))


def ordered(document: Any) -> Any:
    """A matrix has no order in Go."""
    for group in document["group"].values():
        group["targets"].sort()
    return document


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("s")
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_resolved_as_by_buildx(case: str, engine: Engine, place: Path) -> None:
    name, text, words, sets = CASES[case]
    (place / name).write_text(text)
    ours = plan(words, files=[name], overrides=sets)
    assert ordered(json.loads(ours.to_json())) == theirs(engine, place, name, words, sets)


def test_expressions_have_the_values_that_buildx_gives_them(engine: Engine, place: Path) -> None:
    args = "\n".join(f"e{number:03} = {text}" for number, text in enumerate(EXPRESSIONS))
    (place / "docker-bake.hcl").write_text(HEAD + 'target "default" {\n args = {\n' + args + "\n}\n}\n")
    ours = json.loads(plan().to_json())["target"]["default"]["args"]
    assert ours == theirs(engine, place, "docker-bake.hcl", [])["target"]["default"]["args"]


ERRORS = {
    'target "a" {\n tags = [\n}\n': "the cell:3: this is no HCL: }",
    'target "default" { tags = [TAGG] }\nvariable "TAG" {}\n': "There is no variable 'TAGG'. Did you mean TAG?",
    'target "default" { tgs = [] }\n': "The target default has no field 'tgs'. Did you mean tags?",
    'a = b\nb = a\ntarget "default" { tags = [a] }\n': "The variable a needs itself: a → b → a.",
    'target "x" {}\n': "failed to find target default",
    'target "a b" {}\n': 'only "[a-zA-Z0-9_-]+" are allowed',
    'target "default" {\n matrix = {a = ["1","2"]}\n}\n': "The matrix of default makes two targets 'default'.",
    'group "default" {\n matrix = {}\n}\n': "matrix is not supported for groups",
    'target "default" { tags = "x" }\n': "default.tags is a text, and not a list.",
    'target "default" { tags = [uper("x")] }\n': "There is no function 'uper'. Did you mean upper?",
    'target "default" { tags = [substr("x")] }\n': "substr() cannot be computed",
    'target "default" { tags = [target.default.tags[0]] }\n': "reference cycle not allowed for target.default.tags",
    'target "default" { contexts = {a = "target:default"} }\n': "infinite loop from default to default",
    'trget "default" {}\n': "A Bake file has no block 'trget'. Did you mean target?",
    'target "default" { tags = ' + "[" * 3000 + "]" * 3000 + " }\n": "The Bake file is nested too deeply.",
    '{"target": ' + "[" * 100_000: "The Bake file is nested too deeply.",
    'function "f" {\n params = [x]\n result = f(x)\n}\ntarget "default" { tags = [f(1)] }\n': "nested too deeply",
    '{"target": []': "the cell:1: is no JSON",
    'variable "A" {\n default = "x"\n validation {\n condition = A == "y"\n error_message = "must be y."\n }\n}\n'
    'target "default" {}\n': "The variable A is not valid: must be y.",
}


@pytest.mark.parametrize("text", ERRORS)
def test_what_is_wrong_is_told(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(text=text)
    assert ERRORS[text] in str(caught.value)


def test_targets_are_built_after_those_that_they_need(
    place: Path, busybox_layout: BaseImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYBUILD_HOME", str(place / "home"))
    close_builder()
    load_image(embedded_builder().store, busybox_layout.path, "busybox")
    text = """
target "app" {
  contexts = { base = "target:base" }
  dockerfile-inline = <<EOT
FROM base
ARG WHO
RUN echo "$GREETING $WHO" > /said
EOT
  args = { WHO = "world" }
  output = ["out"]
}
target "base" {
  dockerfile-inline = <<EOT
FROM busybox
ENV GREETING=hello
EOT
}
"""
    try:
        results = bake(plan(["app"], text=text, overrides=["app.args.WHO=you"]))
        assert list(results) == ["base", "app"]
        assert (place / "out/said").read_text() == "hello you\n"
        shown = repr(bake_line(["--list"], text))
        assert "app" in shown and "base" in shown
        with pytest.raises(BuildError) as caught:
            bake(plan(["base"], text=text.replace("ENV", "RUN false\nENV")))
        assert caught.value.__notes__ == ["while the target base was built"]
    finally:
        close_builder()
