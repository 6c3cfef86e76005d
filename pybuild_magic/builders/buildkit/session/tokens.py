"""Authorization for registries (`moby.filesync.v1.Auth`): tokens are fetched here, so that passwords stay here.

A daemon first asks for a public key that stands for the credentials (the authority). It keeps the tokens that it gets
under that key, and gives them only to sessions that sign with the same key. Where there are no tokens (basic auth), or
with BUILDKIT_NO_CLIENT_TOKEN=1, it asks for the credentials themselves. Source: BuildKit's `session/auth`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from typing import TYPE_CHECKING

from ....cancel import Cancel
from ....errors import BuildError
from ....golang.parsebool import parse_bool
from ....net.grpc.rpc import INVALID, UNAUTHENTICATED, UNAVAILABLE, GrpcError
from ....net.grpc.stream import Call, prefixed
from ....net.transport import Transport, TransportError, is_loopback
from ....oci.reference import DEFAULT_DOMAIN, DEFAULT_HOST
from ....oci.remote.auth import AuthError, Authorizer
from ....oci.remote.credentials import Credentials
from ....session import Auth
from ...proto import session_pb2 as pb

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = secrets.token_bytes(16)
"""A secret of this process. Without it, a daemon could try passwords until one yields the public key."""

_tokens: dict[tuple[str, str, str, tuple[str, ...], bytes], tuple[str, float]] = {}
"""(token, expiry) by host, realm, service, scopes and credentials; shared by all sessions of the process."""


class Registries:
    """Serves the credentials of a session."""

    def __init__(self, auth: Auth | None, cancel: Cancel) -> None:
        self._auth = auth
        self._cancel = cancel

    def _find(self, host: str) -> Credentials:
        credentials = self._auth.credentials(DEFAULT_DOMAIN if host == DEFAULT_HOST else host) if self._auth else None
        return credentials or Credentials()

    def credentials(self, call: Call) -> None:
        """Return the credentials of a registry, as stored by `docker login`; empty ones when there are none."""
        known = self._find(pb.CredentialsRequest.FromString(_request(call)).Host)
        answer = pb.CredentialsResponse(Secret=known.identity_token)
        if not known.identity_token:
            answer = pb.CredentialsResponse(Username=known.username, Secret=known.password)
        call.send(prefixed(answer.SerializeToString()))

    def fetch_token(self, call: Call) -> None:
        """Fetch a bearer token for the registry from the token server that it names."""
        request = pb.FetchTokenRequest.FromString(_request(call))
        known = self._find(request.Host)
        key = (request.Host, request.Realm, request.Service, tuple(request.Scopes), _mark(known))
        token, until = _tokens.get(key, ("", 0.0))
        if known.registry_token:
            token, until = known.registry_token, time.time() + 60
        elif time.time() >= until:
            token, until = _tokens[key] = self._fetch(request, known)
        answer = pb.FetchTokenResponse(Token=token, ExpiresIn=max(1, int(until - time.time())))
        call.send(prefixed(answer.SerializeToString()))

    def _fetch(self, request: pb.FetchTokenRequest, known: Credentials) -> tuple[str, float]:
        name = request.Host.rpartition(":")[0] or request.Host
        scheme = "http" if is_loopback(name) else "https"
        offer = {"realm": request.Realm, "service": request.Service}
        transport = Transport()
        try:
            authorizer = Authorizer(transport, self._auth)
            header, seconds = authorizer.token(
                f"{scheme}://{request.Host}/", tuple(request.Scopes), offer, known, self._cancel
            )
        except TransportError as error:
            raise GrpcError(UNAUTHENTICATED, f"its token server did not answer: {error}") from error
        except (AuthError, BuildError) as error:
            raise GrpcError(UNAUTHENTICATED, str(error)) from error
        finally:
            transport.close()
        return header.removeprefix("Bearer "), time.time() + seconds

    def authority(self, call: Call) -> None:
        """Return the public key that stands for the credentials of a registry."""
        request = pb.GetTokenAuthorityRequest.FromString(_request(call))
        public = self._key(request.Host, request.Salt).public_key().public_bytes_raw()
        answer = pb.GetTokenAuthorityResponse(PublicKey=public)
        call.send(prefixed(answer.SerializeToString()))

    def verify(self, call: Call) -> None:
        """Sign the daemon's payload with the key that stands for the credentials."""
        request = pb.VerifyTokenAuthorityRequest.FromString(_request(call))
        signature = self._key(request.Host, request.Salt).sign(request.Payload)
        answer = pb.VerifyTokenAuthorityResponse(Signed=signature + request.Payload)
        call.send(prefixed(answer.SerializeToString()))

    def _key(self, host: str, salt: bytes) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if parse_bool(os.environ.get("BUILDKIT_NO_CLIENT_TOKEN", "")):
            raise GrpcError(UNAVAILABLE, "tokens are not fetched by the client")
        return Ed25519PrivateKey.from_private_bytes(hmac.digest(salt, _mark(self._find(host)), "sha256"))


def _mark(known: Credentials) -> bytes:
    """Return a seed that stands for credentials; it is the same for everybody without credentials."""
    secret = "\0".join((known.username, known.password, known.identity_token, known.registry_token))
    return hmac.digest(_SEED, secret.encode(), hashlib.sha256) if known != Credentials() else b""


def _request(call: Call) -> bytes:
    message = call.receive()
    if message is None:
        raise GrpcError(INVALID, "the call has no request")
    return message
