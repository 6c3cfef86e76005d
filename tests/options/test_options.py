"""The flags mean what they mean to `docker buildx build`, and a mistake is one line that names the mend."""

import shlex

import pytest

from pybuild_magic.dockerfile.checks import parse_check_options
from pybuild_magic.dockerfile.mount import parse_mount
from pybuild_magic.errors import DockerfileError, UsageError
from pybuild_magic.request.outputs import Output
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.values import CacheEntry, Call, Ulimit, parse_size
from pybuild_magic.session import SecretSource, SSHSource


def options(line, **kwargs):
    return parse_options(shlex.split(line), environ=kwargs.pop("environ", {}), **kwargs)


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("-t a -t b:1 .", "tags", ("a", "b:1")),
        ("-ta .", "tags", ("a",)),
        ("--tag=a .", "tags", ("a",)),
        ("-qt a .", "quiet", True),
        ("-q=false .", "quiet", False),
        ("--no-cache=0", "no_cache", False),
        ("--no-cache", "no_cache", True),
        ("-f docker/web.Dockerfile", "file", "docker/web.Dockerfile"),
        ("-o out", "outputs", (Output("local", dest="out"),)),
        ("-o type=oci,dest=a.tar,compression=zstd", "outputs", (Output("oci", {"compression": "zstd"}, "a.tar"),)),
        ("-o 'type=tar,\"dest=a,b.tar\"'", "outputs", (Output("tar", dest="a,b.tar"),)),
        ("-o out -o type=cacheonly", "outputs", (Output("local", dest="out"), Output("cacheonly"))),
        ("--push -t x", "outputs", (Output("registry"),)),
        ("--push -o type=image,name=x", "outputs", (Output("image", {"name": "x", "push": "true"}),)),
        ("--load", "outputs", (Output("docker"),)),
        ("--load -o type=docker", "outputs", (Output("docker"),)),
        ("--build-arg A=1 --build-arg B= --build-arg A=2", "build_args", {"A": "2", "B": ""}),
        ("--build-context base=docker-image://busybox", "build_contexts", {"base": "docker-image://busybox"}),
        ("--label a=b --label c", "labels", {"a": "b", "c": ""}),
        (
            "--platform linux/amd64,linux/arm64 --platform linux/arm",
            "platforms",
            ("linux/amd64", "linux/arm64", "linux/arm"),
        ),
        ("--no-cache-filter a,b --no-cache-filter c", "no_cache_filter", ("a", "b", "c")),
        ("--secret id=t", "secrets", (SecretSource("t"),)),
        ("--secret id=t,src=/run/t", "secrets", (SecretSource("t", path="/run/t"),)),
        ("--secret type=env,id=t,src=TOKEN", "secrets", (SecretSource("t", env="TOKEN"),)),
        ("--ssh default", "ssh", (SSHSource("default"),)),
        ("--ssh gh=/a,/b", "ssh", (SSHSource("gh", ("/a", "/b")),)),
        ("--network host", "network", "host"),
        ("--add-host a:10.0.0.1 --add-host b=::1", "add_hosts", (("a", "10.0.0.1"), ("b", "::1"))),
        ("--shm-size 64m", "shm_size", 64 << 20),
        ("--ulimit nofile=1:2 --ulimit core=-1", "ulimits", (Ulimit("nofile", 1, 2), Ulimit("core", -1, -1))),
        ("--cache-from user/app", "cache_from", (CacheEntry("registry", {"ref": "user/app"}),)),
        ("--cache-to type=local,dest=x", "cache_to", (CacheEntry("local", {"dest": "x"}),)),
        ("--provenance mode=max --sbom=true", "attests", ("type=provenance,mode=max", "type=sbom,disabled=false")),
        ("--check", "call", Call("check")),
        ("--call lint,format=json", "call", Call("check", "json")),
        ("--call outline,format=json", "call", Call("outline", "json")),
        ("--into web", "into", "web"),
        ("-- -odd", "context", "-odd"),
        ("-", "context", "-"),
        ("--iidfile i --metadata-file m", "iidfile", "i"),
    ],
)
def test_a_flag_is_read_as_buildx_reads_it(line, field, value):
    assert getattr(options(line), field) == value


@pytest.mark.parametrize(("text", "value"), [("T", True), ("1", True), ("F", False), ("tRUE", None), ("", None)])
def test_every_reader_of_booleans_takes_what_go_takes(text, value):
    readers = (
        lambda: options(f"--pull={text} .").pull,
        lambda: parse_mount(f"type=bind,ro={text}", lambda word: word).readonly,
        lambda: parse_check_options(f"error={text}").error,
    )
    for read in readers:
        if value is None:
            with pytest.raises((UsageError, DockerfileError)):
                read()
        else:
            assert read() is value


def test_a_build_arg_without_a_value_comes_from_the_environment_and_is_left_out_when_unset():
    assert options("--build-arg A --build-arg B", environ={"A": "1"}).build_args == {"A": "1"}


def test_the_default_platform_comes_from_the_environment():
    assert options("", environ={"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}).platforms == ("linux/arm64",)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--targte x", "Unknown flag --targte. Did you mean --target?"),
        ("-z", "Unknown flag -z."),
        ("-t", "-t needs a value"),
        ("--progress fancy", "--progress 'fancy' is not known"),
        ("--progress plane", "Did you mean plain?"),
        ("--no-cache=maybe", "--no-cache must be true or false"),
        ("-o type=ocu,dest=x", "There is no exporter 'ocu'. Did you mean type=oci?"),
        ("-o dest=x", "has no type"),
        ("-o type=oci", "dest is required for the oci exporter."),
        ("-o type=local", "dest is required for the local exporter. Give dest= a directory."),
        ("-o -", "A notebook cannot write an archive to standard output"),
        ("-o type=tar,dest=-", "A notebook cannot write an archive to standard output"),
        ("-o type=image,dest=x", "takes no dest"),
        ("-o type=oci,dest=/tmp", "is a directory"),
        ("-o type=local,dest=/etc/passwd", "is a file"),
        ("-o type=oci,dest=a,tar", "not a key=value pair"),
        ("--secret src=x", "has no id"),
        ("--secret id=x,sorce=y", "does not take 'sorce'. Did you mean source?"),
        ("--secret id=x,type=vault", "no type 'vault'"),
        ("--add-host nowhere", "is not HOST:IP"),
        ("--shm-size lots", "is not a size"),
        ("--ulimit nofiles=1", "Did you mean nofile?"),
        ("--ulimit nofile=5:2", "must not be above"),
        ("--label =x", "is not NAME=VALUE"),
        ("--into 9x", "is not the name of a variable"),
        ("a b", "takes one context"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_mend(line, says):
    with pytest.raises(UsageError) as caught:
        options(line)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cell_is_the_dockerfile_so_a_file_flag_is_refused():
    with pytest.raises(UsageError, match="Use %build -f web"):
        options("-f web", dockerfile="FROM scratch")


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), ("1k", 1024), ("1.5g", 3 << 29), ("2MiB", 2 << 20), ("0", 0)]
)
def test_sizes_are_read_in_dockers_spelling(text, size):
    assert parse_size(text, "--x") == size
