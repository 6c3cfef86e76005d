"""Functions of Bake files that hash passwords and decrypt; they import what they need only when called."""

from __future__ import annotations

import base64
import binascii
from typing import Any, cast

from ..errors import UsageError

_COST = 10
"""The default cost of bcrypt, as in Go: the binary logarithm of the number of rounds."""


def bcrypt(text: str, cost: int = _COST) -> str:
    """Return a salted hash of a text. Raises UsageError if the package `bcrypt` is not installed."""
    try:
        import bcrypt as library  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UsageError("the package bcrypt is not installed.", hint="pip install bcrypt") from None
    maker = cast("Any", library)
    return maker.hashpw(text.encode(), maker.gensalt(rounds=int(cost), prefix=b"2a")).decode()


def rsadecrypt(ciphertext: str, key: str) -> str:
    """Return the plaintext of a base64 ciphertext, given a private key in PEM (PKCS #1 v1.5). Raises UsageError."""
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        data = base64.b64decode(ciphertext, validate=True)
    except binascii.Error:
        raise UsageError("the ciphertext is not valid base64.") from None
    try:
        private = load_pem_private_key(key.encode(), None)
        if not isinstance(private, rsa.RSAPrivateKey):
            raise UsageError("the key is not an RSA key.")
        return private.decrypt(data, padding.PKCS1v15()).decode()
    except (ValueError, TypeError):
        raise UsageError("it cannot be decrypted with this key.") from None
