"""A real Docker engine with BuildKit, as an object with the commands that tests and benchmarks need.

From a shell: `python -m tests.services.buildkit start|stop|status|env|log`. `start` keeps an engine running
until `stop`; test sessions that find a running engine use it and leave it.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import baseimages, daemon
from .baseimages import BaseImage
from .common import ServiceError, ServiceMissingError, cache_dir, run

_BUILDX = "usr/libexec/docker/cli-plugins/docker-buildx"


@dataclass(frozen=True)
class Version:
    """What the engine says of itself."""

    engine: str
    api: str
    buildx: str
    buildkit: str
    """As BuildKit reports it; Debian's build of Docker says `v0.0.0+unknown`."""
    suite: str


@dataclass(frozen=True)
class Engine:
    """A running Docker engine and the docker client, with buildx, that came with it."""

    daemon: daemon.Daemon

    @property
    def socket(self) -> Path:
        """The Unix socket of the API."""
        return daemon.socket(self.daemon.home)

    @property
    def client(self) -> Path:
        """The docker program of the engine's root filesystem, which runs on this machine as well."""
        return self.daemon.root / "usr/bin/docker"

    @property
    def env(self) -> dict[str, str]:
        """DOCKER_HOST and DOCKER_CONFIG, which lead any docker client or library to this engine."""
        return {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.daemon.home / "client")}

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """A whole environment: this process's, without settings for another engine or builder."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BUILDX_", "BUILDKIT_"))}
        # A set SOURCE_DATE_EPOCH would change images: whoever wants it passes it.
        ours.pop("SOURCE_DATE_EPOCH", None)
        return {**ours, **self.env, **(extra or {})}

    @functools.cached_property
    def version(self) -> Version:
        """The versions of all parts."""
        server = json.loads(self.docker("version", "--format", "json").stdout)["Server"]
        buildx = self.docker("buildx", "version").stdout.split()[1]
        lines = self.docker("buildx", "inspect").stdout.splitlines()
        buildkit = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("BuildKit version:"))
        return Version(server["Version"], server["ApiVersion"], buildx, buildkit, self.daemon.suite)

    def docker(
        self,
        *arguments: str | Path,
        input: str | bytes | None = None,  # noqa: A002 - subprocess.run's own name
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run the docker client against this engine; its plugin buildx directly, which takes half the time.

        Args:
            arguments: the command line after `docker`.
            input: standard input.
            cwd: working directory.
            env: variables on top of `environ()`.
            check: raise ServiceError when it fails, else return the exit code.
            timeout: seconds.
        """
        plugin = arguments[0] == "buildx"
        command = [self.daemon.root / _BUILDX, *arguments[1:]] if plugin else [self.client, *arguments]
        return run(command, input=input, cwd=cwd, env=self.environ(env), check=check, timeout=timeout)

    def buildx_build(
        self,
        context: str | Path | None,
        *flags: str | Path,
        dockerfile: str | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker buildx build`; the plain progress is the standard error of what it returns.

        Args:
            context: directory, URL or `-`; None is an empty directory.
            flags: flags of `docker buildx build`.
            dockerfile: text of the Dockerfile; default the context's own.
            env: variables on top of `environ()`, such as SOURCE_DATE_EPOCH.
            check: raise ServiceError when the build fails.
            timeout: seconds.
        """
        with tempfile.TemporaryDirectory(prefix="pybuild-build-") as scratch:
            if context is None:
                context = Path(scratch, "empty")
                context.mkdir()
            if dockerfile is not None:
                # A file outside of the context, so that the context's own .dockerignore stays in force.
                file = Path(scratch, "Dockerfile")
                file.write_text(dockerfile)
                flags = ("--file", file, *flags)
            arguments = ("buildx", "build", "--progress=plain", *flags, context)
            return self.docker(*arguments, env=env, check=check, timeout=timeout)

    def build_oci(
        self,
        context: str | Path | None,
        dest: Path,
        *flags: str | Path,
        dockerfile: str | None = None,
        compression: str = "uncompressed",
        epoch: int | None = 0,
    ) -> Path:
        """Build without cache into an OCI archive at `dest` that has one digest every time.

        Args:
            context: as in `buildx_build`.
            dest: the tar to write.
            flags: more flags.
            dockerfile: text of the Dockerfile; default the context's own.
            compression: of layers: `uncompressed`, `gzip`, `zstd`, …
            epoch: SOURCE_DATE_EPOCH in seconds, to which times of files are set too; None leaves times alone.
        """
        output = f"type=oci,dest={dest},compression={compression},force-compression=true"
        output += "" if epoch is None else ",rewrite-timestamp=true"
        env = {} if epoch is None else {"SOURCE_DATE_EPOCH": str(epoch)}
        fixed = ("--no-cache", "--provenance=false", f"--output={output}")
        self.buildx_build(context, *fixed, *flags, dockerfile=dockerfile, env=env)
        return dest

    def build_status(
        self, context: str | Path | None, *flags: str | Path, dockerfile: str | None = None, check: bool = True
    ) -> list[dict[str, Any]]:
        """Build and return BuildKit's SolveStatus messages, as `--progress=rawjson` prints them."""
        done = self.buildx_build(context, "--progress=rawjson", *flags, dockerfile=dockerfile, check=check)
        # buildx has printed them indented (0.13) and one a line (later).
        starts = re.finditer(r"^\{", done.stderr, flags=re.MULTILINE)
        return [json.JSONDecoder().raw_decode(done.stderr, start.start())[0] for start in starts]

    def build_metadata(
        self, context: str | Path | None, *flags: str | Path, dockerfile: str | None = None
    ) -> dict[str, Any]:
        """Build and return what `--metadata-file` holds."""
        with tempfile.TemporaryDirectory(prefix="pybuild-metadata-") as scratch:
            file = Path(scratch, "metadata.json")
            self.buildx_build(context, "--metadata-file", file, *flags, dockerfile=dockerfile)
            return json.loads(file.read_bytes())

    def build_provenance(
        self, context: str | Path | None, *flags: str | Path, dockerfile: str | None = None
    ) -> dict[str, Any]:
        """Build an image and return its SLSA provenance with mode=max, which has BuildKit's own LLB.

        It is the in-toto statement out of the attestation manifest; where the LLB is in its `predicate` depends
        on the SLSA version: look for `llbDefinition`.
        """
        with tempfile.TemporaryDirectory(prefix="pybuild-provenance-") as scratch:
            output = f"--output=type=oci,tar=false,dest={scratch}"
            self.buildx_build(context, "--provenance=mode=max", output, *flags, dockerfile=dockerfile)

            def blob(descriptor: dict[str, Any]) -> dict[str, Any]:
                return json.loads(Path(scratch, "blobs", descriptor["digest"].replace(":", "/")).read_bytes())

            index = blob(json.loads(Path(scratch, "index.json").read_bytes())["manifests"][0])
            kind = "vnd.docker.reference.type"
            attestations = (m for m in index["manifests"] if m.get("annotations", {}).get(kind))
            return blob(blob(next(attestations))["layers"][0])

    def load(self, archive: Path | bytes) -> list[str]:
        """`docker load` an OCI or Docker archive and return the names of its images, or the IDs of nameless ones."""
        if isinstance(archive, Path):
            out = self.docker("load", "--input", archive).stdout
        else:
            out = self.docker("load", input=archive).stdout
        marks = ("Loaded image: ", "Loaded image ID: ")
        return [line.removeprefix(mark) for line in out.splitlines() for mark in marks if line.startswith(mark)]

    def load_base(self, image: BaseImage) -> None:
        """Load a base image unless the engine has it, so that `FROM NAME` finds it without a registry."""
        if self.docker("image", "inspect", image.reference, check=False).returncode != 0:
            self.load(image.archive())

    def run(self, image: str, *command: str, flags: tuple[str, ...] = (), timeout: float = 60) -> str:
        """`docker run --rm` an image without network and return its standard output."""
        return self.docker("run", "--rm", "--network=none", *flags, image, *command, timeout=timeout).stdout

    def inspect(self, image: str) -> dict[str, Any]:
        """`docker image inspect` of one image."""
        return json.loads(self.docker("image", "inspect", image).stdout)[0]

    def export(self, image: str, dest: Path) -> Path:
        """Write the whole filesystem of an image as a tar, as `docker export` of a container of it gives it.

        The container adds its own /etc/hosts, /etc/hostname, /etc/resolv.conf, /.dockerenv, /dev, /proc and /sys.
        """
        container = self.docker("create", "--network=none", image, "true").stdout.strip()
        try:
            self.docker("export", "--output", dest, container)
        finally:
            self.docker("rm", container)
        return dest

    def remove(self, *images: str) -> None:
        """Remove images, also ones that are not there."""
        self.docker("image", "rm", "--force", *images, check=False)

    def prune_cache(self) -> None:
        """Forget all build cache. Other workers may be using it: for benchmarks, not for tests."""
        self.docker("buildx", "prune", "--all", "--force")

    @contextlib.contextmanager
    def logged_in(self, registry: str, username: str, password: str) -> Iterator[dict[str, str]]:
        """Variables for `env=` under which the client has these credentials for a registry.

        They are in a DOCKER_CONFIG of their own, as one process's login must not change another's tests.
        """
        with tempfile.TemporaryDirectory(prefix="pybuild-login-") as scratch:
            config = Path(scratch)
            _client_config(config, self.daemon.root)
            env = {"DOCKER_CONFIG": scratch}
            arguments = ("login", registry, "--username", username, "--password-stdin")
            self.docker(*arguments, input=password, env=env)
            yield env

    def processes(self) -> list[int]:
        """Process numbers of dockerd, containerd and its shims, for measurements of memory."""
        return daemon.processes(self.daemon)


def _client_config(path: Path, root: Path) -> None:
    """Make a DOCKER_CONFIG directory with the client and its buildx plugin out of the engine's root filesystem."""
    links = {
        "cli-plugins/docker-buildx": _BUILDX,
        "bin/docker": "usr/bin/docker",
    }
    for link, target in links.items():
        (path / link).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (path / link).symlink_to(root / target)


def _open(*, keep: bool) -> Engine:
    return _with_client(Engine(daemon.acquire(keep=keep)))


def _with_client(engine: Engine) -> Engine:
    _client_config(engine.daemon.home / "client", engine.daemon.root)
    engine.load_base(baseimages.busybox())
    return engine


@functools.cache
def engine() -> Engine:
    """The engine, started if none runs; it has `busybox`. It stops with the last process that uses it.

    Raises:
        ServiceMissingError: this machine cannot run one; the message says why.
    """
    atexit.register(daemon.release)
    return _open(keep=False)


@contextlib.contextmanager
def fresh_engine() -> Iterator[Engine]:
    """An engine of the block's own that has built nothing; it has `busybox`, and its RUN has no network.

    Raises:
        ServiceMissingError: this machine cannot run one; the message says why.
    """
    with (
        tempfile.TemporaryDirectory(prefix="pybuild-engine-", dir=cache_dir()) as place,
        daemon.fresh(Path(place, "e")) as own,
    ):
        yield _with_client(Engine(own))


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.services.buildkit", description=__doc__)
    parser.add_argument("command", choices=["start", "stop", "status", "env", "log"])
    command = parser.parse_args(arguments).command
    try:
        if command == "start":
            opened = _open(keep=True)
            opened.load_base(baseimages.debian_python())
            print(f"Docker {opened.version.engine}, buildx {opened.version.buildx} at {opened.socket}")
        elif command == "stop":
            print("stopped" if daemon.stop() else "no engine runs")
        elif command == "log":
            print(daemon.log(), end="")
        else:
            found = daemon.running()
            if found is None:
                print("no engine runs", file=sys.stderr)
                return 1
            opened = Engine(found)
            if command == "env":
                for name, value in opened.env.items():
                    print(f"export {name}={shlex.quote(value)}")
                # A directory with the client alone: that root's other programs are not for this machine.
                print(f"export PATH={shlex.quote(opened.env['DOCKER_CONFIG'])}/bin:$PATH")
            else:
                users = ", ".join(str(user.pid) for user in found.users if user.alive) or "nobody"
                kept = "until it is stopped" if found.kept else "until its last user ends"
                print(f"Docker {opened.version.engine} at {opened.socket}, used by {users}, runs {kept}")
    except (ServiceError, ServiceMissingError) as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
