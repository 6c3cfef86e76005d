"""Sharing of an image: texts to paste into a shell, a JupyterHub, Binder, an editor."""

from __future__ import annotations

import json
import re

import msgspec

from ..builders import embedded_builder
from ..builders.embedded import accounts
from ..builders.embedded.sandbox.users import resolve_user
from ..errors import BuildError
from ..oci import config as image_config
from ..oci import reference
from ..oci.config import ImageConfig
from ..results.opening import stored_image, stored_name
from ..store import resolve
from ..store.tree import Tree

_PORT = re.compile(r"(\d{1,5})(?:/tcp)?")
_USER = re.compile(r"[a-z_][a-z0-9_-]*\$?")
_SERVER = "jupyterhub-singleuser"


class Text(msgspec.Struct, frozen=True):
    """A text to paste, and its place."""

    title: str
    text: str


class _Image(msgspec.Struct, frozen=True):
    """The facts about an image."""

    name: str
    digest: str
    ports: tuple[int, ...]
    user: str
    """The name of its user; "" for root or an unnamed user."""
    directory: str
    has_server: bool
    """Whether a hub can start it: it has the program that a hub's spawner runs."""
    interactive: bool
    """Whether its command is a shell or an interpreter, which needs a terminal for its input."""


def share(ref: str, platform: str = "") -> tuple[Text, ...]:
    """Return texts with which others can use an image of the store.

    Raises StoreError for a missing image, UsageError for a platform that it lacks.
    """
    store = embedded_builder().store
    name = reference.parse(stored_name(store, ref))
    contents = stored_image(store, ref)
    manifest = contents.manifest(platform)
    with store.lease():
        config = image_config.decode(contents.document(manifest.config_digest))
        digest = contents.image.digest if contents.image else ""
        return texts(_image(name.familiar, digest, config, contents.tree(manifest)), is_local=_is_local(name.familiar))


def _image(name: str, digest: str, config: ImageConfig, tree: Tree) -> _Image:
    settings = config.config
    ports = sorted({int(match[1]) for port in settings.exposed_ports if (match := _PORT.fullmatch(port))})
    command = [*settings.entrypoint, *settings.cmd]
    program = command[-1].rpartition("/")[2] if len(command) == 1 else ""
    return _Image(
        name=name,
        digest=digest,
        ports=tuple(port for port in ports if 0 < port < 65536),
        user=_user(settings.user, tree),
        directory=settings.working_dir if re.fullmatch(r"/[\w./-]*", settings.working_dir) else "",
        has_server=_has(tree, settings.env, _SERVER),
        interactive=program in ("sh", "bash", "ash", "zsh", "python", "python3", "ipython", "R", "julia", "node"),
    )


def texts(image: _Image, *, is_local: bool) -> tuple[Text, ...]:
    """Return the texts for an image."""
    ports = "".join(f" -p {port}:{port}" for port in image.ports)
    terminal = " -it" if image.interactive else ""
    run = f"docker run --rm{terminal}{ports} {image.name}"
    parts = [Text("In a shell", run)]
    if is_local:
        file = re.sub(r"[^a-z0-9.]+", "-", image.name) + ".tar"
        sending = f"%build save {image.name} {file}\n\ndocker load -i {file}\n{run}"
        parts = [
            Text("As a file: save it here, load it there", sending),
            Text(
                "In a registry, where the texts below expect it",
                f"docker tag {image.name} REGISTRY/{image.name} && docker push REGISTRY/{image.name}\n"
                f"or build it with: -t REGISTRY/{image.name} --push",
            ),
        ]
    name = f"REGISTRY/{image.name}" if is_local else image.name
    parts += [
        Text("JupyterHub on Kubernetes (KubeSpawner): values.yaml", _hub(image, name)),
        Text("Binder: binder/Dockerfile of a repository", _binder(image, name)),
        Text("An editor: .devcontainer/devcontainer.json", _devcontainer(image, name)),
    ]
    return tuple(parts)


def _hub(image: _Image, name: str) -> str:
    lines = [
        "singleuser:",
        "  profileList:",
        f"    - display_name: {json.dumps(image.name)}",
        f"      slug: {re.sub('[^a-z0-9]+', '-', image.name).strip('-')[:60]}",
        "      kubespawner_override:",
        f"        image: {json.dumps(name)}",
    ]
    if not image.has_server:
        lines.insert(0, f"# The image has no {_SERVER}, which a hub starts: add jupyterhub to its requirements.")
    if image.digest:
        lines.append(f"# Pinned, if it was pushed unchanged: {name.partition('@')[0]}@{image.digest}")
    return "\n".join(lines)


def _binder(image: _Image, name: str) -> str:
    lines = [f"FROM {name}"]
    if not image.has_server:
        lines.append("RUN pip install --no-cache-dir jupyterhub jupyterlab")
    lines += ["COPY --chown=1000:1000 . /home/jovyan", "WORKDIR /home/jovyan"]
    if not image.user:
        lines += ["# Binder runs images as user 1000, but this one uses root:", "ENV HOME=/home/jovyan", "USER 1000"]
    return "\n".join(lines)


def _devcontainer(image: _Image, name: str) -> str:
    document: dict[str, object] = {"name": image.name, "image": name}
    if image.user:
        document["remoteUser"] = image.user
    if image.ports:
        document["forwardPorts"] = list(image.ports)
    document["customizations"] = {"vscode": {"extensions": ["ms-python.python", "ms-toolsai.jupyter"]}}
    return json.dumps(document, indent=2)


def _is_local(familiar: str) -> bool:
    """Return whether a name has no registry and no Docker Hub owner, so that nobody else can pull it."""
    return "/" not in familiar


def _user(user: str, tree: Tree) -> str:
    """Return the name of an image's user."""
    if user.partition(":")[0] in ("", "0", "root"):
        return ""
    try:
        number = resolve_user(tree, user).uid
        entry = tree.get(resolve(tree, accounts.PASSWD))
        known = accounts.users(tree.read(entry)) if entry and entry.size <= accounts.MAX_BYTES else ()
        name = next((user.name for user in known if user.uid == number), "")
    except BuildError:
        return ""
    return name if _USER.fullmatch(name) else ""


def _has(tree: Tree, env: tuple[str, ...], program: str) -> bool:
    """Return whether PATH finds a program in the image."""
    path = next((value[5:] for value in env if value.startswith("PATH=")), "/usr/local/bin:/usr/bin:/bin")
    return any(tree.get(resolve(tree, f"{place}/{program}")) for place in path.split(":") if place.startswith("/"))
