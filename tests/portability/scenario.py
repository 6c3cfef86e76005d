"""What needs no RUN, done once in a process of its own: prints what came out of it as JSON.

python -m tests.portability.scenario PLATFORM DIRECTORY
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import os
import socket
import sys
import tarfile
import threading
import traceback
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.portability.simulate import simulate

HELPER = "pybuild_magic.builders.embedded.sandbox.helper"
EPOCH = 1_700_000_000
DOCKERFILE = """
FROM scratch AS parts
COPY --chmod=640 a.txt /etc/a.txt
COPY --chown=5:6 sub /data/sub
COPY <<EOF /etc/heredoc
some text
EOF
FROM scratch AS packed
ADD packed.tar.gz /packed/
FROM scratch
COPY --from=parts / /
COPY --from=packed /packed/inner /packed/inner
COPY --link . /all/
WORKDIR /work
LABEL x=y
ENTRYPOINT ["/all/a.txt"]
"""
FILES = {"a.txt": "one\ntwo\r\n", "sub/b.bin": bytes(range(256)) * 2000, "sub/deep/c": "c", "\u00e9.txt": "\u00e9"}


def make_context(root: Path) -> None:
    """A directory with the modes that Windows gives to everything, and times that do not change."""
    for name, data in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    (root / ".dockerignore").write_bytes(b"# comment\r\n**/*.log\r\n")
    (root / "skipped.log").write_bytes(b"not wanted")
    (root / "link").symlink_to("sub/b.bin")
    os.link(root / "a.txt", root / "sub/hard")
    (root / "packed.tar.gz").write_bytes(_archive({"inner/one": b"1", "other": b"2"}))
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink():
            path.chmod(0o755)
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def _archive(files: dict[str, bytes]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), EPOCH
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0)


def run(platform: str, home: Path) -> dict[str, Any]:
    """Everything but RUN, and a RUN at the end."""
    os.environ["PYBUILD_HOME"] = str(home / "store")
    os.environ.pop("DOCKER_HOST", None)
    make_context(home / "context")
    started: list[str] = []
    sys.addaudithook(lambda event, args: started.append(str(args[1])) if event == "subprocess.Popen" else None)
    simulate(platform)
    found: dict[str, Any] = {"platform": sys.platform, "broken": _import_all()}

    from IPython.core.interactiveshell import InteractiveShell

    lab = Lab(InteractiveShell.instance(), home)
    found |= {"build": lab.builds(), "export": lab.exports(), "read": lab.sources(), "command": lab.commands()}
    found["again"] = lab.image("again")
    found["hostile"] = Hostile(home / "hostile").run()
    found["sent"] = send(home)
    found["started"] = started[:]
    found["helper"] = [name for name in sys.modules if name.startswith(HELPER)]
    found["run"] = [
        lab.failure("FROM scratch\nRUN true\n"),
        lab.failure("FROM scratch\nCOPY . /\nRUN true\n"),
    ]
    from pybuild_magic.builders import embedded_builder

    embedded_builder().close()
    store = home / "store"
    found["left"] = sorted(
        f"{part}/{path.name}"
        for part in ("ingest", "leases", "trash", "work", "locks")
        for path in (store / part).iterdir()
    )
    return found


def _import_all() -> dict[str, str]:
    """The modules that cannot be imported, and why."""
    import pybuild_magic

    broken: dict[str, str] = {}
    root = Path(pybuild_magic.__file__).parent
    for path in sorted(root.rglob("*.py")):
        module = ".".join(["pybuild_magic", *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__")
        if not module.startswith(HELPER):
            try:
                __import__(module)
            except Exception:
                broken[module] = traceback.format_exc()
    return broken


class Lab:
    """A notebook with the magics, and a directory to build in."""

    def __init__(self, shell: Any, home: Path) -> None:
        self.shell = shell
        self.home = home
        self.out = home / "out"
        self.out.mkdir()
        self.context = home / "context"
        shell.run_line_magic("load_ext", "pybuild_magic")

    def build(self, dockerfile: str, *flags: str, context: Any = None) -> Any:
        context = context or self.context
        where = str(context)
        if isinstance(context, dict):
            self.shell.user_ns["files"], where = context, "$files"
        line = f"--progress=none --build-arg SOURCE_DATE_EPOCH={EPOCH} {' '.join(flags)} {where}"
        return self.shell.run_cell_magic("build", line, dockerfile or DOCKERFILE)

    def export(self, text: str) -> None:
        self.build("", "--output", text)

    def image(self, name: str, *flags: str, context: Any = None) -> str:
        output = f"--output=type=image,name={name},rewrite-timestamp=true"
        return str(self.build("", output, *flags, context=context).image_id)

    def failure(self, dockerfile: str) -> list[str]:
        import pybuild_magic

        try:
            pybuild_magic.build(dockerfile, FILES, progress="none")
        except pybuild_magic.BuildError as error:
            return [type(error).__name__, str(error), error.hint]
        return []

    def builds(self) -> dict[str, Any]:
        files = {**FILES, "packed.tar.gz": (self.context / "packed.tar.gz").read_bytes()}
        return {
            "dict": self.image("from-dict", context=files),
            "directory": self.image("from-directory"),
            "without cache": self.image("again", "--no-cache"),
        }

    def layers(self, dockerfile: str, *flags: str) -> list[str]:
        return [str(layer.diff_id) for layer in self.build(dockerfile, *flags).image.layers]

    def exports(self) -> dict[str, Any]:
        out = self.out
        found: dict[str, Any] = {}
        for turn in ("new", "again"):
            for kind in ("oci,rewrite-timestamp=true", "docker,rewrite-timestamp=true", "tar"):
                file = out / f"{kind.partition(',')[0]}.tar"
                self.export(f"type={kind},dest={file}")
                found[f"{kind} {turn}"] = hashlib.sha256(file.read_bytes()).hexdigest()
            self.export(f"type=oci,tar=false,dest={out}/layout,rewrite-timestamp=true")
            found[f"layout {turn}"] = tree(out / "layout")
            self.export(f"type=local,dest={out}/local")
            found[f"local {turn}"] = tree(out / "local")
        (out / "local/extra").mkdir()
        (out / "local/extra/file").write_bytes(b"x")
        self.export(f"type=local,dest={out}/local")
        found["kept"] = (out / "local/extra/file").exists()
        self.export(f"type=local,mode=delete,dest={out}/local")
        found["local deleted"] = tree(out / "local")
        found["time"] = [(out / "local/all" / name).lstat().st_mtime for name in ("a.txt", "sub")]
        self.export("type=cacheonly")
        for kind in ("gzip", "zstd", "uncompressed"):
            made = self.build(
                "",
                f"--output=type=image,name=c-{kind},compression={kind},force-compression=true,rewrite-timestamp=true",
            )
            found[kind] = made.metadata["containerimage.digest"]
        return found

    def sources(self) -> dict[str, Any]:
        base = f"--build-context=base=oci-layout://{self.out}/layout"
        saved = f"--build-context=base=oci-layout://{self.out}/oci.tar"
        archive = self.home / "context.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(self.context, arcname=".")
        (self.home / "other").mkdir()
        (self.home / "other/Dockerfile").write_bytes(b"FROM scratch\r\nCOPY --from=named a.txt /\r\n")
        server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(self.context)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/sub/b.bin"
        named = f"--build-context=named={self.context}"
        file = f"--file={self.home / 'other/Dockerfile'}"
        line = f"--progress=none -t other {file} {named} {self.home / 'other'}"
        return {
            "layout": self.build("FROM base\nLABEL a=b\n", base, "-t", "l").image_id,
            "saved": self.build("FROM base\nLABEL a=b\n", saved, "-t", "s").image_id,
            "archive": self.build("FROM scratch\nCOPY a.txt sub /\n", "-t", "a", context=archive).image_id,
            "url": self.layers(f"FROM scratch\nADD --chmod=600 {url} /b\n", "-t", "u"),
            "file": [layer.diff_id for layer in self.shell.run_line_magic("build", line).image.layers],
        }

    def commands(self) -> dict[str, str]:
        def say(line: str) -> str:
            return repr(self.shell.run_line_magic("build", line))

        for line in ("images", "inspect from-dict", "du", "history"):
            assert say(line)
        answers = {"sound": say("fsck")}
        with (self.home / "store/blobs/sha256" / self._layer()).open("rb"):  # somebody reads what is pruned
            say("rm " + " ".join(line.split()[0] for line in say("images").splitlines()[1:]))
            say("prune -a")
        say("prune -a")
        return answers | {"sound after": say("fsck --repair")}

    def _layer(self) -> str:
        image = self.build("", "-t", "pruned").image
        return str(image.layers[0].diff_id).removeprefix("sha256:")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


class Hostile:
    """What must not lead out of a directory; each answer is what came of it, or the kind of error."""

    def __init__(self, root: Path) -> None:
        self.outside, self.inside = root / "outside", root / "inside"
        (self.outside / "sub").mkdir(parents=True)
        (self.outside / "secret").write_bytes(b"secret")
        (self.outside / "sub/secret").write_bytes(b"secret")
        self.inside.mkdir()
        (self.inside / "file").write_bytes(b"file")
        (self.inside / "file").chmod(0o644)
        (self.inside / "up").symlink_to("../outside")
        (self.inside / "leak").symlink_to("../outside/secret")

    def run(self) -> dict[str, Any]:
        return {"read": self.read(), "write": self.write(), "layout": self.layout()}

    def read(self) -> dict[str, str]:
        from pybuild_magic.errors import BuildError
        from pybuild_magic.session import DirSource

        source = DirSource(self.inside)
        found = {"walk": " ".join(entry.path for entry in source.walk())}
        for path in ("file", "leak", "up/secret", "up/sub/secret", "../outside/secret", "..\\outside\\secret", "C:x"):
            try:
                with source.open(path) as file:
                    found[path] = file.read().decode()
            except BuildError as error:
                found[path] = type(error).__name__
            entry = source.stat(path)
            found[f"mode of {path}"] = oct(entry.mode) if entry else ""
        return found

    def write(self) -> dict[str, str]:
        from pybuild_magic.cancel import Cancel
        from pybuild_magic.errors import BuildError
        from pybuild_magic.exporters.directory import DirectoryWriter
        from pybuild_magic.exporters.files import Item
        from pybuild_magic.store import DIR, SYMLINK, Entry

        items = {
            "through a link": [Entry("up", DIR, 0o755), Entry("up/secret", size=3)],
            "over a link": [Entry("leak", size=3)],
            "own link": [Entry("l", SYMLINK, link=str(self.outside)), Entry("l/secret", size=3)],
            "dots": [Entry("..", DIR, 0o755), Entry("../secret", size=3)],
            "backslash": [Entry("..\\outside\\secret", size=3)],
            "drive": [Entry("C:secret", size=3)],
            "device": [Entry("nul.txt", size=3)],
            "respelled": [Entry("secret.", size=3)],
        }
        found: dict[str, str] = {}
        for name, entries in items.items():
            try:
                writer = DirectoryWriter(self.inside, lambda _, fd: os.write(fd, b"new") and None, Cancel())
                writer.write([Item(entry) for entry in entries])
                found[name] = "written"
            except BuildError as error:
                found[name] = type(error).__name__
        found["outside"] = json.dumps(tree(self.outside))
        return found

    def layout(self) -> str:
        from pybuild_magic.errors import SourceError
        from pybuild_magic.oci.layout import Layout

        root = self.inside / "layout"
        (root / "blobs").mkdir(parents=True)
        (root / "oci-layout").write_bytes(b"{}")
        (self.outside / ("0" * 64)).write_bytes(b"x")
        (root / "blobs/sha256").symlink_to(self.outside)
        try:
            with Layout(root).open("sha256:" + "0" * 64) as file:
                return file.read().decode()
        except SourceError:
            return "SourceError"


def send(home: Path) -> str:
    """The digest of what reaches the other end of a socket, as when an engine loads an image."""
    from pybuild_magic.cancel import Cancel
    from pybuild_magic.exporters.output import OutputWriter

    ours, theirs = socket.socketpair()
    received = bytearray()
    thread = threading.Thread(
        target=lambda: [received.extend(data) for data in iter(lambda: theirs.recv(1 << 16), b"")]
    )
    thread.start()
    with ours, (home / "context/sub/b.bin").open("rb") as file:
        output = OutputWriter(ours, Cancel())
        output.write(b"start")
        output.copy(file.fileno(), 3, 500_000)
        output.close()
    thread.join()
    theirs.close()
    return hashlib.sha256(received).hexdigest()


def tree(root: Path) -> dict[str, str]:
    """Each file below a directory: its digest, or where a link leads."""
    return {path.relative_to(root).as_posix(): _what(path) for path in sorted(root.rglob("*"))}


def _what(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return "directory" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    answer = run(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps(answer, indent=1))
