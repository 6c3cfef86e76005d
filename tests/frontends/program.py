"""A front end of an image: a client of BuildKit's gateway, written with nothing of the package and little of Python.

Its language is one word a line, with the rest as its argument; see `Front`. Errors of calls are read from trailers
with `hpack`, which lies beside it in the image.
"""

import ast
import contextlib
import hashlib
import os
import sys
import time

sys.path.insert(0, "/front")
from hpack import Decoder

READ, WRITE = 0, 1
SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/"


class CallError(Exception):
    """An answer that is no result."""


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """A field of protobuf: a number, text, bytes, or a message that is bytes already."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def mapping(number, pairs):
    return b"".join(field(number, field(1, key) + field(2, value)) for key, value in pairs.items())


def fields(data):
    """The fields of a message: (number, value) in their order."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    found = []
    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            found.append((tag >> 3, number()))
        else:
            size = number()
            found.append((tag >> 3, data[at : at + size]))
            at += size
    return found


def one(data, number, default=b""):
    return next((value for key, value in fields(data) if key == number), default)


class Connection:
    """HTTP/2 on standard input and output, one call after the other."""

    def __init__(self):
        self.decoder = Decoder()
        self.stream = 1
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.frame(4, 0, 0, b"")
        self.window = 65535
        self.frame(8, 0, 0, (1 << 30).to_bytes(4, "big"))

    def send(self, data):
        while data:
            data = data[os.write(WRITE, data) :]

    def frame(self, kind, flags, stream, payload):
        self.send(len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload)

    def read(self, count):
        parts = b""
        while len(parts) < count:
            data = os.read(READ, count - len(parts))
            if not data:
                raise SystemExit("the builder has gone")
            parts += data
        return parts

    def open(self, method):
        """Begin a call; returns its stream."""
        stream, self.stream = self.stream, self.stream + 2
        wanted = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", SERVICE + method)]
        wanted += [("te", "trailers"), ("content-type", "application/grpc")]
        block = b"".join(
            b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in wanted
        )
        self.frame(1, 4, stream, block)
        return stream

    def say(self, stream, message, last=False, compressed=0):
        """Send a message of a call, which may be the last."""
        body = bytes([compressed]) + len(message).to_bytes(4, "big") + message
        for at in range(0, len(body), 16384):
            ended = last and at + 16384 >= len(body)
            self.frame(0, 1 if ended else 0, stream, body[at : at + 16384])

    def call(self, method, message=b"", compressed=0):
        """The message that answers; raises CallError."""
        stream = self.open(method)
        self.say(stream, message, last=True, compressed=compressed)
        return next(iter(self.answers(stream)), b"")

    def answers(self, stream):
        """The messages that answer, as they come; raises CallError."""
        data, status, said = b"", "", ""
        while True:
            head = self.read(9)
            payload = self.read(int.from_bytes(head[:3], "big"))
            kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == 4 and not flags & 1:
                self.frame(4, 1, 0, b"")
            elif kind == 6 and not flags & 1:
                self.frame(6, 1, 0, payload)
            elif kind == 0 and number == stream:
                data += payload
                if payload:
                    self.frame(8, 0, stream, len(payload).to_bytes(4, "big"))
            elif kind == 1:
                for name, value in self.decoder.decode(payload):
                    status = value if name == "grpc-status" else status
                    said = value if name == "grpc-message" else said
            elif kind == 7:
                raise SystemExit("the builder goes away")
            while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
                end = 5 + int.from_bytes(data[1:5], "big")
                message, data = data[5:end], data[end:]
                yield message
            if number == stream and kind in (0, 1) and flags & 1:
                break
        if status != "0":
            raise CallError(unquote(said))


def unquote(text):
    out = bytearray()
    data = text.encode()
    while data:
        if data[:1] == b"%":
            out.append(int(data[1:3], 16))
            data = data[3:]
        else:
            out += data[:1]
            data = data[1:]
    return out.decode()


