"""The gateway's capabilities, under BuildKit's names."""

from __future__ import annotations

FRONTEND = (
    *("solve.base", "solve.inlinereturn", "resolveimage", "resolveimage.resolvemode", "readfile", "readdir"),
    *("statfile", "return", "returnmap", "proto.refarray", "reference.output", "frontend.inputs"),
    *("gateway.solve.metadata", "frontend.caps", "gateway.solve.evaluate", "gateway.evaluate", "gateway.warnings"),
    *("source.metaresolver", "importcaches"),
    *("gateway.exec", "gateway.exec.extrahosts", "gateway.exec.secretenv", "gateway.exec.signals"),
    *("gateway.exec.filesystem", "reference.attestations"),
)
"""Those of the gateway API (`frontend/gateway/pb`)."""

LLB = (
    *("source.image", "source.image.resolvemode"),
    *("source.local", "source.local.unique", "source.local.sessionid", "source.local.includepatterns"),
    *("source.local.followpaths", "source.local.excludepatterns", "source.local.sharedkeyhint", "source.local.differ"),
    *("source.git", "source.git.keepgitdir", "source.git.fullurl", "source.git.httpauth", "source.git.knownsshhosts"),
    *("source.git.mountsshsock", "source.git.subdir", "source.git.checksum", "source.git.skipsubmodules"),
    *("source.git.mtime",),
    *("source.http", "source.http.auth", "source.http.checksum", "source.http.perm", "soruce.http.uidgid"),
    *("exec.meta.base", "exec.meta.cgroup.parent", "exec.meta.network", "exec.meta.proxyenv", "exec.meta.security"),
    *("exec.meta.security.devices.v1", "exec.meta.setsdefaultpath", "exec.meta.ulimit", "exec.meta.cdi"),
    *("exec.meta.removemountstubs.recursive", "exec.mount.bind", "exec.mount.bind.readwrite-nooutput"),
    *("exec.mount.cache", "exec.mount.cache.sharing", "exec.mount.selector", "exec.mount.tmpfs"),
    *("exec.mount.tmpfs.size", "exec.mount.secret", "exec.mount.ssh", "exec.cgroup", "exec.secretenv"),
    *("exec.validexitcode",),
    *("file.base", "file.rm.wildcard", "file.rm.nofollowsymlink", "file.copy.includeexcludepatterns"),
    *("file.copy.requiredpaths", "file.copy.alwaysreplaceexistingdestpaths", "file.copy.modestring"),
    *("file.symlink.create",),
    *("constraints", "platform", "meta.ignorecache", "meta.description", "meta.exportcache"),
    *("mergeop", "diffop", "exporter.sourcedateepoch", "source.policy"),
)
"""Those of LLB (`solver/pb`)."""

SUBREQUESTS = "moby.buildkit.frontend.subrequests"
INPUTS = "moby.buildkit.frontend.inputs"
"""The capabilities that a front end's image may declare in the label LABEL."""
LABEL = "moby.buildkit.frontend.caps"
NO_NETWORK_LABEL = "moby.buildkit.frontend.network.none"
