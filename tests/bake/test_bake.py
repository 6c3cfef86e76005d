"""Bake files: resolved as `docker buildx bake --print` resolves them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pybuild_magic.api.bake import Source, plan
from pybuild_magic.api.bakefiles import Origin, reader
from pybuild_magic.errors import UsageError
from pybuild_magic.notebook.bake_command import bake_line
from tests.services.buildkit import Engine


class Key(NamedTuple):
    pem: str
    encrypted: str


def make_key() -> Key:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    encrypted = key.public_key().encrypt(b"a secret", padding.PKCS1v15())
    return Key(key.private_bytes(*form).decode(), base64.b64encode(encrypted).decode())


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
NAMES = r"""
group "app" { targets = ["app", "tool"] }
target "app" {
  context = "cwd://./a/../b"
  contexts = { x = "./c", y = "target:tool" }
  tags = [target.tool.name, bcrypt == "" ? "" : target.tool.dockerfile]
  platforms = ["linux/amd64", "linux/arm64"]
}
target "tool" {
  context = BAKE_CMD_CONTEXT
  dockerfile = "${lower("T.Dockerfile")}"
  platforms = ["linux/amd64", "linux/arm64", "linux/riscv64"]
  entitlements = ["network.host"]
}
target "m" {
  name = "m${n}"
  matrix = { n = ["1", "2"] }
}
target "m" {
  name = "m${n}"
  matrix = { n = ["3"] }
}
bcrypt = "z"
"""
CALLS = json.dumps(
    {
        "FOO": "abc",
        "function": {"f": {"params": ["inp"], "result": "<${upper(inp)}-${FOO}>"}},
        "target": {"app": {"args": {"v": 'pre-${f("foo")}${"}"}'}}},
    }
)
SERVICES = """
name: shop
services:
  base.1:
    build: {context: ./base/, dockerfile: a.Dockerfile}
  web:
    build:
      context: .
      args: {P: "${COMPOSE_PROJECT_NAME}"}
      additional_contexts: {base: "service:base.1", files: ./files/}
      x-bake:
        contexts: {foo: "target:base.1"}
