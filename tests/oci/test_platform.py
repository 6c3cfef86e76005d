"""Platforms: what they are called, which are one, and which runs on which."""

from __future__ import annotations

import pytest

from pybuild_magic.errors import UsageError
from pybuild_magic.oci.platform import Platform, best, host, matches, normalise, parse, rank


@pytest.mark.parametrize(
    ("text", "parsed", "normal"),
    [
        ("linux/amd64", "linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386", "linux/386"),
        ("linux/aarch64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6", "linux/arm/v6"),
        ("macos/arm64", "darwin/arm64", "darwin/arm64"),
        ("windows(10.0.17763)/amd64", "windows/amd64", "windows/amd64"),
        ("linux/riscv64", "linux/riscv64", "linux/riscv64"),
    ],
)
def test_a_specifier_is_parsed_and_has_one_normal_form(text: str, parsed: str, normal: str) -> None:
    assert (str(parse(text)), str(normalise(parse(text)))) == (parsed, normal)


def test_what_is_left_out_is_the_hosts() -> None:
    assert parse("linux").architecture == host().architecture
    assert parse("arm64").os == host().os


@pytest.mark.parametrize("text", ["", "nothing", "linux/*", "a/b/c/d", "linux/amd 64", "linux/", "linux(/amd64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a platform"):
        parse(text)


@pytest.mark.parametrize(
    ("machine", "image", "runs"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/386", True),
        ("linux/386", "linux/amd64", False),
        ("linux/amd64", "linux/amd64/v2", False),
        ("linux/amd64/v3", "linux/amd64/v2", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm/v7", True),
        ("linux/arm64/v9", "linux/arm64/v8.5", True),
        ("linux/arm64/v9", "linux/arm64/v8.6", False),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/amd64", "darwin/amd64", False),
        ("linux/amd64", "linux/arm64", False),
        ("windows(10.0.17763.1)/amd64", "windows(10.0.17763.9)/amd64", True),
        ("windows(10.0.17763)/amd64", "windows(10.0.20348)/amd64", False),
    ],
)
def test_an_image_runs_where_containerd_would_run_it(machine: str, image: str, runs: bool) -> None:
    assert matches(parse(machine), parse(image)) is runs


def test_the_best_offer_wins() -> None:
    offers = [(parse("linux/386"), "old"), (parse("linux/amd64"), "new")]
    assert best(parse("linux/amd64"), offers) == "new"
    assert best(parse("linux/s390x"), offers) is None
    assert rank(parse("linux/arm64"), parse("linux/arm/v8")) == 1


def test_features_of_the_operating_system_show_in_the_full_form() -> None:
    platform = Platform("amd64", "windows", "10.0.17763", ("win32k",))
    assert platform.full == "windows(10.0.17763+win32k)/amd64"
    assert parse(platform.full) == platform
