"""Lowering of COPY and ADD: one FileOp for all sources or, with `--link`, a separate layer that is merged."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from ..errors import DockerfileError
from ..golang.path import clean_path, join_path
from ..golang.text import quote
from ..llb.ops import Edge, FileCopy, FileMkfile, MergeOp, Node, SourceOp
from ..oci.digest import digest_error
from ..untrusted.foreign import split_url
from .git_ref import GitRef, parse_git_ref
from .instructions import Add, Copy, Files
from .lowering import Step
from .names import shown
from .rules import COPY_IGNORED_FILE
from .state import Action, file_node, parse_owner

_OCTAL = re.compile(r"[0-7]+")
_SYMBOLIC = re.compile(r"[augo]*(?:[-+=][rwxXstugo]*)+(?:,[augo]*(?:[-+=][rwxXstugo]*)+)*")
_PIVOT = "/./"

Part = tuple[Action, Edge | None]


def lower_files(step: Step, instruction: Add | Copy) -> None:
    """Lower COPY or ADD. Raises DockerfileError for incompatible flags and sources."""
    _check_checksum(instruction)
    lowering, stage = step.lowering, step.stage
    name = shown(instruction.original, lowering.lexer, stage.state.env)
    prefix = step.prefix(stage.platform)
    template = _template(instruction, destination(stage.state.directory, instruction.destination))
    parts = [_source(step, instruction, template, text, prefix + name) for text in instruction.sources]
    parts += [_heredoc(template, heredoc.name, heredoc.text) for heredoc in instruction.heredocs]
    base = stage.state.edge
    linked = instruction.link and not instruction.chmod
    copy = file_node(
        None if linked else base,
        parts,
        name=prefix + name,
        location=instruction.location,
        ignore_cache=stage.ignore_cache,
    )
    if linked and base is not None:
        copy = Node(
            MergeOp(),
            (base, Edge(copy)),
            name=f"{prefix}LINK {name}",
            ignore_cache=stage.ignore_cache,
            location=instruction.location,
        )
    stage.state = stage.state.with_edge(Edge(copy))
    step.commit(_created_by(instruction), layer=True)
    _note_paths(step, instruction)


def destination(directory: str, text: str) -> str:
    """Return `text` resolved from `directory` and cleaned, but with a final `/` or `/.`, which marks a directory."""
    text = "./" if text in ("", ".") else text
    path = clean_path(text if text.startswith("/") else join_path("/", directory, text))
    if text.endswith("/."):
        return path.rstrip("/") + "/."
    return path + "/" if text.endswith("/") and path != "/" else path


def _template(instruction: Files, dest: str) -> FileCopy:
    """Return the settings that all sources of the instruction share."""
    mode, mode_str = _mode(instruction.chmod)
    return FileCopy(
        src="",
        dest=dest,
        owner=parse_owner(instruction.chown) if instruction.chown else None,
        mode=mode,
        mode_str=mode_str,
        create_dest_path=True,
        exclude_patterns=instruction.exclude,
    )


def _mode(chmod: str) -> tuple[int, str]:
    """Return `--chmod` as mode bits, or as a symbolic mode."""
    if not chmod:
        return -1, ""
    if _OCTAL.fullmatch(chmod) and int(chmod, 8) <= 0o7777:
        return int(chmod, 8), ""
    if chmod[0].isdigit():
        raise DockerfileError(f"invalid chmod parameter: '{chmod}'. it should be octal string and between 0 and 07777")
    if not _SYMBOLIC.fullmatch(chmod):
        raise DockerfileError(f"invalid chmod parameter: '{chmod}'. invalid syntax")
    return -1, chmod


def is_http(text: str) -> bool:
    """Return whether a source is a URL to download, rather than a Git repository or a path."""
    return text.startswith(("http://", "https://")) and parse_git_ref(text) is None


def _git(text: str) -> GitRef | None:
    ref = parse_git_ref(text)
    return None if ref is None or ref.local_lookalike else ref


def _check_checksum(instruction: Add | Copy) -> None:
    if not isinstance(instruction, Add) or not instruction.checksum:
        return
    if len(instruction.sources) != 1:
        raise DockerfileError("checksum can't be specified for multiple sources")
    if not is_http(instruction.sources[0]) and not parse_git_ref(instruction.sources[0]):
        raise DockerfileError("checksum requires HTTP(S) or Git sources")


def _source(step: Step, instruction: Add | Copy, template: FileCopy, text: str, name: str) -> Part:
    if repository := _git(text):
        if not isinstance(instruction, Add):
            raise DockerfileError("source can't be a git ref for COPY")
        source = Node(_repository(instruction, repository).source(), name=name)
        return msgspec.structs.replace(template, src="/"), Edge(source)
    if is_http(text):
        if not isinstance(instruction, Add):
            raise DockerfileError("source can't be a URL for COPY")
        filename = _filename(text)
        attrs = {"http.filename": filename}
        if instruction.checksum:
            if wrong := digest_error(instruction.checksum):
                raise DockerfileError(wrong)
            attrs["http.checksum"] = instruction.checksum
        copy = msgspec.structs.replace(template, src=f"/{filename}", attempt_unpack=bool(instruction.unpack))
        return copy, Edge(Node(SourceOp(text, attrs), name=name))
    return _local(step, instruction, template, text)


def _check_ignored(step: Step, instruction: Add | Copy, text: str) -> None:
    """Check whether .dockerignore excludes the copied files. With exceptions in it, that is unknown without looking."""
    ignored = step.lowering.ignored
    if ignored is None or ignored.exclusions or step.command.sources:
        return
    path = clean_path(text)
    if path in (".", "/") and not {"*", "**", "**/*"} & set(ignored.patterns):
        return  # the root of the context is not a file; only these exclude everything in it
    if ignored.matches(path):
        keyword = "Add" if isinstance(instruction, Add) else "Copy"
        step.checks.report(COPY_IGNORED_FILE, step.location, keyword, quote(path))


def _local(step: Step, instruction: Add | Copy, template: FileCopy, text: str) -> Part:
    _check_ignored(step, instruction, text)
    include: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    src = text
    if isinstance(instruction, Copy):
        unpack = False
        if instruction.parents:
            src, pivot, pattern = text.partition(_PIVOT)
            if not pivot:
                src, pattern = "/", text
            pattern = _absolute(pattern)
            include = (pattern.lstrip("/"),)
            if not _has_wildcard(src) and not _has_wildcard(pattern):
                required = (_absolute(join_path(src, pattern)),)
    else:
        unpack = True if instruction.unpack is None else instruction.unpack
    copy = msgspec.structs.replace(
        template,
        src=clean_path(_absolute(src)),
        follow_symlink=True,
        dir_copy_contents=True,
        include_patterns=include,
        required_paths=required,
        attempt_unpack=unpack,
        allow_wildcard=True,
        allow_empty_wildcard=True,
    )
    if not isinstance(instruction, Copy) or not step.command.sources:
        return copy, step.lowering.context
    source = step.command.sources[0]
    if not source.dispatched:
        raise DockerfileError(
            f"cannot copy from stage {quote(instruction.from_)}, it needs to be defined before"
            f" current stage {quote(step.stage.label)}"
        )
    return copy, source.state.edge


def _absolute(path: str) -> str:
    return path if path.startswith("/") else join_path("/", path)


def _has_wildcard(path: str) -> bool:
    return any(c in "*?[" for c in re.sub(r"\\.", "", path))


def _heredoc(template: FileCopy, filename: str, text: str) -> Part:
    """Return a here-document as a separate file that is copied, so that `--chown` and directories work as for files."""
    path = join_path("/", filename)
    file = FileMkfile(path, 0o644, text.encode("utf-8", "surrogateescape"))
    document = file_node(None, [(file, None)], name="[internal] preparing inline document")
    return msgspec.structs.replace(template, src=path), Edge(document)


def _repository(instruction: Add, repository: GitRef) -> GitRef:
    """Return the repository, with the settings of ADD's flags."""
    keep, checksum = instruction.keep_git_dir, instruction.checksum
    if keep is not None and repository.keep_git_dir is not None and keep != repository.keep_git_dir:
        raise DockerfileError("inconsistent keep-git-dir configuration")
    if checksum and repository.checksum and checksum != repository.checksum:
        raise DockerfileError(f"checksum mismatch {quote(checksum)} != {quote(repository.checksum)}")
    return msgspec.structs.replace(
        repository,
        keep_git_dir=keep if repository.keep_git_dir is None else repository.keep_git_dir,
        checksum=repository.checksum or checksum,
    )


def _filename(url: str) -> str:
    """Return the file name of a download: the last part of the URL's path."""
    parts = split_url(url)
    path = unquote(parts.path) if parts.netloc else ""
    return path.rstrip("/").rpartition("/")[2] or "__unnamed__"


def _created_by(instruction: Add | Copy) -> str:
    words = ["ADD" if isinstance(instruction, Add) else "COPY"]
    if isinstance(instruction, Copy) and instruction.parents:
        words.append("--parents")
    if instruction.chown:
        words.append(f"--chown={instruction.chown}")
    if instruction.chmod:
        words.append(f"--chmod={instruction.chmod}")
    words += instruction.sources
    words += [f"<<{heredoc.name}" for heredoc in instruction.heredocs]
    return " ".join([*words, instruction.destination, "# buildkit"])


def _note_paths(step: Step, instruction: Add | Copy) -> None:
    """Record the paths that are read from the context or another stage, so that only those are sent."""
    for text in instruction.sources:
        if isinstance(instruction, Add) and text.startswith(("http://", "https://")):
            continue
        if step.command.sources:
            step.command.sources[0].paths.add(join_path("/", text))
        else:
            step.stage.context_paths.add(join_path("/", text))
