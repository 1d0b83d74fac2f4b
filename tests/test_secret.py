"""References to secrets: what they stand for, and that it is never shown."""

import msgspec
import pytest

from perfmon.network.credentials import Authorization, BasicAuth
from perfmon.network.tls import TlsConfig
from perfmon.probes.http import Config
from perfmon.secret import References, Secret, cut_out, hidden, masked, secret_in


class Holder(msgspec.Struct):
    text: str


def test_a_secret_is_a_text_that_does_not_show_itself():
    secret = Secret("hidden")

    assert "hidden" == secret
    assert "Bearer hidden" == f"Bearer {secret}"
    assert "Holder(text=<secret>)" == repr(Holder(secret))
    assert "[<secret>]" == str([secret])


def test_a_setting_that_is_called_like_a_secret_is_not_shown_either():
    """Somebody may have written it down without a reference."""
    config = Config(
        headers={"X-Api-Key": "s3cret", "Accept": "text/html"},
        basic_auth=BasicAuth(username="me", password="s3cret"),
        bearer_token="s3cret",
        authorization=Authorization(credentials="s3cret"),
        tls_config=TlsConfig(cert_file="/a.pem", key_file="/a.key"),
    )

    shown = masked(config)

    assert "s3cret" not in str(shown)
    assert {"X-Api-Key": "<secret>", "Accept": "text/html"} == shown["headers"]
    assert {"username": "me", "password": "<secret>"}.items() <= shown["basic_auth"].items()
    assert {"type": "Bearer", "credentials": "<secret>"}.items() <= shown["authorization"].items()
    assert "/a.key" == shown["tls_config"]["key_file"]
    assert "" == masked(Config())["bearer_token"]


def test_references_are_replaced_wherever_they_stand(tmp_path):
    (tmp_path / "token").write_text("abc\r\n")
    references = References({"USER": "me"})

    resolved = references.resolve("${env:USER}:${file:token} $${env:USER} ${USER} $x", tmp_path)

    assert "me:abc ${env:USER} ${USER} $x" == resolved
    assert isinstance(resolved, Secret)


def test_a_text_without_references_is_no_secret(tmp_path):
    assert not isinstance(References({}).resolve("$${env:X} ${x}", tmp_path), Secret)
    assert not isinstance(References({"PORT": "80"}).resolve("${env:PORT}", tmp_path, public=True), Secret)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${env:GONE}", 'the environment variable "GONE" is not set'),
        ("${file:gone}", 'the file "{folder}/gone" cannot be read: no such file or directory'),
        ("${file:}", 'the file "{folder}" cannot be read: is a directory'),
        ("${file:latin1}", 'the file "{folder}/latin1" cannot be read: not UTF-8 text'),
        ("${file:large}", 'the file "{folder}/large" is larger than 64 KiB'),
        ("${file:/dev/zero}", 'the file "/dev/zero" is larger than 64 KiB'),
        ("${vault:x}", '"${vault:x}": unknown "vault", expected one of: env, file; `$$` begins a plain text'),
    ],
)
def test_a_reference_that_cannot_be_resolved_says_why(tmp_path, text, message):
    (tmp_path / "latin1").write_bytes(b"caf\xe9")
    (tmp_path / "large").write_bytes(b"x" * 70_000)

    with pytest.raises(ValueError) as caught:
        References({}).resolve(text, tmp_path)

    assert message.replace("{folder}", str(tmp_path)) == str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("http://${env:HOST}:${env:PORT}/", ""),
        ("${env:API_TOKEN}", "${env:API_TOKEN}"),
        ("${env:HOST} ${env:db_password}", "${env:db_password}"),
        ("${file:host}", "${file:host}"),
        ("$${file:host}", ""),
    ],
)
def test_what_may_not_be_shown(text, found):
    assert found == secret_in(text)


def test_a_message_is_cleaned_of_every_shape_of_a_secret(tmp_path):
    references = References({"A": 'quote " here', "B": "long-secret-value-of-many-characters", "C": ""})
    references.resolve("${env:A} ${env:B} ${env:C}", tmp_path)

    assert "got <secret> or <secret>" == references.mask('got quote " here or quote \\" here')
    assert 'got "<secret>..."' == references.mask('got "long-secret-value-of..."')
    assert "nothing to hide" == references.mask("nothing to hide")


def test_who_stands_before_the_host_of_a_url_is_hidden():
    config = Config(proxy_url="http://user:s3cr%40t@proxy.example:3128", body="see http://example.org/a@b")

    assert "http://<secret>@proxy.example:3128" == masked(config)["proxy_url"]
    assert "see http://example.org/a@b" == masked(config)["body"]
    assert "s3cr@t" in hidden(config)


def test_a_secret_of_a_letter_is_cut_out_as_a_word_only():
    """It would leave a hole in every word that has the letter, and so be told."""
    assert 'pip install "perfmon", got "<secret>"' == cut_out("p", 'pip install "perfmon", got "p"')
    assert "the shop says <secret>" == cut_out("long", "the shop says long")
