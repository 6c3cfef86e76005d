"""What a process may ask of the sandbox that not every rung can give it."""

from __future__ import annotations

from ....errors import UnsupportedError
from ....llb.ops import MountType, NetMode
from .client import Helper
from .spec import RunSpec


def check_features(spec: RunSpec, helper: Helper) -> None:
    """Raise UnsupportedError for what the rung in use cannot do. The places of cache mounts need not be known yet."""
    rung = helper.rung
    if spec.hooks and rung is not None and helper.traced:
        raise UnsupportedError(
            f"A requested device has a hook ({spec.hooks[0].path}), which changes the root before the process begins; "
            f"rung {rung.number} ({rung.name}) has no root by then.",
            hint="Use a specification without hooks, or --device /dev/PATH; `%build doctor` shows what a better rung "
            "needs.",
        )
    if helper.copied:
        _check_for_proot(spec)


def _check_for_proot(spec: RunSpec) -> None:
    words = {
        "--network=none": spec.network == NetMode.NONE,
        "--read-only": spec.readonly_root,
        **{
            f"a read-only mount at {mount.dest}": True
            for mount in spec.mounts
            if mount.readonly and (mount.source is not None or mount.kind == MountType.CACHE)
        },
    }
    for feature, is_requested in words.items():
        if is_requested:
            raise UnsupportedError(
                f"RUN uses proot here, which cannot do {feature}.",
                hint="Install pybuild_magic from a wheel for this machine, which includes a tracer that can.",
            )
