"""The process started by a kernelspec: it runs the image's kernel in a sandbox, for as long as Jupyter wants.

To Jupyter, this process is the kernel: it forwards signals to the kernel, exits with the kernel's exit code, and the
kernel ends with it in any case.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from ..builders import embedded_builder
from ..builders.embedded.sandbox import Hold, SandboxMount
from ..cancel import Cancel
from ..errors import BuildError, Interrupted, UsageError
from ..run import Container, RunOptions, image_for
from ..run.volumes import Volume
from .find import choose_kernel, home_of, image_kernels

CONNECTION = "/run/pybuild/connection.json"
"""The path at which the kernel sees its connection file."""
_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
_TICK = 1.0
_PATIENCE = 5
"""Seconds that a kernel has to exit after its server is gone."""
_OWN = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var")
"""Directories (besides "/") in which an image has its own files."""


OURS = "pybuild_magic"
"""The key of a request in a kernelspec's metadata."""


class Program(msgspec.Struct, frozen=True):
    """What starts a kernel of an image: the words with Jupyter's placeholders, the kernelspec's variables, the home."""

    argv: tuple[str, ...]
    env: dict[str, str]
    home: str


class KernelRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kernel `kernel` of the image `image`; `options` are those of a run, including additional mounts."""

    image: str
    kernel: str
    options: RunOptions = RunOptions()
    digest: str = ""
    """The digest of the image's config when the kernelspec was made."""
    program: Program | None = None
    """That of the image with this digest, so that a start need not read the tables of all its layers."""


def launch(request: KernelRequest, connection_file: str) -> int:
    """Run the kernel to its end and return its exit code. Raises BuildError when it cannot be started."""
    connection = Path(connection_file).read_bytes()
    if b'"ipc"' in connection:
        raise UsageError(
            "A kernel in an image needs TCP, but this server uses IPC.",
            hint="Start the server with --KernelManager.transport=tcp.",
        )
    builder = embedded_builder()
    with builder.store.lease():
        container = _container(request)
        work = builder.store.rootfs.workdir()
        try:
            # A copy that the kernel may write to and replace, as ipykernel does; nobody else can access `work`.
            shared = work / "connection"
            shared.mkdir()
            (shared / CONNECTION.rpartition("/")[2]).write_bytes(connection)
            for path in (shared, *shared.iterdir()):
                path.chmod(0o777)
            return _Kernel(container, SandboxMount(CONNECTION.rpartition("/")[0], source=shared)).result()
        finally:
            builder.sandbox.remove(work)


def _container(request: KernelRequest) -> Container:
    image = image_for(request.image, request.options)
    program = request.program
    if image.config.digest != request.digest:
        print(f"{image.name} was rebuilt after this kernel was made; the new image is used.", file=sys.stderr)
        program = None
    if program is None:
        kernel = choose_kernel(image_kernels(image), request.kernel, image.name)
        program = Program(kernel.argv, kernel.env, home_of(image))
    options = request.options
    here = str(Path.cwd())
    mounts = options.volumes
    if here != "/" and not any(here == own or here.startswith(f"{own}/") for own in _OWN):
        mounts = (*([] if any(here == mount.target for mount in mounts) else [Volume(here, here)]), *mounts)
    else:
        print(
            f"{here} is a directory of the image itself, so the kernel does not see the notebook's directory.",
            file=sys.stderr,
        )
        here = ""
    variables = [
        f"HOME={program.home}",
        "JPY_PARENT_PID=1",
        *(f"{name}={value}" for name, value in program.env.items()),
    ]
    if "JPY_SESSION_NAME" in os.environ:
        variables.append(f"JPY_SESSION_NAME={os.environ['JPY_SESSION_NAME']}")
    # Root in the sandbox is the user outside, who owns the files in the notebook's directory.
    options = msgspec.structs.replace(
        options,
        entrypoint=(),
        user=options.user or "0:0",
        env=(*variables, *options.env),
        volumes=mounts,
        workdir=options.workdir or here,
        init=True,  # what has the number 1 can kill nothing of itself, as cells do for a restart
    )
    command = tuple(word.replace("{connection_file}", CONNECTION) for word in program.argv)
    return Container(image, command, options)


class _Kernel:
    """A running kernel: it runs in a thread, while the main thread waits for signals and watches the server."""

    def __init__(self, container: Container, connection: SandboxMount) -> None:
        self.container = container
        self.connection = connection
        self.hold = Hold()
        self.cancel = Cancel()
        self.events: queue.SimpleQueue[int] = queue.SimpleQueue()
        """Signals as they arrive; 0 when the kernel has ended."""
        self.code = 1
        self.error: BaseException | None = None

    def work(self) -> None:
        sandbox = embedded_builder().sandbox
        try:
            with self.container.opened(self.cancel, None, self.connection) as spec:
                outcome = sandbox.run(spec, _pass_on, self.cancel, self.hold)
            self.code = outcome.exit_code
            sandbox.discard(outcome)
            if outcome.error:
                self.error = UsageError(f"The kernel could not be started: {outcome.error}")
        except Interrupted:
            self.code = 128 + signal.SIGTERM
        except BaseException as error:
            self.error = error
        finally:
            self.events.put(0)

    def result(self) -> int:
        """Start the kernel, and return its exit code when it has ended. Raises BuildError."""
        gc.freeze()
        gc.enable()
        for name in _PASSED_ON:
            signal.signal(getattr(signal, name), lambda number, _frame: self.events.put(number))
        thread = threading.Thread(target=self.work, name="pybuild-kernel")
        thread.start()
        server = int(os.environ.get("JPY_PARENT_PID") or 0)
        ticks = 0
        while True:
            try:
                number = self.events.get(timeout=_TICK)
            except queue.Empty:
                if server and os.getppid() != server:
                    ticks += 1
                    self.hold.stop(signal.SIGTERM)
                    if ticks > _PATIENCE:
                        self.cancel.cancel()
                continue
            if not number:
                break
            if number == signal.SIGTERM:
                self.hold.stop(number)
            else:
                self.hold.signal(number)
        thread.join()
        if self.error is not None:
            raise self.error
        return self.code


def _pass_on(stream: int, data: bytes) -> None:
    """Forward the kernel's output to the server's log, if the server still exists."""
    with suppress(OSError):
        while data:
            data = data[os.write(stream, data) :]


def read_request(directory: str) -> KernelRequest:
    """Return the request in the kernelspec of a directory. Raises UsageError."""
    try:
        document = json.loads(Path(directory, "kernel.json").read_bytes())
        return msgspec.convert(document["metadata"][OURS], KernelRequest)
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise UsageError(
            f"The kernelspec in {directory} cannot be read: {error}.", hint="Create it again with %build kernel."
        ) from error


def main(words: list[str]) -> int:
    """Run `python -m pybuild_magic.kernels DIRECTORY CONNECTION_FILE`, the `argv` of the kernelspec in DIRECTORY."""
    directory, connection_file = words
    try:
        return launch(read_request(directory), connection_file)
    except BuildError as error:
        print(f"pybuild_magic: {error}", file=sys.stderr)
        return 1
    finally:
        embedded_builder().close()
