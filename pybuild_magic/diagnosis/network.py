"""The reachability of registries: only configured ones are asked, all at once, and none for long."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ..cancel import Cancel
from ..errors import BuildError
from ..net.transport import Transport, TransportError
from ..oci.reference import DEFAULT_DOMAIN
from ..oci.remote.hosts import Certificates, Endpoint, RegistrySettings, endpoints_of
from ..session.auth import DockerAuth
from .facts import Reach

PATIENCE = 0.7
"""Seconds within which a registry must answer."""
_MOST = 8
"""The most registries that are asked."""


def ask() -> Callable[[], tuple[Reach, ...]]:
    """Start asking; the returned function waits for the answers, as long as there is time."""
    try:
        settings = RegistrySettings.from_environment()
    except BuildError as error:
        problem = (Reach("", "", problem=error.message),)
        return lambda: problem
    domains = dict.fromkeys((DEFAULT_DOMAIN, *settings.mirrors, *settings.insecure, *DockerAuth().hosts()))
    targets = [(domain, endpoint) for domain in domains for endpoint in endpoints_of(domain, settings)][:_MOST]
    cancel, until = Cancel(), time.monotonic() + PATIENCE
    answers: dict[int, Reach] = {}

    def work(number: int, domain: str, endpoint: Endpoint) -> None:
        answers[number] = _reach(domain, endpoint, settings, cancel)

    # Daemon threads: a name lookup without an answer cannot be interrupted, and must not be waited for.
    threads = [
        threading.Thread(target=work, args=(number, *target), name="pybuild-doctor", daemon=True)
        for number, target in enumerate(targets)
    ]
    for thread in threads:
        thread.start()

    def wait() -> tuple[Reach, ...]:
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        cancel.cancel()
        silent = f"there was no answer within {PATIENCE} s"
        return tuple(
            answers.get(number) or Reach(domain, endpoint.host, problem=silent)
            for number, (domain, endpoint) in enumerate(targets)
        )

    return wait


def _reach(domain: str, endpoint: Endpoint, settings: RegistrySettings, cancel: Cancel) -> Reach:
    transport = Transport(tls=Certificates(settings).context, connect_timeout=PATIENCE, read_timeout=PATIENCE)
    started = time.monotonic()
    try:
        with transport.request("GET", endpoint.base, cancel, retry=False, follow=False) as response:
            # 401 asks for credentials, which is an answer.
            problem = "" if response.status < 400 or response.status in (401, 403) else f"it answers {response.status}"
    except TransportError as error:
        problem = error.reason
    except BuildError as error:
        problem = error.message
    finally:
        transport.close()
    return Reach(domain, endpoint.host, time.monotonic() - started, problem)


def proxy() -> str:
    """Return the proxy in the environment, without its credentials; "" for none."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        if value := os.environ.get(name):
            return urlsplit(value if "://" in value else f"//{value}").netloc.rpartition("@")[2]
    return ""
