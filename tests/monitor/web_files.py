"""A web-config.yml with certificates of a test's own authority, and clients for it."""

import ssl
from pathlib import Path

import bcrypt
import trustme
import yaml

PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b"2a")).decode()


class WebFiles:
    """A folder with `web-config.yml`, the server's certificate, and the client's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "web-config.yml"
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        self.issue("server", "localhost", "127.0.0.1")
        self.issue("client", "scraper@shop.example")

    def issue(self, name: str, *identities: str, authority: trustme.CA | None = None) -> None:
        """A certificate `name.pem` with its key `name.key`."""
        issued = (authority or self.authority).issue_cert(*identities)
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")
        with (self.folder / f"{name}.pem").open("wb") as file:
            file.writelines(blob.bytes() for blob in issued.cert_chain_pems)

    def write(self, *, tls: dict | None = None, **sections) -> Path:
        """The file; with `tls` at least the server's certificate."""
        if tls is not None:
            sections["tls_server_config"] = {"cert_file": "server.pem", "key_file": "server.key", **tls}
        replacement = self.path.with_suffix(".new")
        replacement.write_text(yaml.safe_dump(sections))
        replacement.rename(self.path)
        return self.path

    def client(self, *, certificate: str = "", **settings) -> ssl.SSLContext:
        """What a client that trusts the authority begins with."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if certificate:
            context.load_cert_chain(self.folder / f"{certificate}.pem", self.folder / f"{certificate}.key")
        for name, value in settings.items():
            setattr(context, name, value)
        return context
