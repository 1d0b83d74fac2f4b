"""Whether a request brings the password of a user: bcrypt, once for each user and then from memory."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping

__all__ = ["Crowded", "Passwords", "credentials"]

MOST_WAITING = 32
_LONGEST = 72  # bytes of a password that bcrypt looks at


Verify = Callable[[bytes, bytes], bool]
"""Whether a password is that of a bcrypt hash."""


def _verify(password: bytes, hashed: bytes) -> bool:
    import bcrypt  # noqa: PLC0415 - most daemons ask for no passwords

    return bcrypt.checkpw(password, hashed)


class Crowded(Exception):
    """Too many passwords wait to be verified."""


class Passwords:
    """Verifies passwords one at a time, since each takes a core for 70 ms and more."""

    def __init__(self, verify: Verify = _verify) -> None:
        self._verify = verify
        self._proved: dict[str, bytes] = {}  # by user, of what was verified last; the password cannot be had from it
        self._salt = secrets.token_bytes(32)
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def holds(self, users: Mapping[str, str], user: str, password: bytes) -> bool:
        """Whether `users` (bcrypt hashes by name) has this one with this password. Crowded when too many wait.

        An unknown user costs what a wrong password costs.
        """
        password = password[:_LONGEST]
        hashed = users.get(user) or _nobodys(users)
        proof = hmac.digest(self._salt, f"{user}\0{hashed}\0".encode() + password, hashlib.sha256)
        if user in users and hmac.compare_digest(self._proved.get(user, b""), proof):
            return True
        verified = await self._verified(password, hashed) and user in users
        if verified:
            self._proved = {name: known for name, known in self._proved.items() if name in users} | {user: proof}
        return verified

    async def _verified(self, password: bytes, hashed: str) -> bool:
        if self._waiting >= MOST_WAITING:
            raise Crowded
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(self._verify, password, hashed.encode())
        finally:
            self._waiting -= 1


def credentials(header: str) -> tuple[str, bytes] | None:
    """User and password of an `Authorization` header; None when it is no Basic one."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(b":")
    return (user.decode("utf-8", "replace"), password) if colon else None


def _nobodys(users: Mapping[str, str]) -> str:
    """The hash of a password that nobody has, as dear as the dearest of `users`."""
    cost = max(hashed[4:6] for hashed in users.values())
    return f"$2b${cost}$" + "." * 53
