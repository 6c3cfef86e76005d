"""The values of RUN --mount and --device."""

from __future__ import annotations

import pytest

from pybuild_magic.dockerfile.instructions import Device
from pybuild_magic.dockerfile.mount import Mount, csv_fields, mount_from, parse_device, parse_mount
from pybuild_magic.errors import DockerfileError
from pybuild_magic.llb.ops import MountType, Sharing


def expand(word: str) -> str:
    return word.replace("$ID", "id")


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/x", Mount(target="/x", readonly=True)),
        ("type=bind,from=a,src=/b,dst=/c,rw", Mount(from_="a", source="/b", target="/c")),
        ("source=a,destination=b,readonly=false", Mount(source="a", target="b")),
        ("target=/x,readwrite=0", Mount(target="/x", readonly=True)),
        (
            "type=cache,id=$ID,target=/x,sharing=Locked,mode=0750,uid=1,gid=2,ro",
            Mount(MountType.CACHE, "", "", "/x", True, "id", Sharing.LOCKED, mode=0o750, uid=1, gid=2),
        ),
        ("type=cache,target=/x,from=$ID", Mount(MountType.CACHE, "id", target="/x")),
        ("TYPE=TMPFS,target=/x,size=1.5m", Mount(MountType.TMPFS, target="/x", size=1_572_864)),
        ("type=tmpfs,size=10 KiB", Mount(MountType.TMPFS, size=10_240)),
        (
            "type=secret,id=s,env=TOKEN,required",
            Mount(MountType.SECRET, "", "", "", True, "s", required=True, env="TOKEN"),
        ),
        ("type=secret,id=s,env=", Mount(MountType.SECRET, readonly=True, id="s", env="")),
        ("type=ssh,required=false,mode=0600", Mount(MountType.SSH, readonly=True, mode=0o600)),
        ('"target=/a,b"', Mount(target="/a,b", readonly=True)),
    ],
)
def test_a_mount(text: str, mount: Mount) -> None:
    assert parse_mount(text, expand) == mount


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type=cahce", 'unsupported mount type "cahce" (did you mean cache?)'),
        ("type=x", 'unsupported mount type "x"'),
        ("taget=/x", "unexpected key 'taget' in 'taget=/x' (did you mean target?)"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("ro=maybe", "invalid value for ro: maybe"),
        ("required", "unexpected key 'required' for mount type 'bind'"),
        ("size=1,type=tmpfs", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=1x", "invalid value for size: 1x"),
        ("type=tmpfs,size=-1", "invalid value for size: -1"),
        ("type=cache,sharing=share", 'unsupported sharing value "share" (did you mean shared?)'),
        ("sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=cache,mode=8", "invalid value 8 for mode"),
        ("type=cache,uid=4294967296", "invalid value 4294967296 for uid"),
        ("mode=0777", 'mode not allowed for "bind" type mounts'),
        ("type=tmpfs,gid=1", 'gid not allowed for "tmpfs" type mounts'),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
        ("type=secret,id=a,src=b", "both source and id can't be set"),
        ('a"b', 'failed to parse csv mounts: parse error on line 1, column 2: bare " in non-quoted-field'),
        ('"a', 'failed to parse csv mounts: parse error on line 1, column 2: extraneous or missing " in quoted-field'),
        ("", "failed to parse csv mounts: EOF"),
    ],
)
def test_a_wrong_mount_is_refused_in_buildkits_words(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as refused:
        parse_mount(text, expand)
    assert refused.value.message == reason


def test_the_stage_that_a_mount_needs_is_known_before_expansion() -> None:
    assert mount_from("type=bind,from=base,target=$X") == "base"
    assert mount_from("target=/x") == ""


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("vendor.com/gpu=all", Device("vendor.com/gpu=all")),
        ("vendor.com/gpu,required", Device("vendor.com/gpu", required=True)),
        ("name=vendor.com/gpu=0,required=0", Device("vendor.com/gpu=0")),
    ],
)
def test_a_device(text: str, device: Device) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a=b,name=c", "device name already set to a=b"),
        ("a=b,c", "invalid field 'c' must be a key=value pair"),
        ("a=b,requird=1", "unexpected key 'requird' in 'requird=1' (did you mean required?)"),
    ],
)
def test_a_wrong_device_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DockerfileError) as refused:
        parse_device(text)
    assert refused.value.message == reason


def test_csv_fields_may_be_quoted() -> None:
    assert csv_fields('a,"b,""c""",,') == ["a", 'b,"c"', "", ""]