class Graph:
    """A definition of LLB: ops as bytes, by their digests."""

    def __init__(self):
        self.ops = []
        self.meta = {}

    def add(self, kind, body, inputs=(), name="", platform=True):
        """An op whose message has number `kind`; returns its digest."""
        data = b"".join(field(1, field(1, digest) + (field(2, index) if index else b"")) for digest, index in inputs)
        data += field(kind, body)
        if platform:
            data += field(10, field(1, os.environ.get("ARCH", "amd64")) + field(2, "linux"))
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if data not in self.ops:
            self.ops.append(data)
        if name:
            self.meta[digest] = name
        return digest

    def source(self, identifier, **attrs):
        named = {key.replace("_", "."): value for key, value in attrs.items()}
        return self.add(3, field(1, identifier) + mapping(2, named), platform=not identifier.startswith("local"))

    def definition(self, digest, extra=b"", output=0):
        last = field(1, field(1, digest) + (field(2, output) if output else b""))
        described = {key: mapping(2, {"llb.customname": name}) for key, name in self.meta.items()}
        return b"".join(field(1, data) for data in [*self.ops, last]) + mapping(2, described) + extra


def options():
    found = {}
    for name, value in os.environ.items():
        if name.startswith("BUILDKIT_FRONTEND_OPT_"):
            key, _, text = value.partition("=")
            found[key] = text
    return found


