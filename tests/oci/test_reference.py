"""Names of images, by the cases that distribution/reference documents."""

from __future__ import annotations

import pytest

from pybuild_magic.errors import UsageError
from pybuild_magic.oci import reference

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "whole", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("jupyter/base-notebook", "docker.io/jupyter/base-notebook", "jupyter/base-notebook"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("Registry/x", "Registry/x", "Registry/x"),
        ("ghcr.io/a/b_c__d-e.f:v1", "ghcr.io/a/b_c__d-e.f:v1", "ghcr.io/a/b_c__d-e.f:v1"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
    ],
)
def test_a_name_is_made_whole_and_familiar_again(text: str, whole: str, familiar: str) -> None:
    ref = reference.parse(text)
    assert (str(ref), ref.familiar) == (whole, familiar)
    assert reference.parse(whole) == ref


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "at least one component"),
        ("Busybox", "must be lowercase"),
        ("a/Busybox:tag", "must be lowercase"),
        ("a" * 64, "64 hexadecimal digits"),
        ("-busybox", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a:" + "x" * 129, "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("../etc", "invalid reference format"),
        ("a@sha256:abc", "invalid reference format"),
        (f"a@sha999:{'0' * 64}", "digest"),
        (f"a@sha256:{'0' * 63}", "digest"),
        ("a/" + "b" * 256, "not be more than 255"),
        ("a" * 100_000, "invalid reference format"),
        ("a\n", "invalid reference format"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        reference.parse(text)


def test_latest_is_the_tag_of_a_bare_name_only() -> None:
    assert str(reference.parse("a").tagged()) == "docker.io/library/a:latest"
    assert str(reference.parse("a:1").tagged()) == "docker.io/library/a:1"
    assert str(reference.parse(f"a@{DIGEST}").tagged()) == f"docker.io/library/a@{DIGEST}"


def test_a_tag_or_digest_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="not a tag"):
        reference.parse("a").with_tag("x/y")
    with pytest.raises(UsageError, match="not a digest"):
        reference.parse("a").with_digest("sha256:../../etc")
