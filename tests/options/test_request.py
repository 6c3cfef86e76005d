"""The request that is compiled is the one that `docker buildx build` sends."""

import json
import shlex

import msgspec
import pytest

from pybuild_magic.api.run import open_session
from pybuild_magic.errors import UsageError
from pybuild_magic.request.command import equivalent_command
from pybuild_magic.request.parse import parse_options
from pybuild_magic.request.solve_request import compile_request
from pybuild_magic.request.values import is_remote
from pybuild_magic.session import DirSink


def request(line, driver="embedded"):
    return compile_request(parse_options(shlex.split(line), dockerfile="FROM scratch\n", environ={}), driver)


@pytest.mark.parametrize(
    ("line", "attr", "value"),
    [
        ("--build-arg A=1", "build-arg:A", "1"),
        ("--label a=b", "label:a", "b"),
        ("--target t", "target", "t"),
        ("--no-cache", "no-cache", ""),
        ("--no-cache-filter a,b", "no-cache", "a,b"),
        ("--pull", "image-resolve-mode", "pull"),
        ("--platform linux/arm64/v8,linux/x86_64", "platform", "linux/arm64,linux/amd64"),
        ("--network none", "force-network-mode", "none"),
        ("--add-host a:1.2.3.4", "add-hosts", "a=1.2.3.4"),
        ("--shm-size 1m", "shm-size", "1048576"),
        ("--ulimit nofile=1:2", "ulimit", "nofile=1:2"),
        ("--build-context x=.", "context:x", "local:x"),
        ("--build-context x=oci-layout://d", "context:x", "oci-layout://d"),
        ("https://example.com/a.git#main:dir", "context", "https://example.com/a.git#main:dir"),
        ("--provenance mode=max", "attest:provenance", "mode=max"),
        ("--call targets", "requestid", "frontend.targets"),
        ("", "dockerfilekey", "dockerfile"),
    ],
)
def test_a_flag_becomes_the_frontend_attribute_that_buildx_sends(line, attr, value):
    assert request(line).frontend_attrs[attr] == value


@pytest.mark.parametrize(
    ("line", "driver", "exporters"),
    [
        ("", "embedded", []),
        ("-t a", "embedded", [("image", {"name": "a"})]),
        ("", "docker", [("image", {})]),
        ("-t a", "docker-container", []),
        ("-t a -t b -o type=oci,dest=x", "embedded", [("oci", {"name": "a,b"})]),
        ("-t a --push", "embedded", [("image", {"name": "a", "push": "true", "unpack": "false"})]),
        ("-o type=cacheonly -t a", "embedded", []),
        ("-o out -o type=tar,dest=x", "embedded", [("local", {}), ("tar", {})]),
        ("--annotation a=b --annotation index:c=d -t x", "embedded",
         [("image", {"name": "x", "annotation.a": "b", "annotation-index.c": "d"})]),
    ],
)  # fmt: skip
def test_outputs_become_exporters_and_the_default_depends_on_the_builder(line, driver, exporters):
    assert [(entry.type, entry.attrs) for entry in request(line, driver).exporters] == exporters


def test_an_exporter_and_its_sink_have_one_id(tmp_path):
    line = f"-o type=cacheonly -o type=image,name=x -o type=tar,dest={tmp_path}/a.tar -o type=local,dest={tmp_path}/d ."
    options = parse_options(shlex.split(line), dockerfile="FROM scratch\n", environ={})
    assert [(entry.id, entry.type) for entry in compile_request(options).exporters] == [
        ("0", "image"),
        ("1", "tar"),
        ("2", "local"),
    ]
    assert list(open_session(options, "embedded").sinks) == ["1", "2"]


@pytest.mark.parametrize("line", ["--push", "-o type=image,push=1", "-o type=image,push=T"])
def test_a_push_without_a_name_is_refused(line):
    with pytest.raises(UsageError, match="needs a name"):
        request(line)


@pytest.mark.parametrize("word", ["false", "f", "0", "FALSE"])
def test_an_archive_that_is_no_tar_goes_to_a_directory(tmp_path, word):
    options = parse_options(["-o", f"type=oci,dest={tmp_path}/d,tar={word}", "."], environ={})
    assert isinstance(open_session(options, "embedded").sinks["0"], DirSink)


