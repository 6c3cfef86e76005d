"""One table has the options of a build: command lines, keyword arguments and the shown docker command agree by it."""

import inspect
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuild_magic import build, check
from pybuild_magic.api.arguments import BuildArguments, options_of
from pybuild_magic.errors import UsageError
from pybuild_magic.notebook.magics import BuildMagics
from pybuild_magic.request.command import equivalent_command
from pybuild_magic.request.flags import Kind
from pybuild_magic.request.lockfile import VARIABLE
from pybuild_magic.request.options import BuildOptions
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.request.table import OPTIONS

NOT_IN_PYTHON = {"debug", "call", "check", "quiet", "policies", "dry_run", "into", "background"}
"""Options without a keyword argument: `check` and `background` have functions and a parameter of their own."""

WORDS = {
    "add-host": ["a:10.0.0.1", "b=[::1]", "c:1.2.3.4,d:5.6.7.8"],
    "allow": ["network.host", "security.insecure"],
    "annotation": ["a=b", "index:c=d e", "manifest[linux/amd64]:f=g"],
    "attest": ["type=sbom,generator=x", 'type=provenance,mode=max,"builder-id=a,b"'],
    "build-arg": ["A=1", "B=", "C=x y 'z'"],
    "build-context": ["base=docker-image://busybox", "x=."],
    "builder": ["mine"],
    "cache-from": ["user/app", 'type=local,"src=/a,b"'],
    "cache-to": ['type=local,"dest=/a,b"', "type=inline"],
    "call": ["check", "outline,format=json", "targets"],
    "cgroup-parent": ["/x"],
    "file": ["docker/a b.Dockerfile"],
    "iidfile": ["id file"],
    "label": ["a=b", "c", "d=e=f"],
    "metadata-file": ["m.json"],
    "network": ["none", "host", "default"],
    "no-cache-filter": ["a,b", "c"],
    "output": ["type=image,name=x", 'type=oci,"dest=a,b.tar",compression=zstd', "type=cacheonly", "type=registry"],
    "platform": ["linux/amd64", "linux/arm64,linux/arm/v7"],
    "policy": ["filename=p.rego"],
    "progress": ["plain", "rawjson"],
    "provenance": ["mode=max", "false", "true"],
    "resource": ["memory=1g", "cpu-shares=2"],
    "sbom": ["true", "generator=x"],
    "secret": ["id=a,env=A", 'id=b,"src=x,y"', "id=c"],
    "shm-size": ["64m", "1024"],
    "ssh": ["default", "a=/s", "b=/k,/l"],
    "tag": ["a", "registry.example/b:1"],
    "target": ["stage"],
    "ulimit": ["nofile=1:2", "core=-1"],
    "into": ["result"],
    "view": ["layers"],
}
"""Values of each flag that takes some."""

HERE_ONLY = {"progress"} | {option.field for option in OPTIONS if option.notebook and option.name != "locked"}
"""Fields that no docker command has."""


def test_every_field_of_the_options_has_a_row_and_every_row_a_field():
    rows = {option.field for option in OPTIONS}
    assert rows == set(BuildOptions.__struct_fields__) - {"dockerfile", "context"}
    assert {option.name for option in OPTIONS if option.kind is not Kind.BOOL} == set(WORDS)
    for position, option in enumerate(OPTIONS):
        assert callable(option.parse)
        assert callable(option.compile)
        assert callable(option.show)
        above = {row.field for row in OPTIONS[:position] if not row.shorthand}
        assert option.shorthand is (option.field in above), "a shorthand is read after what it is short for"


def test_the_typed_arguments_are_those_of_the_table():
    hints = get_type_hints(BuildArguments)
    rows = {option.argument: option for option in OPTIONS}
    assert set(hints) == set(rows) - NOT_IN_PYTHON
    of_kind = {
        Kind.BOOL: {bool},
        Kind.ONE: {str, str | Path, str | int, str | None, str | bool | None},
        Kind.MANY: {str | Iterable[str], str | Iterable[str] | None, Mapping[str, str] | None},
    }
    for name, hint in hints.items():
        assert hint in of_kind[rows[name].kind], name


@pytest.mark.parametrize("function", [build, check])
def test_help_names_every_argument_with_its_default_and_meaning(function):
    parameters = inspect.signature(function).parameters
    assert set(BuildArguments.__annotations__) <= set(parameters)
    assert parameters["tags"].default == ()
    assert parameters["network"].default == "default"
    assert parameters["progress"].default == "plain"
    assert parameters["push"].default is False
    assert parameters["tags"].annotation == "str | Iterable[str]"
    assert ":param labels: Add a label to the image (`--label KEY=VALUE`)." in inspect.getdoc(function)


