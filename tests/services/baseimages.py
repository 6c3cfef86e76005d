"""Base images made on this machine, as OCI image layouts: `busybox` (2 MB) and `debian` (with python3).

They are written with tarfile and json alone, so that a mistake in the package cannot hide in its own tests.
Every time in them is fixed: one version of the Debian packages gives one digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import stat
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import debian
from .common import INSTALL_HINT, ServiceMissingError, cache_dir, lock, run, tool

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64", "ppc64le": "ppc64le", "s390x": "s390x"}
KINDS = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFREG: tarfile.REGTYPE}
CREATED = "1970-01-01T00:00:00Z"

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

# What differs between two runs of debootstrap, or is of no use in an image.
DEBIAN_LEFT_OUT = (
    *("dev/", "proc/", "sys/", "run/", "tmp/", "debootstrap/", "boot/", "var/log/"),
    *("var/cache/apt/", "var/cache/debconf/", "var/cache/ldconfig/", "var/lib/apt/lists/"),
    *("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/"),
    *("etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list"),
)


@dataclass(frozen=True)
class BaseImage:
    """An image of one layer in an OCI image layout directory."""

    name: str
    """Familiar name, such as `busybox`; the reference is docker.io/library/NAME:latest."""
    path: Path
    """The layout directory: `oci-layout`, `index.json`, `blobs/sha256/…`."""

    @property
    def reference(self) -> str:
        """The normalised reference under which `FROM NAME` finds it."""
        return f"docker.io/library/{self.name}:latest"

    @property
    def descriptor(self) -> dict[str, Any]:
        """The descriptor of the manifest, as `index.json` holds it."""
        return json.loads((self.path / "index.json").read_bytes())["manifests"][0]

    @property
    def digest(self) -> str:
        """The digest of the manifest."""
        return self.descriptor["digest"]

    def blob(self, digest: str) -> bytes:
        """The bytes of one blob."""
        return (self.path / "blobs" / digest.replace(":", "/")).read_bytes()

    @property
    def manifest(self) -> dict[str, Any]:
        """The image manifest."""
        return json.loads(self.blob(self.digest))

    @property
    def config(self) -> dict[str, Any]:
        """The image config; its one diffID is `config["rootfs"]["diff_ids"][0]`."""
        return json.loads(self.blob(self.manifest["config"]["digest"]))

    def archive(self) -> bytes:
        """The layout as one tar, an OCI archive, which `docker load` and skopeo read."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for file in sorted(path for path in self.path.rglob("*") if path.is_file()):
                info = tarfile.TarInfo(file.relative_to(self.path).as_posix())
                info.size = file.stat().st_size
                with file.open("rb") as data:
                    tar.addfile(info, data)
        return buffer.getvalue()


def busybox() -> BaseImage:
    """Debian's static busybox with a link for each applet; needs no root.

    Raises:
        ServiceMissingError: the package busybox-static is not installed.
    """
    program = tool("busybox")
    if _is_dynamic(program.read_bytes()):
        raise ServiceMissingError(f"{program} is not the static one, of the package busybox-static: {INSTALL_HINT}")
    image = BaseImage("busybox", cache_dir() / "base-busybox")
    with lock("base-busybox"):
        if not image.path.exists():
            applets = run([program, "--list"]).stdout.split()
            _write(image, _busybox_entries(program.read_bytes(), applets), [PATH], ["sh"])
    return image


def debian_python() -> BaseImage:
    """A minimal Debian of this machine's suite with python3-minimal, named `debian`; root makes it, once.

    Raises:
        ServiceMissingError: it is not cached, and there is no root, debootstrap or mirror to make it.
    """
    return debian_image("debian", ["python3-minimal"])


def debian_image(
    name: str, packages: Sequence[str], configure: Callable[[Path], None] | None = None, version: str = ""
) -> BaseImage:
    """A minimal Debian of this machine's suite with `packages`; root makes it, once for each `version`.

    Args:
        name: familiar name, such as `debian`.
        packages: what debootstrap includes.
        configure: changes the root filesystem before the image is made of it.
        version: what to change when `packages` or `configure` do.

    Raises:
        ServiceMissingError: it is not cached, and there is no root, debootstrap or mirror to make it.
    """
    key = f"base-{name}{version and '-'}{version}"
    image = BaseImage(name, cache_dir() / key)
    with lock(key):
        if not image.path.exists():
            root = cache_dir() / f"{key}-root"
            shutil.rmtree(root, ignore_errors=True)
            debian.bootstrap(root, debian.host_suite(), packages)
            if configure:
                configure(root)
            _write(image, _tree_entries(root), [PATH], ["bash"])
            shutil.rmtree(root)
    return image


def push(image: BaseImage, registry: str, name: str | None = None, *, credentials: str | None = None) -> str:
    """Copy an image into a loopback registry by skopeo and return its reference.

    Args:
        image: what to push.
        registry: host and port, as `127.0.0.1:5000`.
        name: repository and tag there; default the familiar name with `latest`.
        credentials: `user:password`.
    """
    reference = f"{registry}/{name or image.name + ':latest'}"
    skopeo("copy", f"oci:{image.path}", f"docker://{reference}", to=credentials)
    return reference


