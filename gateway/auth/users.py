"""Accounts of the built-in issuer: for one machine, kept in a file of the data folder.

A real deployment signs in by OIDC with the operator's 4A portal (POR-19).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

# One account a role people have (POR-22), and one that is bound to a city (POR-23).
ACCOUNTS: tuple[tuple[str, str, tuple[str, ...], tuple[int, ...]], ...] = (
    ("admin", "系统管理员", ("admin",), (150000,)),
    ("planner", "营销策划", ("planner",), (150000,)),
    ("approver", "审批经理", ("approver",), (150000,)),
    ("clerk", "营业员", ("clerk",), (150100,)),
    ("campus", "校园经理", ("campus_manager",), (150000,)),
    ("auditor", "渠道审核", ("channel_auditor",), (150000,)),
    ("operator", "值班工程师", ("operator",), (150000,)),
    ("analyst", "分析员", ("analyst",), (150000,)),
    ("wuhai", "乌海策划", ("planner",), (150300,)),
)

_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True)
class User:
    """An account."""

    name: str
    display_name: str
    roles: tuple[str, ...]
    regions: tuple[int, ...]
    campuses: tuple[str, ...]
    salt: str
    password_hash: str


class Users:
    """The accounts of `folder`; made with random passwords when there are none.

    `passwords.json` (mode 0600) holds the first passwords for whoever installed the platform.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / "users.json"
        self.passwords_path = folder / "passwords.json"
        if not self._path.exists():
            self._create()
        rows = json.loads(self._path.read_text())
        self._users = {
            row["name"]: User(
                row["name"],
                row["display_name"],
                tuple(row["roles"]),
                tuple(row["regions"]),
                tuple(row["campuses"]),
                row["salt"],
                row["password_hash"],
            )
            for row in rows
        }

    def _create(self) -> None:
        passwords = {name: secrets.token_urlsafe(9) for name, *_ in ACCOUNTS}
        rows = []
        for name, display_name, roles, regions in ACCOUNTS:
            salt = secrets.token_hex(16)
            rows.append(
                {
                    "name": name,
                    "display_name": display_name,
                    "roles": roles,
                    "regions": regions,
                    "campuses": [],
                    "salt": salt,
                    "password_hash": _digest(passwords[name], salt),
                }
            )
        # The passwords first: accounts without them would be lost.
        private(self.passwords_path, json.dumps(passwords, indent=1))
        private(self._path, json.dumps(rows, ensure_ascii=False, indent=1))

    def check(self, name: str, password: str) -> User | None:
        """The user with this password, or None; a missing user takes as long as a wrong password."""
        user = self._users.get(name)
        salt = user.salt if user else "0" * 32
        given = _digest(password, salt)
        if user is not None and hmac.compare_digest(given, user.password_hash):
            return user
        return None


def _digest(password: str, salt: str) -> str:
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_SCRYPT).hex()


def private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