"""
LISTED = """
variable "TAG" {
  default = "latest"
  description = "the tag"
}
variable "N" { default = 2 }
variable "L" { default = ["a", 1] }
variable "T" { type = list(string) }
variable "O" { default = { a = true } }
group "default" { targets = ["b", "_private", "a"] }
group "all" {
  description = "every one"
  targets = ["default"]
}
target "a" { description = "the first" }
target "b" { inherits = ["a"] }
target "_private" {}
"""
LINES = {
    "--push": ["app", "--push"],
    "--load": ["app", "--load"],
    "--no-cache, --pull": ["app", "--no-cache", "--pull"],
    "--no-cache=false": ["app", "--no-cache=false"],
    "--provenance": ["db", "--provenance=mode=max"],
    "--provenance=false": ["app", "--provenance=false", "--sbom=true"],
    "--sbom with a generator": ["db", "--sbom=generator=x/y"],
    "--call": ["db", "--call=outline"],
    "--call build": ["db", "--call=build"],
    "--check": ["app", "--check"],
    "push of two": ["app", "db", "--push", "--set", "db.output=type=local,dest=o"],
    "no push": ["app", "--set", "app.push=false"],
    "an argument of the environment": ["db", "--set", "db.args.PB_NUM", "--set", "db.args.PB_NONE"],
    "added and replaced": ["app", "--set", "app.platform+=linux/s390x", "--set", "app.secrets=id=n,env=PB_NUM"],
    "load beside a file": ["db", "--load", "--set", "db.output=type=oci,dest=x.tar"],
}
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
    "names": ("docker-bake.hcl", NAMES, ["app"], []),
    "all names": ("docker-bake.hcl", NAMES, ["*"], []),
    "functions in JSON": ("docker-bake.json", CALLS, ["app"], []),
    "Compose": ("compose.yaml", COMPOSE, [], []),
    "services": ("compose.yaml", SERVICES, [], []),
    "no service that is built": ("compose.yaml", "services:\n  db: {image: postgres}\n", ["*"], []),
    "Compose, one": ("compose.yaml", COMPOSE, ["base"], ["base.args.x=y"]),
}
KEY = make_key()
RSA = f"rsadecrypt({json.dumps(KEY.encrypted)}, {json.dumps(KEY.pem)})"
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
    r'convert("3", number) + 1',
    r'join(",", convert([3, true], list(string)))',
    r"can(convert([], bool)) ? 1 : convert({a = 1.50}, map(any)).a",
    RSA,
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
        (group["targets"] or []).sort()
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
    ours = plan(words, Source(files=[name]), overrides=sets)
    assert ordered(json.loads(ours.to_json())) == theirs(engine, place, name, words, sets)


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_flags_is_resolved_as_by_buildx(line: str, engine: Engine, place: Path) -> None:
    (place / "docker-bake.hcl").write_text(FILE)
    ours = json.loads(repr(bake_line([*LINES[line], "--print"])))
    # Of an output and of --load, buildx applies either first: one time in eight it forgets --load.
    assert any(ordered(ours) == theirs(engine, place, "docker-bake.hcl", LINES[line]) for _ in range(6))


@pytest.mark.parametrize("form", ["targets", "variables"])
def test_what_is_in_a_file_is_listed_as_by_buildx(form: str, engine: Engine, place: Path) -> None:
    (place / "docker-bake.hcl").write_text(LISTED)
    done = engine.docker("buildx", "bake", f"--list=type={form},format=json", cwd=place)
    assert json.loads(repr(bake_line([f"--list=type={form},format=json"]))) == json.loads(done.stdout)
    table = [line.split() for line in engine.docker("buildx", "bake", f"--list={form}", cwd=place).stdout.splitlines()]
    assert [line.split() for line in repr(bake_line([f"--list={form}"])).splitlines()] == table


TYPED = """
variable "L" {
  type = list(string)
  default = ["a"]
}
variable "N" {
  type = list(number)
  default = [1]
}
variable "O" {
  type = object({name = string, ports = list(number)})
  default = {name = "x", ports = [1, 2]}
}
target "default" { args = { l = join("-", L), n = N[0] + 1, o = O.name, p = O.ports[0] + 1 } }
"""


@pytest.mark.parametrize(
    "variables",
    [
        {"L": 'q,"r,s"', "N": "4,5"},
        {"L_JSON": '["z", "y,x"]', "N_JSON": "[7]", "O_JSON": '{"name": "n", "ports": [5]}'},
        {"L": "csv", "L_JSON": '["json"]'},
        {"L": "", "L_JSON": "[]"},
    ],
    ids=str,
)
def test_typed_variables_have_the_values_that_buildx_reads_from_the_environment(
    variables: dict[str, str], engine: Engine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (place / "docker-bake.hcl").write_text(TYPED)
    assert json.loads(repr(bake_line(["--print"]))) == theirs(engine, place, "docker-bake.hcl", [])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("O", "x", "The variable O is of type object."),
        ("O_JSON", "{", "The variable O cannot be read from JSON"),
        ("O_JSON", "[]", "The variable O is not of type object in O_JSON."),
        ("N", "a", "'a' is not a number."),
        ("N", "", "The variable N is a list, for which an empty text is no value."),
        ("L", "", "The variable L is a list, for which an empty text is no value."),
    ],
)
def test_a_value_of_another_type_is_refused(
    name: str, value: str, says: str, engine: Engine, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    (place / "docker-bake.hcl").write_text(TYPED)
    with pytest.raises(UsageError) as caught:
        bake_line(["--print"])
    assert says in caught.value.message
    assert engine.docker("buildx", "bake", "--print", cwd=place, check=False).returncode != 0


def test_expressions_have_the_values_that_buildx_gives_them(engine: Engine, place: Path) -> None:
    args = "\n".join(f"e{number:03} = {text}" for number, text in enumerate(EXPRESSIONS))
    (place / "docker-bake.hcl").write_text(HEAD + 'target "default" {\n args = {\n' + args + "\n}\n}\n")
    ours = json.loads(plan().to_json())["target"]["default"]["args"]
    assert ours == theirs(engine, place, "docker-bake.hcl", [])["target"]["default"]["args"]


ERRORS = {
    'target "default" { tags = [target.other.dockerfile] }\n': "There is no target 'other'.",
    'target "default" { tags = [byteslen("a")] }\n': "byteslen() is not known here. It counts bytes",
    'target "default" { tags = [rsadecrypt("YQ==", "k")] }\n': "rsadecrypt(): it cannot be decrypted with this key.",
    'target "default" { context = "-" }\n': "context from stdin not allowed in bake",
    'target "default" {\n contexts = {a = "target:b"}\n platforms = ["linux/amd64", "linux/arm64"]\n}\n'
    'target "b" { platforms = ["linux/amd64", "linux/s390x"] }\n': "target b can't be used by default because",
    'target "a" {\n tags = [\n}\n': "the cell:3: not valid HCL: }",
    'target "default" { tags = [TAGG] }\nvariable "TAG" {}\n': "There is no variable 'TAGG'. Did you mean TAG?",
    'target "default" { tgs = [] }\n': "The target default has no field 'tgs'. Did you mean tags?",
    'a = b\nb = a\ntarget "default" { tags = [a] }\n': "The variable a depends on itself: a → b → a.",
    'target "x" {}\n': "failed to find target default",
    'target "a b" {}\n': 'only "[a-zA-Z0-9_-]+" are allowed',
    'target "default" {\n matrix = {a = ["1","2"]}\n}\n': "The matrix of default makes two targets called 'default'.",
    'group "default" {\n matrix = {}\n}\n': "matrix is not supported for groups",
    'target "default" { tags = "x" }\n': "default.tags is a string, but must be a list.",
    'target "default" { tags = [uper("x")] }\n': "There is no function 'uper'. Did you mean upper?",
    'target "default" { tags = [substr("x")] }\n': "substr() cannot be computed",
    'target "default" { tags = [target.default.tags[0]] }\n': "reference cycle not allowed for target.default.tags",
    'target "default" { contexts = {a = "target:default"} }\n': "infinite loop from default to default",
    'trget "default" {}\n': "A Bake file cannot have a block 'trget'. Did you mean target?",
    'target "default" { tags = ' + "[" * 3000 + "]" * 3000 + " }\n": "The Bake file is nested too deeply.",
    '{"target": ' + "[" * 100_000: "The Bake file is nested too deeply.",
    'function "f" {\n params = [x]\n result = f(x)\n}\ntarget "default" { tags = [f(1)] }\n': "nested too deeply",
    '{"target": []': "the cell:1: not valid JSON",
    'variable "A" {\n default = "x"\n validation {\n condition = A == "y"\n error_message = "must be y."\n }\n}\n'
    'target "default" {}\n': "The variable A is not valid: must be y.",
}


@pytest.mark.parametrize("text", ERRORS)
def test_what_is_wrong_is_told(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan((), Source(text=text))
    assert ERRORS[text] in str(caught.value)


TOKEN = "secrets: {tok: {file: ./tok}}\n"
PROJECTS: dict[str, dict[str, str]] = {
    "include": {
        "compose.yaml": "include: [sub/other.yaml]\nservices:\n  a: {build: ./a}\n",
        "sub/other.yaml": "services:\n  b: {build: {context: ./b, args: {X: '${PB_NUM}', Y: '${FROM_ENV}', "
        "Z: '${Q:-z}'}, additional_contexts: {k: ./kk, i: 'docker-image://x'}, ssh: ['default=./key'], "
        "secrets: [tok]}}\n"
        f"  c: {{build: {{dockerfile: D}}}}\n{TOKEN}",
        "sub/.env": "FROM_ENV=yes\nPB_NUM=8\n",
        "sub/tok": "",
        "sub/key": KEY.pem,
    },
    "include, written out": {
        "compose.yaml": "include:\n - path: [sub/other.yaml, sub/over.yaml]\n   project_directory: proj\n"
        "   env_file: my.env\nservices:\n  a: {build: ./a}\n",
        "sub/other.yaml": "services:\n  b: {build: {context: ./b, args: {Y: '${FROM_ENV}'}}}\n",
        "sub/over.yaml": "services:\n  b: {build: {args: [W=1], target: t}}\n",
        "my.env": "FROM_ENV=mine\n",
        "proj/x": "",
    },
    "extends": {
        "compose.yaml": "services:\n  base: {image: i, build: {context: ./b, args: {A: 1, B: 2}, tags: [x], "
        "labels: {l: m}, additional_contexts: {q: ./q}}, environment: {E: f}}\n"
        "  a: {extends: {service: base}, build: {args: [B=3, E], tags: [y, x]}}\n  c: {extends: base}\n",
    },
    "extends a file": {
        "compose.yaml": "services:\n  a: {extends: {service: base, file: sub/other.yaml}, build: {args: {B: 3}}}\n",
        "sub/other.yaml": "services:\n  top: {build: {target: q}, env_file: [top.env]}\n"
        "  base: {extends: top, build: {context: ./b, args: {A: '${PB_NUM}', U: null}}}\n",
        "sub/top.env": "U=1\n",
    },
    "an included file extends": {
        "compose.yaml": "include: [sub/other.yaml]\n",
        "sub/other.yaml": "services:\n  b: {extends: {service: x, file: deep/x.yaml}}\n  c: {extends: b}\n",
        "sub/deep/x.yaml": "services:\n  x: {build: {context: ., dockerfile: D}}\n",
    },
    "profiles": {"compose.yaml": "services:\n  a: {build: ., profiles: [x]}\n  b: {build: .}\n"},
    "env_file": {
        "compose.yaml": "services:\n  a: {build: {context: ., args: [E, F, PB_NUM, G, H, N]}, "
        "env_file: [e.env, {path: none.env, required: false}], environment: {F: own, PB_NUM: 5, H: null}}\n",
        "e.env": "E=file\nF=file\n# c\n\nexport G='quoted $X'\nN=${E}-${PB_NUM}\n",
    },
    ".env": {
        "compose.yaml": "services:\n  a: {build: {context: ., args: {A: '${FROM}', B: '${TWO}', C: '${PB_NUM}', "
        "D: '${ML}', E: '${SP}', F: '${COL}', G: '${Q}', H: '${HASH}', I: '${ESC}', J: '${EM}-'}}}\n",
        ".env": "FROM=dot\nTWO=\"x${FROM}\\ny\" # c\nPB_NUM=9\nML='a\nb'\nSP=  a b # comment\nCOL: z\n"
        'export Q=${NONE:-w}\nHASH=a#b\nESC="\\$FROM\\"q"\nEM=\n',
    },
    "variables": {
        "compose.yaml": "services:\n  a: {build: {context: ., args: {A: '${X:-b}', B: '${X-${PB_NUM:+n}}', "
        "C: '${PB_NUM:+in}', D: '$$x', E: '${PB_NUM-q}', F: '${Y:-${Z:-deep}}', G: 'pre${X:-a}post$PB_NUM.', "
        "H: '${EMPTY}'}, no_cache: '${NC:-true}'}}\n",
    },
    "two documents": {
        "compose.yaml": "services:\n  a: {build: ./a}\n---\nservices:\n  a: {build: {target: z}}\n",
    },
    "anchors": {
        "compose.yaml": "x-b: &b {context: ./a, args: {A: 1}}\nservices:\n  a: {build: {<<: *b, target: q}}\n"
        "  c: {build: *b}\n",
    },
}
MORE_FILES: dict[str, dict[str, str]] = {
    "merged": {
        "one.yaml": "services:\n  a: {build: {context: ./a, args: {A: 1, B: 2}, tags: [t1], labels: [x=1]}}\n",
        "two.yaml": "services:\n  a: {build: {args: [B=3], tags: [t2, t1], labels: {y: 2}, dockerfile: D2}}\n"
        "  z: {build: z}\n",
    },
    "marks": {
        "one.yaml": "services:\n  a: {build: {context: ./a, args: {A: 1}, tags: [t], labels: {l: m}}}\n",
        "two.yaml": "services:\n  a: {build: {args: !reset null, tags: !override [z, '$PB_NUM'], target: !reset x}}\n",
    },
}


@pytest.mark.parametrize("name", [*PROJECTS, *MORE_FILES])
def test_compose_files_are_read_as_buildx_reads_them(
    name: str, place: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PB_NUM", "7")
    for path, text in (PROJECTS | MORE_FILES)[name].items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_text(text)
    files = list(MORE_FILES.get(name, ()))
    flags = [word for path in files for word in ("-f", path)]
    theirs = engine.docker("buildx", "bake", *flags, "--print", cwd=place, env={"PB_NUM": "7"})
    assert json.loads(plan((), Source(files=files)).to_json()) == json.loads(theirs.stdout)


def test_a_compose_file_from_elsewhere_reads_no_file_of_this_machine(place: Path) -> None:
    (place / "own.env").write_text("A=secret\n")
    read = reader(Origin("https://example.com/repo.git"))
    assert read("missing.env") is None
    with pytest.raises(UsageError, match=r"names own\.env, which is on this machine"):
        read("own.env")


COMPOSE_ERRORS = {
    "include: [other.yaml]\nservices: {}\n": "open other.yaml: no such file or directory",
    "include: [compose.yaml]\nservices: {}\n": "include cycle detected: compose.yaml includes compose.yaml",
    "services:\n  a: {build: ., extends: {service: b}}\n": 'cannot extend service "a" in compose.yaml: service "b" not',
    "services:\n  a: {extends: b}\n  b: {extends: a}\n": "Circular reference: a in compose.yaml extends b in compose",
    "services:\n  a: {build: ., env_file: none.env}\n": "env file none.env not found",
    "services:\n  a: {build: '${X:?say it}'}\n": "services.a.build: required variable X is missing a value: say it",
    "services:\n  a: {build: '${X'}\n": "invalid interpolation format for services.a.build: ${X",
    "services:\n  a: {command: x}\n": 'service "a" has neither an image nor a build context specified',
}


@pytest.mark.parametrize("text", COMPOSE_ERRORS)
def test_what_a_compose_file_has_and_is_not_read_is_told(text: str, place: Path) -> None:
    (place / "compose.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        plan()
    assert COMPOSE_ERRORS[text] in str(caught.value)
