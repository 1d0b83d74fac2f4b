"""SCRAM-SHA-256 (RFC 5802, 7677) and PostgreSQL's md5: proving that one knows a password without saying it."""

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64decode, b64encode
from functools import lru_cache

__all__ = ["MAX_ROUNDS", "Scram", "ScramError", "md5_password", "prepared"]

MAX_ROUNDS = 100_000
"""More rounds of hashing than these (20 ms; servers ask for 4,096) would let a server stop perfmon."""


class ScramError(ValueError):
    """What the server says breaks the protocol, or it does not know the password."""


class Scram:
    """The client's side: `first`, `final`, `verify`, in this order. Without channel binding."""

    def __init__(self, password: str, nonce: str = "") -> None:
        self.proved = False  # whether the server has shown that it knows the password
        self._password = prepared(password)
        self._nonce = nonce or b64encode(secrets.token_bytes(18)).decode()
        self._signature = b""

    def first(self) -> bytes:
        """Who one is stands in the start-up message already, so the name stays empty."""
        return f"n,,{self._bare()}".encode()

    def final(self, server_first: bytes) -> bytes:
        """The proof, for the server's salt and nonce."""
        said = _attributes(server_first)
        nonce, salt, rounds = said.get("r", ""), _decoded(said.get("s", "")), said.get("i", "")
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramError("its nonce does not continue ours")
        if not rounds.isascii() or not rounds.isdigit() or len(rounds) > 9 or not 0 < int(rounds) <= MAX_ROUNDS:
            raise ScramError(f"it asks for {rounds[:20] or 'no'} rounds of hashing, expected {MAX_ROUNDS} at most")
        client_key, stored_key, server_key = _keys(self._password, salt, int(rounds))
        without_proof = f"c=biws,r={nonce}"
        message = f"{self._bare()},{server_first.decode()},{without_proof}".encode()
        self._signature = _hmac(server_key, message)
        proof = bytes(a ^ b for a, b in zip(client_key, _hmac(stored_key, message), strict=True))
        return f"{without_proof},p={b64encode(proof).decode()}".encode()

    def verify(self, server_final: bytes) -> bytes:
        """Whether the server knows the password too; nothing is to be said back."""
        signature = _decoded(_attributes(server_final).get("v", ""))
        if not self._signature or not hmac.compare_digest(signature, self._signature):
            raise ScramError("it did not prove that it knows the password")
        self.proved = True
        return b""

    def _bare(self) -> str:
        return f"n=,r={self._nonce}"


def prepared(password: str) -> str:
    """SASLprep (RFC 4013) as far as it changes anything that a server would accept."""
    if password.isascii():
        return password
    kept = (" " if stringprep.in_table_c12(c) else c for c in password if not stringprep.in_table_b1(c))
    return unicodedata.normalize("NFKC", "".join(kept))


def md5_password(user: str, password: str, salt: bytes) -> str:
    """What PostgreSQL up to 13 asks for by default."""
    inner = _md5((password + user).encode())
    return "md5" + _md5(inner.encode() + salt)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@lru_cache(maxsize=1024)
def _keys(password: str, salt: bytes, rounds: int) -> tuple[bytes, bytes, bytes]:
    """Client's, stored and server's key: a millisecond, and the salt changes only with the password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client_key = _hmac(salted, b"Client Key")
    return client_key, hashlib.sha256(client_key).digest(), _hmac(salted, b"Server Key")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _attributes(message: bytes) -> dict[str, str]:
    try:
        parts = message.decode().split(",")
    except UnicodeDecodeError:
        raise ScramError("its answer is no text") from None
    said = {part[0]: part[2:] for part in parts if part[1:2] == "="}
    if "e" in said:
        raise ScramError(f"it refused: {said['e'][:60]}")
    return said


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ScramError("its answer is not base64") from None