@pytest.mark.parametrize(
    ("line", "provenance"),
    [
        ("--attest type=provenance,disabled=1", None),
        ("--attest type=provenance,disabled=F,mode=max", "mode=max"),
        ("--attest 'type=provenance,\"builder-id=a,b\"'", '"builder-id=a,b"'),
    ],
)
def test_attestations_are_read_as_csv_and_by_gos_booleans(line, provenance):
    assert request(line).frontend_attrs.get("attest:provenance") == provenance


@pytest.mark.parametrize("limit", ["memory", "memory-swap"])
def test_a_limit_is_named_as_it_was_given(limit):
    with pytest.raises(UsageError, match=f"--resource {limit} 'lots' is not a size"):
        compile_request(parse_options(["--resource", f"{limit}=lots"]))


def test_the_host_network_asks_for_its_entitlement():
    assert request("--network host").entitlements == ("network.host",)


def test_the_request_is_shown_as_json_with_buildkits_field_names():
    shown = json.loads(request("-t a --build-arg X=1").to_json())
    assert shown["Frontend"] == "dockerfile.v0"
    assert shown["FrontendAttrs"]["build-arg:X"] == "1"
    assert shown["Exporters"] == [{"Type": "image", "Attrs": {"name": "a"}, "ID": "0"}]


def test_the_equivalent_command_parses_back_to_the_same_options():
    line = "-t a -o type=oci,dest=x.tar,compression=zstd --build-arg A='b c' --no-cache --secret id=s,env=S ."
    options = parse_options(shlex.split(line), dockerfile="FROM scratch\nRUN x\n", environ={})
    command, _, rest = equivalent_command(options).partition(" <<'DOCKERFILE'\n")
    assert rest == "FROM scratch\nRUN x\nDOCKERFILE"
    words = shlex.split(command)
    assert words[:3] == ["docker", "buildx", "build"]
    words = [
        word for index, word in enumerate(words[3:]) if words[3:][index - 1 : index + 1] != ["-f", "-"] and word != "-f"
    ]
    assert parse_options(words, dockerfile="FROM scratch\nRUN x\n", environ={}) == options


def test_the_command_of_a_dict_sends_no_other_directory(tmp_path):
    """`.` would be the user's directory, with all that is in it."""
    files = {"a.txt": "1", "sub/b c": b"2", **{f"more{number}": "" for number in range(9)}}
    options = msgspec.structs.replace(
        parse_options([], dockerfile="FROM scratch\nCOPY . /\n", environ={}), context=files
    )
    note, command, *rest = equivalent_command(options).split("\n")
    assert note == (
        "# First write the files of the dict (a.txt, 'sub/b c', more0, more1, more2 and 6 more) "
        "to a directory named context."
    )
    assert shlex.split(command.partition(" <<")[0])[-3:] == ["-f", "-", "context"]
    assert rest == ["FROM scratch", "COPY . /", "DOCKERFILE"]
    hostile = equivalent_command(msgspec.structs.replace(options, context={"x\n$(id)\x1b[2J": ""}))
    assert hostile.startswith("# First write the file of the dict ('x$(id)') to a directory named context.\ndocker ")
    empty = equivalent_command(msgspec.structs.replace(options, context={}))
    assert empty.startswith("# First: mkdir context\ndocker ")
    of_the_disk = equivalent_command(msgspec.structs.replace(options, context=files, dockerfile=None))
    assert of_the_disk.endswith(" context")  # whose Dockerfile is one of the files


@pytest.mark.parametrize(
    ("context", "remote"),
    [
        ("https://example.com/x", True),
        ("git@example.com:a/b", True),
        ("host:path/b.git#main", True),
        (r"D:\work\x.git", False),
        ("D:/work/x.git", False),
        ("~/x.git", False),
        ("./x.git", False),
    ],
)
def test_a_url_is_told_from_a_path(context, remote):
    assert is_remote(context) is remote


@pytest.mark.parametrize("driver", ["embedded", "docker", "docker-container"])
@pytest.mark.parametrize("output", ["local", "tar"])
def test_local_and_tar_make_no_image_whose_id_could_be_written(driver, output):
    options = parse_options(["-o", f"type={output},dest=x", "--iidfile", "id", "."], environ={})
    with pytest.raises(UsageError, match="local and tar exporters are incompatible with image ID file"):
        compile_request(options, driver)
