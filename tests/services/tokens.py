"""A token server as the distribution project's token specification asks for, with one user, on loopback.

It answers GET with basic credentials and POST with OAuth2 forms, and signs JSON Web Tokens (RS256) whose
header carries the certificate that the registry trusts.
"""

from __future__ import annotations

import base64
import datetime
import json
import secrets
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

SERVICE = "registry.tests"
LIFETIME = 300  # seconds


class TokenServer:
    """A running token server; a context manager."""

    issuer = "tokens.tests"

    def __init__(self, username: str, password: str, *, anonymous_pull: bool = False) -> None:
        """Make its key and certificate; entering the context starts it."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.x509.oid import NameOID

        self.user = (username, password)
        self.refresh_token = secrets.token_hex(8)
        """What `docker login` would keep as the identity token."""
        self._anonymous_pull = anonymous_pull
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.issuer)])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self._der = certificate.public_bytes(serialization.Encoding.DER)
        self.granted: list[list[dict[str, Any]]] = []
        """The `access` claim of every token given so far."""
        self.refused = 0
        """How many requests came with wrong credentials."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The realm that the registry names in its challenge."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/token"

    def __enter__(self) -> TokenServer:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def stop(self) -> None:
        """Answer nobody from now on, as a server that is down."""
        self._server.shutdown()
        self._server.server_close()

    def grant(self, user: tuple[str, str] | None, scopes: list[str]) -> dict[str, Any] | None:
        """The answer to a request with these credentials and scopes, or None if they are wrong."""
        if user is not None and user != self.user:
            self.refused += 1
            return None
        access: list[dict[str, Any]] = []
        for scope in " ".join(scopes).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            asked = actions.split(",")
            may = asked if user else [a for a in asked if a == "pull" and self._anonymous_pull]
            if may:
                access.append({"type": kind, "name": name, "actions": may})
        self.granted.append(access)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": user[0] if user else "",
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + LIFETIME,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        token = self._sign(claims)
        issued = datetime.datetime.fromtimestamp(now, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"token": token, "access_token": token, "expires_in": LIFETIME, "issued_at": issued}

    def _sign(self, claims: dict[str, Any]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self._der).decode()]}
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            user = None
            kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
            if kind.lower() == "basic":
                name, _, password = base64.b64decode(encoded).decode().partition(":")
                user = (name, password)
            self._answer(server.grant(user, query.get("scope", [])))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = urllib.parse.parse_qs(body)
            user = (form.get("username", [""])[0], form.get("password", [""])[0])
            if form.get("refresh_token") == [server.refresh_token]:
                user = server.user
            self._answer(server.grant(user, form.get("scope", [])))

        def _answer(self, granted: dict[str, Any] | None) -> None:
            body = json.dumps(granted or {"details": "incorrect username or password"}).encode()
            self.send_response(200 if granted else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Keep tests quiet."""

    return Handler