class Front:
    """Does what a file says, line by line."""

    def __init__(self, connection):
        self.connection = connection
        self.graph = Graph()
        self.top = ""
        self.output = 0
        self.mounts = []
        self.config = b""
        self.history = []
        self.options = options()
        # BuildKit reads the user's caches only if its front end passes them on.
        self.caches = ast.literal_eval(self.options.get("cache-imports", "[]"))

    def solve(self, definition, evaluate=False):
        request = field(1, definition) + field(5, 1) + field(6, 1) + (field(14, 1) if evaluate else b"")
        for cache in self.caches:
            request += field(12, field(1, cache["Type"]) + mapping(2, cache["Attrs"]))
        result = one(self.connection.call("Solve", request), 3)
        return one(one(result, 3), 1).decode()

    def current(self, evaluate=False):
        return self.solve(self.graph.definition(self.top, self.lines(), self.output), evaluate)

    def lines(self):
        """Which line of the text each vertex comes from, if the text asks for it with `lines`."""
        if not self.text_read.startswith("lines", self.text_read.find("\n") + 1):
            return b""
        graph = Graph()
        read = graph.definition(graph.source("local://dockerfile", local_followpaths='["x"]'))
        info = field(1, "Dockerfile") + field(2, self.text_read) + field(3, read) + field(4, "words")
        spans = b"".join(field(2, field(n, field(1, 3) + field(2, 4))) for n in (1, 2))
        places = field(1, field(1, 0) + spans)
        return field(3, mapping(1, dict.fromkeys((*self.graph.meta, self.top), places)) + field(2, info))

    def text(self):
        graph = Graph()
        name = self.options.get("filename", "Dockerfile")
        local = graph.source("local://dockerfile", local_followpaths=f'["{name}"]', local_sharedkeyhint="dockerfile")
        ref = self.solve(graph.definition(local))
        self.text_read = one(self.connection.call("ReadFile", field(1, ref) + field(2, name)), 1).decode()
        return self.text_read

    def write(self, path, data):
        self.file(field(5, field(1, path) + field(2, 0o644) + field(3, data) + field(5, -1)))

    def file(self, action, *others):
        first = [(self.top, self.output)] if self.top else []
        numbers = field(1, 0 if self.top else -1) + field(2, len(first) if others else -1)
        body = field(2, numbers + action)
        others = [other if isinstance(other, tuple) else (other, 0) for other in others]
        self.put(self.graph.add(4, body, [*first, *others]))

    def put(self, digest, output=0):
        self.top, self.output = digest, output

    # The words of the language

    def do_from(self, rest):
        request = field(1, rest) + field(3, self.options.get("image-resolve-mode", "default"))
        answer = self.connection.call("ResolveImageConfig", request + field(4, f"[internal] load metadata for {rest}"))
        digest, self.config = one(answer, 1).decode(), one(answer, 2)
        mode = self.options.get("image-resolve-mode", "")
        attrs = {"image_resolvemode": mode} if mode else {}
        self.top = self.graph.source(f"docker-image://{rest}@{digest}", **attrs)

    def do_import(self, rest):
        """A cache of the front end's own: TYPE NAME=VALUE…"""
        kind, *attrs = rest.split()
        self.caches.append({"Type": kind, "Attrs": dict(attr.split("=", 1) for attr in attrs)})
        self.options["cache-imports"] = repr(self.caches).replace("'", '"')

    def do_copy(self, rest):
        source, dest = rest.split()
        local = self.graph.source("local://context", local_sharedkeyhint="context")
        self.graph.meta[local] = "[internal] load build context"
        copy = field(1, source) + field(2, dest) + field(4, -1) + field(6, 1) + field(8, 1) + field(9, 1)
        self.file(field(4, copy + field(11, -1)), local)

    def do_run(self, rest, network=0, devices=()):
        meta = b"".join(field(1, word) for word in ("/bin/sh", "-c", rest)) + field(2, "PATH=/bin") + field(3, "/")
        root = field(3, "/")
        body = field(1, meta) + field(2, root) + (field(3, network) if network else b"")
        body += b"".join(field(6, field(1, name.rstrip("?")) + field(2, int("?" in name))) for name in devices)
        self.put(self.graph.add(2, body, [(self.top, self.output)], name=f"RUN {rest}"))

    def do_mount(self, rest):
        """A mount of the next `exec`: DEST, its content (scratch, top or the number of an output of the last `exec`),
        and ro, off (no output), on=PATH or cache.
        """
        self.mounts.append(rest.split())

    def do_exec(self, rest):
        """A process with the mounts so far; all of its outputs may be read: see `pick` and `graft`."""
        inputs, mounts = [], b""
        self.mounts = self.mounts if any(words[0] == "/" for words in self.mounts) else [["/", "top"], *self.mounts]
        number = 0
        for dest, content, *options in self.mounts:
            named = {"top": (self.top, self.output), "scratch": None}
            source = named[content] if content in named else (self.ran, int(content))
            if source is not None and source not in inputs:
                inputs.append(source)
            selector = next((word[3:] for word in options if word.startswith("on=")), "")
            output = -1 if "off" in options else number
            number += output >= 0
            mount = field(1, inputs.index(source) if source else -1) + field(2, selector) + field(3, dest)
            mount += field(4, output) + field(5, int("ro" in options))
            if "cache" in options:
                mount += field(6, 3) + field(20, field(1, "name"))
            mounts += field(2, mount)
        meta = b"".join(field(1, word) for word in ("/bin/sh", "-c", rest)) + field(2, "PATH=/bin") + field(3, "/")
        self.mounts = []
        self.ran = self.graph.add(2, field(1, meta) + mounts, inputs, name=f"EXEC {rest}")
        self.put(self.ran)

    def do_pick(self, rest):
        self.output = int(rest)

    def do_graft(self, rest):
        """Copy from an output of the last `exec`."""
        output, source, dest = rest.split()
        copy = field(1, source) + field(2, dest) + field(4, -1) + field(6, 1) + field(8, 1) + field(9, 1)
        self.file(field(4, copy + field(11, -1)), (self.ran, int(output)))

    def do_merge(self, rest):
        inputs = [(self.ran, int(output)) for output in rest.split()]
        body = b"".join(field(1, field(1, number)) for number in range(len(inputs)))
        self.put(self.graph.add(6, body, inputs))

    def do_diff(self, rest):
        inputs = [(self.ran, int(output)) for output in rest.split()]
        body = field(1, field(1, 0)) + field(2, field(1, 1))
        self.put(self.graph.add(7, body, inputs))

    def do_device(self, rest):
        """A process with devices, whose names are before a colon; that of an optional one ends with `?`."""
        devices, _, script = rest.partition(": ")
        self.do_run(script, devices=devices.split())

    def do_host(self, rest):
        self.do_run(rest, network=1)

    def do_write(self, rest):
        path, _, text = rest.partition(" ")
        self.write(path, text + "\n")

    def do_list(self, rest):
        entries = self.connection.call("ReadDir", field(1, self.current()) + field(2, rest))
        lines = [stat_line(entry) for number, entry in fields(entries) if number == 1]
        self.write("/list", "".join(lines))

    def do_stat(self, rest):
        answer = self.connection.call("StatFile", field(1, self.current()) + field(2, rest))
        self.write("/stat", stat_line(one(answer, 1)))

    def do_read(self, rest):
        path, offset, length = rest.split()
        request = field(1, self.current()) + field(2, path) + field(3, field(1, int(offset)) + field(2, int(length)))
        self.write("/read", one(self.connection.call("ReadFile", request), 1))

    def do_missing(self, rest):
        try:
            self.connection.call("ReadFile", field(1, self.current()) + field(2, rest))
        except CallError as error:
            self.write("/missing", str(error))

    def do_container(self, rest):
        """Processes in a container on the current file system, as a script tells; see `Script`."""
        ref = self.current()
        mounts = field(2, field(3, "/") + field(23, ref)) + field(2, field(3, "/scratch"))
        mounts += field(2, field(3, "/kept") + field(5, 1) + field(23, ref))
        mounts += field(2, field(3, "/tmpfs") + field(6, 4))
        self.connection.call("NewContainer", field(1, "c") + mounts + field(7, "its-name"))
        script = Script(self.connection)
        for word in rest.split("; "):
            script.do(word)
        try:
            self.connection.call("ReleaseContainer", field(1, "c"))
        except CallError as error:
            script.seen["release"] = {"error": str(error)}
        self.write("/container", script.told())

    def do_open(self, _):
        """A container for `peek`: the current file system, none, and that again as a read-only mount."""
        ref = self.current()
        mounts = field(2, field(3, "/") + field(23, ref)) + field(2, field(3, "/scratch"))
        mounts += field(2, field(3, "/kept") + field(5, 1) + field(23, ref)) + field(
            2, field(3, "/tmpfs") + field(6, 4)
        )
        self.connection.call("NewContainer", field(1, "c") + mounts)
        self.told = ""

    def do_peek(self, rest):
        """A file of a container: file, dir or stat, the number of a mount, PATH, and OFFSET and LENGTH or a pattern."""
        kind, mount, path, *more = rest.split(" ")
        request = field(1, "c" if mount != "none" else "nothing") + field(2, path)
        number = int(mount) if mount != "none" else 0
        if kind == "stat":
            method, request = "StatFileContainer", request + field(3, number)
        else:
            method, request = f"Read{kind.title()}Container", request + field(4, number)
        if kind == "file" and more:
            request += field(3, field(1, int(more[0])) + field(2, int(more[1])))
        elif more:
            request += field(3, more[0])
        try:
            answer = self.connection.call(method, request)
            if kind == "file":
                text = f"{one(answer, 1)}\n"
            else:
                text = "".join(stat_line(stat) for number, stat in fields(answer) if number == 1) or "\n"
        except CallError as error:
            text = f"{error}\n"
        self.told += f"{rest}: {text}"

    def do_process(self, rest):
        """A process in that container, to its end."""
        script = Script(self.connection)
        for word in (f"start p {rest}", "eof p", "end p"):
            script.do(word)

    def do_close(self, _):
        self.connection.call("ReleaseContainer", field(1, "c"))
        self.write("/told", self.told)

    def do_hosts(self, _):
        self.connection.call("NewContainer", field(2, field(3, "/") + field(23, self.current())) + field(3, 1))

    def do_unsafe(self, _):
        self.connection.call("NewContainer", field(1, "c") + field(2, field(3, "/") + field(23, self.current())))
        stream = self.connection.open("ExecProcess")
        start = field(1, "c") + field(2, field(1, "true")) + field(5, 1)
        self.connection.say(stream, field(1, "p") + field(2, start), last=True)
        list(self.connection.answers(stream))

    def do_evaluate(self, _):
        self.connection.call("Evaluate", field(1, self.current()))

    def do_options(self, rest):
        self.write("/options", "".join(f"{name}={self.options.get(name, '')}\n" for name in rest.split()))

    def do_ping(self, _):
        answer = self.connection.call("Ping")
        names = {one(cap, 1).decode() for number, cap in fields(answer) if number == 1}
        wanted = ("solve.base", "return", "proto.refarray", "gateway.evaluate", "source.metaresolver")
        self.write("/caps", "".join(f"{name}\n" for name in wanted if name in names))

    def do_metadata(self, _):
        folder = "/run/config/buildkit/metadata"
        with open(f"{folder}/frontend.bin", "rb") as file:  # noqa: PTH123
            identifier = one(one(one(file.read(), 1), 3), 1).decode()
        self.write("/metadata", identifier.partition("@")[0].partition("/front")[2] + "\n")

    def do_warn(self, rest):
        self.connection.call("Warn", field(2, 1) + field(3, rest))

    def do_fail(self, rest):
        raise CallError(rest)

    def do_dockerfile(self, rest):
        """A Dockerfile, its lines between semicolons, built by the front end that is built in."""
        graph = Graph()
        content = rest.replace("; ", "\n")
        body = field(1, "/Dockerfile") + field(2, 0o644) + field(3, content) + field(5, -1)
        file = graph.add(4, field(2, field(1, -1) + field(2, -1) + field(5, body)))
        opts = {name: value for name, value in self.options.items() if name not in ("source", "cmdline")}
        request = field(2, "dockerfile.v0") + mapping(3, opts) + field(5, 1) + field(6, 1)
        request += mapping(13, {"dockerfile": graph.definition(file)})
        result = one(self.connection.call("Solve", request), 3)
        metadata = {one(pair, 1).decode(): one(pair, 2) for number, pair in fields(result) if number == 10}
        self.config = metadata["containerimage.config"]
        self.ref = one(one(result, 3), 1).decode()

    def do_forward(self, rest):
        """Another Dockerfile of the same directory, built by the front end that is built in."""
        opts = {name: value for name, value in self.options.items() if name not in ("source", "cmdline")}
        request = field(2, "dockerfile.v0") + mapping(3, {**opts, "filename": rest}) + field(5, 1) + field(6, 1)
        result = one(self.connection.call("Solve", request), 3)
        self.ref = one(one(result, 3), 1).decode()

    def do_lines(self, _):
        pass

    def do_exit(self, rest):
        sys.stderr.write("the front end gives up\n")
        raise SystemExit(int(rest))

    def do_garbage(self, _):
        with contextlib.suppress(OSError):  # the builder does not wait for all of it
            self.connection.send(b"this is no HTTP/2" * 10_000)
        time.sleep(3600)

    def do_huge(self, rest):
        with contextlib.suppress(OSError):  # the builder does not wait for all of it
            self.connection.call("Warn", field(3, b"x" * int(rest)))
        time.sleep(3600)

    def do_compressed(self, _):
        self.connection.call("Warn", b"", compressed=1)

    def do_flood(self, rest):
        """Calls at once, none of which ends before the front end does."""
        for number in range(int(rest)):
            self.connection.call("NewContainer", field(1, f"c{number}") + field(2, field(3, "/")))
            stream = self.connection.open("ExecProcess")
            start = field(1, f"c{number}") + field(2, field(1, "x"))
            self.connection.say(stream, field(1, "p") + field(2, start))
        time.sleep(3600)

    def do_leave(self, rest):
        """Exit in the middle of a call."""
        stream = self.connection.open(rest)
        self.connection.send((1 << 10).to_bytes(3, "big") + bytes(2) + stream.to_bytes(4, "big") + b"half")
        os._exit(0)

    def do_chain(self, rest):
        """As many vertices, each on the one before."""
        for number in range(int(rest)):
            body = field(1, f"/{number}") + field(2, 0o644) + field(5, -1)
            data = field(2, field(1, 0 if self.top else -1) + field(2, -1) + field(5, body))
            self.top = self.graph_chain(data)

    def graph_chain(self, data):
        inputs = field(1, field(1, self.top)) if self.top else b""
        op = inputs + field(4, data)
        self.graph.ops.append(op)
        return "sha256:" + hashlib.sha256(op).hexdigest()

    def do_pattern(self, rest):
        self.connection.call("ReadDir", field(1, self.current()) + field(2, "/") + field(3, rest))

    def do_many(self, rest):
        """As many results as there are lines in a Dockerfile of a machine."""
        for _ in range(int(rest)):
            self.solve(self.graph.definition(self.top))

    def do_silent(self, _):
        os.close(READ)
        os.close(WRITE)
        time.sleep(3600)

    def do_hang(self, _):
        request = field(1, "docker.io/library/busybox:latest") + field(4, "the front end hangs")
        self.connection.call("ResolveImageConfig", request)
        time.sleep(3600)

    def do_linger(self, _):
        self.linger = True

    def do_layout(self, rest):
        self.top = self.graph.source(f"oci-layout://{rest}")
        self.current(evaluate=True)

    def do_context(self, rest):
        """A context that is an OCI layout, as BuildKit's own front end reads one."""
        name, _, digest = self.options[f"context:{rest}"].removeprefix("oci-layout://").partition("@")
        store = name.partition(":")[0]  # buildx adds a tag, which is no part of the store's name
        ref = f"docker.io/library/{rest}@{digest}"
        session = os.environ["BUILDKIT_SESSION_ID"]
        request = field(1, ref) + field(4, f"[context {rest}] load metadata for {ref}")
        answer = self.connection.call("ResolveImageConfig", request + field(5, 1) + field(6, session) + field(7, store))
        self.config = one(answer, 2)
        assert one(answer, 1).decode() == digest
        self.top = self.graph.source(f"oci-layout://{ref}", oci_session=session, oci_store=store)

    def do_steal(self, rest):
        self.top = self.graph.source(f"oci-layout://docker.io/library/x@sha256:{'0' * 64}", oci_store=rest)
        self.current(evaluate=True)

    def do_nest(self, rest):
        """The built-in front end, with a layout of this front end's own choice."""
        options = {"context:x": f"oci-layout://{rest}"}
        self.connection.call("Solve", field(2, "dockerfile.v0") + mapping(3, {**self.options, **options}))

    def do_gap(self, _):
        graph = Graph()
        body = field(1, "/x") + field(2, 0o644) + field(5, -1)
        top = graph.add(4, field(2, field(1, 0) + field(2, -1) + field(5, body)), [("sha256:" + "0" * 64, 0)])
        self.solve(graph.definition(top))

    def do_numbers(self, _):
        graph = Graph()
        body = field(1, "/x") + field(2, 0o644) + field(5, -1)
        self.solve(graph.definition(graph.add(4, field(2, field(1, 7) + field(2, -1) + field(5, body)))))

    def do_stranger(self, _):
        self.connection.call("Return", field(1, field(3, field(1, "nobody"))))

    def do_call(self, rest):
        self.connection.call(rest, field(1, "x"))

    def do_fresh(self, _):
        """Begin with an empty file system."""
        self.put("")

    def do_attest(self, rest):
        """An attestation in the current file system: KIND (0 or 1) PATH TYPE, then self[=NAME], raw=NAME@DIGEST,
        meta=NAME=VALUE or lost (its file system).
        """
        kind, path, predicate_type, *others = rest.split()
        body = field(1, int(kind)) + (field(3, field(1, self.current())) if "lost" not in others else b"")
        body += (field(4, path) if path != "-" else b"") + (field(5, predicate_type) if predicate_type != "-" else b"")
        for word in others:
            name, _, value = word.partition("=")
            if name == "self":
                body += field(6, field(1, 0) + (field(3, value) if value else b""))
            elif name == "raw":
                body += field(6, field(1, 1) + field(2, value.partition("@")[2]) + field(3, value.partition("@")[0]))
            elif name == "meta":
                body += mapping(2, dict([value.split("=")]))
        self.attested += field(1, body)

    attested = b""
    told = ""
    linger = False
    text_read = ""
    ref = None

    def run(self):
        if "requestid" in self.options:
            answer = {
                "result.txt": f"asked for {self.options['requestid']}\n",
                "result.json": '{"warnings":[{"ruleName":"Asked","detail":"a question"}]}',
            }
            return mapping(10, answer) + field(3, b"")
        for line in self.text().splitlines():
            word, _, rest = line.partition(" ")
            if word and not word.startswith("#"):
                getattr(self, f"do_{word}")(rest)
        ref = self.ref or (self.current() if self.top else "")
        names = ("containerimage.config", "containerimage.base.config")
        metadata = dict.fromkeys(names, self.config) if self.config else {}
        platform = f"linux/{os.environ.get('ARCH', 'amd64')}"
        attested = mapping(12, {platform: self.attested}) if self.attested else b""
        return field(3, field(1, ref)) + mapping(10, metadata) + attested


