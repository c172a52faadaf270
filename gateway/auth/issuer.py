"""The built-in issuer: signs ID tokens for the accounts of one machine.

It speaks what a relying party needs of OIDC (discovery, key set, ID tokens
with ES256), so that the gateway checks its tokens exactly as it checks those
of the operator's own issuer. It refuses to serve on other than loopback.
"""

from __future__ import annotations

import ipaddress
import json
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.auth.users import User, Users, private
from services.kit import errors

CLIENT_ID = "iop-portal"
TOKEN_SECONDS = 8 * 3600
# Wrong passwords an account may have in a row before it waits.
_TRIES = 5
_WAIT_SECONDS = 30.0


class BuiltInIssuer:
    """Issues tokens; `url` is its issuer name."""

    def __init__(self, folder: Path, url: str, host: str) -> None:
        if not _loopback(host):
            raise errors.Precondition(
                f"the built-in issuer serves loopback only, not {host}: "
                "set IOP_OIDC_ISSUER to the operator's own"
            )
        self.url = url
        self.users = Users(folder)
        self._key = _key(folder / "issuer.pem")
        self._failures: dict[str, tuple[int, float]] = {}

    def jwks(self) -> dict[str, Any]:
        """The public key set."""
        public: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**public, "kid": "1", "use": "sig", "alg": "ES256"}]}

    def sign_in(self, name: str, password: str) -> str:
        """An ID token for the account; Unauthenticated for a wrong password, Exhausted after several."""
        failures, until = self._failures.get(name, (0, 0.0))
        now = time.monotonic()
        if failures >= _TRIES and now < until:
            raise errors.Exhausted("too many wrong passwords: wait", retry_after=until - now)
        user = self.users.check(name, password)
        if user is None:
            if len(self._failures) > 10_000:
                self._failures.clear()
            self._failures[name] = (failures + 1, now + _WAIT_SECONDS)
            raise errors.Unauthenticated("the account or its password is wrong", reason="TOKEN_INVALID")
        self._failures.pop(name, None)
        return self._token(user)

    def _token(self, user: User) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": user.name,
            "name": user.display_name,
            "roles": list(user.roles),
            "regions": list(user.regions),
            "campuses": list(user.campuses),
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "1"})


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        pem = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        private(path, pem.decode())
    loaded = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded
