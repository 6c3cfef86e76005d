"""Source policies: the examples of BuildKit's own documentation and behaviour, and the same rules through BuildKit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pybuild_magic.errors import BuildError
from pybuild_magic.llb.ops import Edge, FileAction, FileMkfile, FileOp, Node, SourceOp
from pybuild_magic.llb.sourcepolicy import decode, evaluate, rewrite
from tests.services.buildkit import Engine

IMAGE = "docker-image://docker.io/library/"


def rule(action: str, identifier: str, to: str = "", match: str = "WILDCARD", **attrs: str) -> dict[str, object]:
    updates = {"updates": {"identifier": to, "attrs": attrs}} if to or attrs else {}
    return {"action": action, "selector": {"identifier": identifier, "match_type": match}, **updates}


def become(identifier: str, *rules: object, **attrs: str) -> SourceOp:
    return evaluate(decode(json.dumps({"rules": rules}).encode(), "policy"), SourceOp(identifier, attrs))


CONVERSIONS = {
    "exact": ([rule("CONVERT", f"{IMAGE}a:1", f"{IMAGE}b:1", "EXACT")], f"{IMAGE}a:1", f"{IMAGE}b:1"),
    "exact is the whole": ([rule("CONVERT", f"{IMAGE}a", f"{IMAGE}b", "EXACT")], f"{IMAGE}a:1", f"{IMAGE}a:1"),
    "a chain": (
        [rule("CONVERT", f"{IMAGE}a:1", f"{IMAGE}b:1"), rule("CONVERT", f"{IMAGE}b:1", f"{IMAGE}c:1")],
        f"{IMAGE}a:1",
        f"{IMAGE}c:1",
    ),
    "a wildcard": ([rule("CONVERT", f"{IMAGE}go:*", f"{IMAGE}go:${{1}}-x", "WILDCARD"),
                    rule("ALLOW", "*")], f"{IMAGE}python:1", f"{IMAGE}python:1"),
    "a wildcard's part": (
        [rule("CONVERT", f"{IMAGE}*:latest", f"{IMAGE}$1:stable")], f"{IMAGE}go:latest", f"{IMAGE}go:stable",
    ),
    "an expression's groups": (
        [rule("CONVERT", r"docker\.io/library/(?P<n>[a-z]+):(1)\.[0-9]+$", "docker.io/mine/${n}:$2$$", "REGEX")],
        f"{IMAGE}go:1.22",
        "docker-image://docker.io/mine/go:1$",
    ),
    "no such group": ([rule("CONVERT", "^(a)b$", "$1$7c${7}d", "REGEX")], "ab", "ad"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_source_is_replaced(name: str) -> None:
    rules, identifier, expected = CONVERSIONS[name]
    assert become(identifier, *rules).identifier == expected


def test_attributes_are_added() -> None:
    url = "https://example.org/f"
    op = become(url, rule("CONVERT", url, url, **{"http.checksum": "sha256:1"}), **{"http.filename": "f"})
    assert op == SourceOp(url, {"http.filename": "f", "http.checksum": "sha256:1"})


def test_the_last_rule_that_fits_counts() -> None:
    allow, deny = rule("ALLOW", f"{IMAGE}a:1"), rule("DENY", "docker-image://*")
    assert become(f"{IMAGE}a:1", deny, allow).identifier
    for rules in ([allow, deny], [deny]):
        with pytest.raises(BuildError, match="denied by policy: source denied by policy"):
            become(f"{IMAGE}a:1", *rules)


def test_replacing_without_end_is_refused() -> None:
    with pytest.raises(BuildError, match="too many mutations on a single source"):
        become("a", rule("CONVERT", "a", "b"), rule("CONVERT", "b", "a"))


def test_constraints_are_about_attributes() -> None:
    def constrained(condition: str, value: str) -> dict[str, object]:
        key = {"key": "git.checksum", "condition": condition, "value": value}
        return {"action": "DENY", "selector": {"identifier": "*", "constraints": [key]}}

    for condition, value, denied in [
        ("EQUAL", "abc", True), ("EQUAL", "ab", False), ("NOTEQUAL", "abc", False), ("NOTEQUAL", "", True),
        ("MATCHES", "^a", True), ("MATCHES", "^b", False), (2, "c$", True),
    ]:  # fmt: skip
        try:
            become("git://x", constrained(condition, value), **{"git.checksum": "abc"})  # type: ignore[arg-type]
        except BuildError:
            assert denied, (condition, value)
        else:
            assert not denied, (condition, value)


def test_a_graph_is_rewritten_only_where_it_changes() -> None:
    policy = decode(json.dumps({"rules": [rule("CONVERT", "docker-image://a", "docker-image://b")]}).encode(), "p")
    changed, same = Node(SourceOp("docker-image://a")), Node(SourceOp("docker-image://c"))
    op = FileOp((FileAction(FileMkfile("/f", 0o644, b"")),))
    top, kept = Node(op, (Edge(changed),)), Node(op, (Edge(same),))
    digest = top.digest
    first, second = rewrite(policy, [Edge(top), Edge(kept)])
    assert first and second
    assert first.node.inputs[0].node.op == SourceOp("docker-image://b")
    assert first.node.digest == Node(op, (Edge(Node(SourceOp("docker-image://b"))),)).digest != digest
    assert second.node is kept


POLICIES = {
    "an image that is denied": [rule("DENY", f"{IMAGE}busybox:*")],
    "all contexts": [rule("DENY", "local://context")],
    "the Dockerfile": [rule("DENY", "local://dockerfile")],
    "an invalid wildcard": [rule("DENY", "docker-image://**")],
    "a conversion to nothing": [{"action": "CONVERT", "selector": {"identifier": f"{IMAGE}busybox:latest"}}],
    "without end": [
        rule("CONVERT", f"{IMAGE}busybox:latest", f"{IMAGE}b:1"),
        rule("CONVERT", f"{IMAGE}b:1", f"{IMAGE}busybox:latest"),
    ],
}
"""What BuildKit refuses by a policy, too."""


@pytest.mark.parametrize("name", POLICIES)
def test_refused_as_by_buildkit(name: str, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pybuild_magic
    from pybuild_magic.request.lockfile import VARIABLE

    monkeypatch.setenv("PYBUILD_HOME", str(tmp_path / "home"))
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"rules": POLICIES[name]}))
    monkeypatch.setenv(VARIABLE, str(policy))
    dockerfile = f"FROM {'scratch' if 'context' in name else 'busybox'}\nCOPY f /f\n"
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("f")
    theirs = engine.buildx_build(context, dockerfile=dockerfile, env={VARIABLE: str(policy)}, check=False)
    assert theirs.returncode
    with pytest.raises(BuildError) as caught:
        pybuild_magic.build(dockerfile, context, progress="none")
    said = theirs.stderr.strip().splitlines()[-1]
    assert said.endswith(caught.value.message), said