class Script:
    """What a front end does in a container: `start NAME COMMAND`, `type NAME TEXT`, `eof NAME`, `kill NAME SIGNAL`,
    `see NAME TEXT` (wait for output), `end NAME` (wait for its end).
    """

    def __init__(self, connection):
        self.connection = connection
        self.stream = connection.open("ExecProcess")
        self.answers = connection.answers(self.stream)
        self.seen = {}

    def do(self, words):
        verb, name, *rest = words.split(" ", 2)
        text = rest[0] if rest else ""
        if verb == "see":
            self.wait(lambda: text.encode() in self.seen[name]["output"][1])
        elif verb == "end":
            self.wait(lambda: self.seen[name]["done"])
        else:
            self.connection.say(self.stream, field(1, name) + getattr(self, verb)(name, text))

    def start(self, name, command):
        self.seen[name] = {"output": {1: b"", 2: b""}, "ends": [], "exit": "", "done": False, "started": False}
        meta = b"".join(field(1, word) for word in ("/bin/sh", "-c", command)) + field(2, "A=b") + field(3, "/tmp")
        return field(2, field(1, "c") + field(2, meta) + b"".join(field(3, fd) for fd in (0, 1, 2)))

    def type(self, _, text):
        return field(3, field(1, 0) + field(3, text + "\n"))

    def eof(self, *_):
        return field(3, field(1, 0) + field(2, 1))

    def kill(self, _, text):
        return field(8, field(1, text))

    def wait(self, condition):
        while not condition():
            message = next(self.answers)
            seen = self.seen[one(message, 1).decode()]
            kind, body = next((key, value) for key, value in fields(message) if key > 1)
            if kind == 5:
                seen["started"] = True
            elif kind == 3 and one(body, 2, 0):
                seen["ends"] = sorted([*seen["ends"], one(body, 1, 0)])
            elif kind == 3:
                seen["output"][one(body, 1, 0)] += one(body, 3)
            elif kind == 6:
                status = one(body, 2)
                seen["exit"] = f"{one(body, 1, 0)} {one(status, 1, 0)} {one(status, 2).decode()}"
            elif kind == 7:
                seen["done"] = True

    def told(self):
        lines = [f"{name} {sorted(seen.items())}" for name, seen in self.seen.items()]
        return "".join(f"{line}\n" for line in lines)


def stat_line(stat):
    found = dict(fields(stat))
    keys = (1, 2, 3, 4, 5, 7)
    values = [found.get(key, b"" if key in (1, 7) else 0) for key in keys]
    if values[1] & 1 << 31:
        values[4] = 0  # the size of a directory is the file system's own
    return " ".join(value.decode() if isinstance(value, bytes) else oct(value) for value in values) + "\n"


def main():
    connection = Connection()
    front = Front(connection)
    try:
        connection.call("Ping")
        connection.call("Return", field(1, front.run()))
    except CallError as error:
        connection.call("Return", field(2, field(1, 2) + field(2, str(error))))
        raise SystemExit(1) from None
    while front.linger:
        time.sleep(1)


main()
