"""Keyword arguments are read by the table of flags, so they mean and refuse what the flags do."""

import inspect
import shlex

import pytest

from pybuild_magic.api.arguments import BuildArguments, options_of
from pybuild_magic.errors import UsageError
from pybuild_magic.request.flags import FLAGS
from pybuild_magic.request.options import BuildOptions, parse_options
from pybuild_magic.request.solve_request import equivalent_command

_SHORTHANDS = {"check", "load", "push", "provenance", "sbom"}
"""Flags that end up in the field of another."""


def test_every_field_of_the_options_has_a_row():
    rows = {flag.argument for flag in FLAGS}
    assert rows - _SHORTHANDS == set(BuildOptions.__struct_fields__) - {"dockerfile", "context", "call_format"}
    arguments = set(inspect.signature(options_of).parameters) - {"dockerfile", "context"}
    assert arguments == set(BuildArguments.__annotations__)
    assert arguments <= rows


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": "bogus"}, "--network 'bogus' is not known"),
        ({"progress": "bogus"}, "--progress 'bogus' is not known"),
        ({"labels": {"": "x"}}, "--label '=x' is not NAME=VALUE"),
        ({"build_args": {"": "x"}}, "--build-arg '=x' has no name"),
        ({"build_contexts": {"": "."}}, "--build-context '=.' is not NAME=VALUE"),
        ({"add_hosts": {"a": ""}}, "--add-host 'a=' is not HOST:IP"),
        ({"pull": "maybe"}, "--pull is true or false"),
    ],
)
def test_an_argument_is_refused_as_its_flag_is(arguments, says):
    with pytest.raises(UsageError, match=says):
        options_of("FROM scratch\n", **arguments)


def test_an_argument_means_what_its_flag_means(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setenv("DOCKER_DEFAULT_PLATFORM", "linux/arm64")
    assert options_of("FROM scratch\n").platforms == ("linux/arm64",)
    assert options_of("FROM scratch\n", platforms="linux/amd64").platforms == ("linux/amd64",)
    assert options_of("FROM scratch\n", add_hosts={"a": "[::1]"}).add_hosts == (("a", "::1"),)
    line = (
        "-t a -t b --build-arg X=1 --label l= --shm-size 1024 --pull --sbom=true --ulimit nofile=1:2 --progress plain"
    )
    assert options_of(
        "FROM scratch\n",
        tags=["a", "b"],
        build_args={"X": "1"},
        labels={"l": ""},
        shm_size=1024,
        pull=True,
        sbom=True,
        ulimits="nofile=1:2",
    ) == parse_options(shlex.split(line), dockerfile="FROM scratch\n")


def test_the_shown_command_quotes_values_with_commas():
    caches = ["--cache-to", 'type=local,"dest=a,b"', "--cache-from", 'type=local,"src=a,b"']
    options = parse_options([*caches, "--secret", 'id=s,"src=x,y"', "."], environ={})
    assert options.cache_to[0].attrs == {"dest": "a,b"}
    words = shlex.split(equivalent_command(options))[3:]
    shown = parse_options(words, environ={})
    assert (shown.cache_to, shown.cache_from, shown.secrets) == (options.cache_to, options.cache_from, options.secrets)
