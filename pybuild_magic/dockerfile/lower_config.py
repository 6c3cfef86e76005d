"""Lowering of the instructions that change the image's config: ENV, ARG, LABEL, CMD, EXPOSE, WORKDIR, …"""

from __future__ import annotations

import re

import msgspec

from ..errors import DockerfileError
from ..golang.path import duration, join_path, plain_list, quoted_list, quoted_number
from ..golang.text import quote
from ..llb.ops import Edge, FileMkdir
from ..oci.config import Healthcheck as HealthcheckConfig
from . import instructions as df
from . import rules
from .lowering import NOT_IN_ENV, Step
from .names import shown
from .outline import DeclaredArg
from .ports import parse_ports
from .stages import StageState
from .state import file_node, parse_owner

_DEFAULT_SHELLS = {"windows": ("cmd", "/S", "/C")}
_SIGNALS = frozenset(
    {"ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE"}
    | {"POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN"}
    | {"TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"}
)
_SECRET = re.compile("(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE)
_NO_SECRET = re.compile("(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
"""Words in a name that show that it is not a secret after all: `KEY_FILE`, `public_key`."""
_WINDOWS_ROOT = re.compile(r"(?:[a-zA-Z]:)?[/\\]")
_REALTIME = re.compile(r"RTMIN\+([1-9]|1[0-5])|RTMAX-([1-9]|1[0-4])")


def with_shell(stage: StageState, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a shell form as an argument of the stage's shell."""
    shell = stage.config.config.shell or _DEFAULT_SHELLS.get(stage.config.os, ("/bin/sh", "-c"))
    return (*shell, " ".join(words))


def lower_env(step: Step, instruction: df.Env) -> None:
    """Lower ENV, which applies to the stage and its image."""
    stage = step.stage
    for pair in instruction.env:
        _check_format(step, instruction, pair)
        _check_secret(step, "ENV", pair.key)
        stage.state = stage.state.with_env(pair.key, pair.value)
        stage.configure(env=_set(stage.config.config.env, pair.key, pair.value))
    step.commit(" ".join(["ENV", *(f"{pair.key}={pair.value}" for pair in instruction.env)]))


def _set(environ: tuple[str, ...], name: str, value: str) -> tuple[str, ...]:
    new = f"{name}={value}"
    for number, pair in enumerate(environ):
        if pair.partition("=")[0] == name:
            return (*environ[:number], new, *environ[number + 1 :])
    return (*environ, new)


def lower_arg(step: Step, instruction: df.Arg) -> None:
    """Lower ARG: a build arg, else the default, else the value from before the first FROM; for the stage only."""
    stage, lowering = step.stage, step.lowering
    shown_args: list[str] = []
    for arg in instruction.args:
        _check_secret(step, "ARG", arg.key)
        value = lowering.build_args.get(arg.key)
        inherited = value is None and arg.value is None and arg.key in lowering.global_args
        if inherited:
            value = lowering.global_args[arg.key]
        elif value is None and arg.value is not None:
            value = step.expand(arg.value)
        if value is not None and arg.key not in NOT_IN_ENV:
            stage.state = stage.state.with_env(arg.key, value)
        stage.build_args[arg.key] = value
        if not inherited:
            stage.outline.args[arg.key] = DeclaredArg(arg.key, value or "", arg.doc, step.location)
        stage.outline.used.add(arg.key)
        shown_args.append(arg.key if value is None else f"{arg.key}={value}")
    step.commit(" ".join(["ARG", *shown_args]))


def lower_label(step: Step, instruction: df.Label) -> None:
    """Lower LABEL."""
    for pair in instruction.labels:
        _check_format(step, instruction, pair)
    labels = step.stage.config.config.labels | {pair.key: pair.value for pair in instruction.labels}
    step.stage.configure(labels=labels)
    step.commit(" ".join(["LABEL", *(f"{pair.key}={pair.value}" for pair in instruction.labels)]))


def lower_maintainer(step: Step, instruction: df.Maintainer) -> None:
    """Lower MAINTAINER, the image's author."""
    step.stage.config = msgspec.structs.replace(step.stage.config, author=instruction.maintainer)
    step.commit(f"MAINTAINER {instruction.maintainer}")


def lower_onbuild(step: Step, instruction: df.Onbuild) -> None:
    """Lower ONBUILD, a trigger for stages based on this image."""
    step.stage.configure(on_build=(*step.stage.config.config.on_build, instruction.expression))


def lower_cmd(step: Step, instruction: df.Cmd) -> None:
    """Lower CMD."""
    _check_given_once(step, instruction)
    _check_json(step, instruction)
    args = with_shell(step.stage, instruction.args) if instruction.shell else instruction.args
    step.stage.configure(cmd=args, args_escaped=True)
    step.commit(f"CMD {quoted_list(args)}")


def lower_entrypoint(step: Step, instruction: df.Entrypoint) -> None:
    """Lower ENTRYPOINT, which resets a CMD that the stage did not set itself."""
    _check_given_once(step, instruction)
    _check_json(step, instruction)
    args = with_shell(step.stage, instruction.args) if instruction.shell else instruction.args
    step.stage.configure(entrypoint=args)
    if df.Cmd not in step.stage.locations:
        step.stage.configure(cmd=())
    step.commit(f"ENTRYPOINT {quoted_list(args)}")


def lower_healthcheck(step: Step, instruction: df.Healthcheck) -> None:
    """Lower HEALTHCHECK."""
    _check_given_once(step, instruction)
    check = HealthcheckConfig(
        test=instruction.test,
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
    step.stage.configure(healthcheck=check)
    times = (check.interval, check.timeout, check.start_period, check.start_interval)
    words = [quoted_list(check.test), *(quote(duration(time)) for time in times)]
    # Go's `%q` of the whole struct, as BuildKit wrote it up to v0.29; since then it writes field names too.
    step.commit(f"HEALTHCHECK &{{{' '.join(words)} {quoted_number(check.retries)}}}")


def lower_expose(step: Step, instruction: df.Expose) -> None:
    """Lower EXPOSE. Raises DockerfileError for an invalid port."""
    env = step.stage.state.env
    words = [word for text in instruction.ports for word in step.lowering.lexer.process_words(text, env)]
    ports = parse_ports(words, lambda rule, word: step.checks.report(rule, step.location, word))
    step.stage.configure(exposed_ports=step.stage.config.config.exposed_ports | {port: {} for port in ports})
    step.commit(f"EXPOSE {plain_list(ports)}")


def lower_user(step: Step, instruction: df.User) -> None:
    """Lower USER, for the RUNs that follow and for the image."""
    step.stage.state = msgspec.structs.replace(step.stage.state, user=instruction.user)
    step.stage.configure(user=instruction.user)
    step.commit(f"USER {instruction.user}")


def lower_volume(step: Step, instruction: df.Volume) -> None:
    """Lower VOLUME."""
    if "" in instruction.volumes:
        raise DockerfileError("VOLUME specified can not be an empty string")
    volumes = step.stage.config.config.volumes | {path: {} for path in instruction.volumes}
    step.stage.configure(volumes=volumes)
    step.commit(f"VOLUME {plain_list(instruction.volumes)}")


def lower_stopsignal(step: Step, instruction: df.StopSignal) -> None:
    """Lower STOPSIGNAL: a number other than 0, or a Linux name with or without SIG."""
    signal = instruction.signal
    digits = signal.removeprefix("-").removeprefix("+")
    if digits.isascii() and digits.isdigit():
        valid = digits.strip("0") != ""
    else:
        name = signal.upper().removeprefix("SIG")
        valid = name in _SIGNALS or bool(_REALTIME.fullmatch(name))
    if not valid:
        raise DockerfileError(f"invalid signal: {signal}")
    step.stage.configure(stop_signal=signal)
    step.commit(f"STOPSIGNAL {signal}")


def lower_shell(step: Step, instruction: df.Shell) -> None:
    """Lower SHELL, for the shell forms that follow."""
    step.stage.configure(shell=instruction.shell)
    step.commit(f"SHELL {plain_list(instruction.shell)}")


def enter_directory(stage: StageState, path: str) -> str:
    """Make `path`, relative to the working directory, the working directory; return it as an absolute path."""
    current = stage.config.config.working_dir or "/"
    directory = path if path.startswith("/") else join_path("/", current, path)
    stage.configure(working_dir=directory)
    stage.state = msgspec.structs.replace(stage.state, directory=directory)
    return directory


def lower_workdir(step: Step, instruction: df.Workdir) -> None:
    """Lower WORKDIR to a layer with the directory, owned by USER, unless it is the root."""
    stage, lowering = step.stage, step.lowering
    if not stage.workdir_given and not _is_absolute(instruction.path, stage):
        step.checks.report(rules.WORKDIR_RELATIVE_PATH, step.location, quote(instruction.path))
    stage.workdir_given = True
    directory = enter_directory(stage, instruction.path)
    if directory == "/":
        step.commit(f"WORKDIR {directory}")
        return
    user = stage.config.config.user
    action = FileMkdir(
        join_path(directory),
        0o755,
        make_parents=True,
        owner=parse_owner(user) if user else None,
        timestamp=lowering.timestamp,
    )
    name = step.prefix(stage.platform) + shown(instruction.original, lowering.lexer, stage.state.env)
    node = file_node(stage.state.edge, [(action, None)], name=name, location=instruction.location)
    stage.state = stage.state.with_edge(Edge(node))
    step.commit(f"WORKDIR {directory}", layer=True)


def _is_absolute(path: str, stage: StageState) -> bool:
    if stage.platform and stage.platform.os == "windows":
        return bool(_WINDOWS_ROOT.match(path))
    return path.startswith("/")


def _check_format(step: Step, instruction: df.Env | df.Label, pair: df.KeyValue) -> None:
    if not pair.delimited:
        step.checks.report(rules.LEGACY_KEY_VALUE_FORMAT, step.location, instruction.keyword)


def _check_secret(step: Step, keyword: str, name: str) -> None:
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        step.checks.report(rules.SECRETS_USED_IN_ARG_OR_ENV, step.location, keyword, quote(name))


def _check_given_once(step: Step, instruction: df.Cmd | df.Entrypoint | df.Healthcheck) -> None:
    """Report the earlier one of two, which has no effect."""
    earlier = step.stage.locations.get(type(instruction))
    if earlier:
        step.checks.report(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, earlier, instruction.keyword)
    step.stage.locations[type(instruction)] = step.location


def _check_json(step: Step, instruction: df.Cmd | df.Entrypoint) -> None:
    if instruction.shell and not step.stage.config.config.shell:
        step.checks.report(rules.JSON_ARGS_RECOMMENDED, step.location, instruction.keyword)