def skopeo(verb: str, *arguments: str, credentials: str | None = None, to: str | None = None) -> str:
    """Run skopeo against loopback registries in plain HTTP and return its standard output.

    Args:
        verb: `copy`, `inspect`, …
        arguments: what follows the verb.
        credentials: `user:password` for the source, or for the only registry there is.
        to: `user:password` for the destination of a copy.
    """
    flags: list[str] = []
    if verb == "copy":
        flags += ["--src-tls-verify=false", "--dest-tls-verify=false"]
        flags += [f"--src-creds={credentials}"] if credentials else []
        flags += [f"--dest-creds={to}"] if to else []
    else:
        flags += ["--tls-verify=false"]
        flags += [f"--creds={credentials}"] if credentials else []
    # Neither the signature policy nor the logins of whoever runs the tests.
    with tempfile.TemporaryDirectory() as home:
        policy = Path(home, "policy.json")
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        Path(home, "auth.json").write_text("{}")
        command = [tool("skopeo"), "--policy", policy, verb, *flags, *arguments]
        return run(command, env={**os.environ, "REGISTRY_AUTH_FILE": f"{home}/auth.json"}).stdout


def _is_dynamic(program: bytes) -> bool:
    """Whether a 64-bit ELF program asks for an interpreter (a PT_INTERP program header)."""
    offset, size, count = (*struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54))
    return any(struct.unpack_from("<I", program, offset + size * i)[0] == 3 for i in range(count))


def _busybox_entries(program: bytes, applets: Iterable[str]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "usr/bin", "usr/sbin", "var"):
        mode = {"root": 0o700, "tmp": 0o1777}.get(name, 0o755)
        yield _entry(name, tarfile.DIRTYPE, mode), b""
    files = {
        "bin/busybox": (0o755, program),
        "etc/group": (0o644, b"root:x:0:\ndaemon:x:1:\nbin:x:2:\nusers:x:100:\nnogroup:x:65534:\n"),
        "etc/nsswitch.conf": (0o644, b"passwd: files\ngroup: files\nhosts: files dns\n"),
        "etc/passwd": (
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
            b"bin:x:2:2:bin:/bin:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
        ),
    }
    for name, (mode, data) in files.items():
        info = _entry(name, tarfile.REGTYPE, mode)
        info.size = len(data)
        yield info, data
    links = {f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
    for name, target in {**links, "usr/bin/env": "../../bin/env"}.items():
        info = _entry(name, tarfile.SYMTYPE, 0o777)
        info.linkname = target
        yield info, b""


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def _tree_entries(root: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The files of a root filesystem, none newer than the newest changelog of its packages."""
    # Python's .pyc files name the time of their source, so times of packaged files must stay as they are;
    # what is newer than every changelog was written by this run of debootstrap.
    newest = int(max(file.lstat().st_mtime for file in root.glob("usr/share/doc/*/changelog*")))
    inodes: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        status = path.lstat()
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        inside = name.startswith(DEBIAN_LEFT_OUT)
        # apt and dpkg want their directories under /var, though nothing in them.
        if kind is None or (inside and not (kind == tarfile.DIRTYPE and name.startswith("var/"))):
            continue
        info = _entry(name, kind, stat.S_IMODE(status.st_mode))
        info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, min(int(status.st_mtime), newest)
        data = b""
        if kind == tarfile.SYMTYPE:
            info.linkname = str(path.readlink())
        elif kind == tarfile.REGTYPE and status.st_nlink > 1 and status.st_ino in inodes:
            info.type, info.linkname = tarfile.LNKTYPE, inodes[status.st_ino]
        elif kind == tarfile.REGTYPE:
            inodes[status.st_ino] = name
            data = path.read_bytes()
            info.size = len(data)
        yield info, data


def _write(
    image: BaseImage, entries: Iterable[tuple[tarfile.TarInfo, bytes]], env: list[str], command: list[str]
) -> None:
    """Write the layout beside its place, then rename it there."""
    part = image.path.with_name(image.path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    blobs = part / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(media_type: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    layer = buffer.getvalue()
    machine = ARCHITECTURES.get(platform.machine(), platform.machine())
    config = {
        "created": CREATED,
        "architecture": machine,
        "os": "linux",
        "config": {"Env": env, "Cmd": command},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": CREATED, "created_by": f"{image.name} from Debian's packages"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": blob(CONFIG_TYPE, _json(config)),
        "layers": [blob(LAYER_TYPE, gzip.compress(layer, mtime=0))],
    }
    descriptor = blob(MANIFEST_TYPE, _json(manifest))
    descriptor["annotations"] = {
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": "latest",
    }
    descriptor["platform"] = {"architecture": machine, "os": "linux"}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor]}
    (part / "index.json").write_bytes(_json(index))
    (part / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    part.rename(image.path)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