def test_the_settings_offer_the_progress_of_the_flag():
    (row,) = (option for option in OPTIONS if option.name == "progress")
    assert tuple(BuildMagics.progress.values) == row.choices


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"network": "bogus"}, "--network 'bogus' is not known"),
        ({"progress": "bogus"}, "--progress 'bogus' is not known"),
        ({"labels": {"": "x"}}, "--label '=x' is not NAME=VALUE"),
        ({"build_args": {"": "x"}}, "--build-arg '=x' has no name"),
        ({"build_contexts": {"": "."}}, "--build-context '=.' is not NAME=VALUE"),
        ({"add_hosts": {"a": ""}}, "--add-host 'a=' is not HOST:IP"),
        ({"pull": "maybe"}, "--pull must be true or false"),
        ({"file": "Dockerfile"}, "file= has no meaning"),
        ({"tag": "a"}, r"build\(\) has no argument 'tag'"),
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
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    assert options_of("FROM scratch\n").build_args == {"SOURCE_DATE_EPOCH": "7"}


@pytest.mark.parametrize("name", sorted(set(WORDS) - {"call", "policy", "into", "file"}))
def test_each_argument_is_read_as_its_flag(name, monkeypatch):
    (option,) = (option for option in OPTIONS if option.name == name)
    words = WORDS[name] if option.kind is Kind.MANY else WORDS[name][:1]
    argv = [f"--{name}={word}" for word in words]
    pairs = option.argument in ("add_hosts", "build_args", "build_contexts", "labels")
    if name == "add-host":
        argument = {"a": "10.0.0.1", "b": "[::1]", "c": "1.2.3.4,d:5.6.7.8"}
    else:
        argument = dict(word.partition("=")[::2] for word in words) if pairs else words
    given_argument = argument if option.kind is Kind.MANY else argument[0]
    options = options_of("FROM scratch\n", **{"progress": "auto", option.argument: given_argument})
    assert options == parse_options(argv, dockerfile="FROM scratch\n")


def of_command(command: str) -> BuildOptions:
    """Read a shown command as a shell and buildx would."""
    line, _, heredoc = command.partition(" <<'DOCKERFILE'\n")
    words = shlex.split(line)
    locked = words[0].startswith(f"{VARIABLE}=")  # the lock, which buildx has a variable for and no flag
    words = words[locked:]
    assert words[:3] == ["docker", "buildx", "build"]
    words = words[3:]
    dockerfile = heredoc.removesuffix("DOCKERFILE") if heredoc else None
    if heredoc:
        at = words.index("-f")
        assert words[at : at + 2] == ["-f", "-"]
        del words[at : at + 2]
    options = parse_options(words, dockerfile=dockerfile, environ={})
    return msgspec.structs.replace(options, locked=locked)


def comparable(options: BuildOptions) -> BuildOptions:
    """Return the options as the command has them: with what is the default said, and without what is of notebooks."""
    shown = of_command(equivalent_command(options))
    defaults = msgspec.structs.asdict(BuildOptions())
    return msgspec.structs.replace(
        options,
        outputs=options.outputs or shown.outputs,
        context=options.context or ".",
        **{name: defaults[name] for name in HERE_ONLY},
    )


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
@pytest.mark.parametrize("short", [False, True], ids=["long", "short"])
def test_each_flag_survives_the_way_to_a_shown_command_and_back(option, short):
    flag = f"-{option.short}" if short and option.short else f"--{option.name}"
    for word in WORDS.get(option.name, [""]):
        argv = [flag] if option.kind is Kind.BOOL else [flag, word]
        options = parse_options([*argv, "."], environ={})
        assert options != parse_options(["."], environ={}) or (option.name, word) == ("network", "default")
        assert of_command(equivalent_command(options)) == comparable(options)


FLAGS = [
    [f"--{option.name}"] if option.kind is Kind.BOOL else [f"--{option.name}", word]
    for option in OPTIONS
    for word in WORDS.get(option.name, [""])
]


@given(st.lists(st.sampled_from(FLAGS), max_size=8), st.booleans())
def test_any_flags_together_survive_the_way_to_a_shown_command_and_back(flags, cell):
    argv = [word for flag in flags for word in flag if not cell or flag[0] != "--file"]
    options = parse_options(argv, dockerfile="FROM scratch\nRUN x\n" if cell else None, environ={})
    shown = of_command(equivalent_command(options))
    assert shown == comparable(options)
    # And the request is the same, save for the random name of the build.
    try:
        request = compile_request(options)
    except UsageError:
        return
    assert msgspec.structs.replace(compile_request(shown), ref=request.ref) == request


def test_the_shown_command_quotes_values_with_commas():
    caches = ["--cache-to", 'type=local,"dest=a,b"', "--cache-from", 'type=local,"src=a,b"']
    options = parse_options([*caches, "--secret", 'id=s,"src=x,y"', "."], environ={})
    assert options.cache_to[0].attrs == {"dest": "a,b"}
    words = shlex.split(equivalent_command(options))[3:]
    shown = parse_options(words, environ={})
    assert (shown.cache_to, shown.cache_from, shown.secrets) == (options.cache_to, options.cache_from, options.secrets)
