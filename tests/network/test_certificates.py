"""Facts of chains that no well-behaved authority would issue."""

from datetime import UTC, datetime, timedelta
from ssl import DER_cert_to_PEM_cert, PEM_cert_to_DER_cert

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from perfmon.network.certificates import describe, read_chain

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ROOT_KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(subject, issuer, *, days, key=None, serial=None, names=(), extension=None):
    name = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (subject, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name[0])
        .issuer_name(name[1])
        .public_key((key or ec.generate_private_key(ec.SECP256R1())).public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=days))
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    if extension:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ROOT_KEY, SHA256()).public_bytes(Encoding.PEM).decode()


def in_days(days):
    return (NOW + timedelta(days=days)).timestamp()


@pytest.fixture
def trusting(tmp_path):
    """Write a file of roots."""

    def write(*pems):
        path = tmp_path / "roots.pem"
        path.write_text("".join(pems))
        return str(path)

    return write


def test_t04_the_chain_that_lasts_longest_counts(trusting):
    """The server still sends an old root beside which a newer one of the same name is trusted."""
    leaf = certificate("leaf", "root", days=2)
    old_root = certificate("root", "root", days=1, key=ROOT_KEY)
    new_root = certificate("root", "root", days=3, key=ROOT_KEY)

    chain = read_chain((leaf, old_root), trusting(new_root))

    assert in_days(1) == chain.facts["probe_ssl_earliest_cert_expiry"]
    assert in_days(2) == chain.facts["probe_ssl_last_chain_expiry_timestamp_seconds"]


def test_a_chain_lasts_as_long_as_its_shortest_part(trusting):
    leaf = certificate("leaf", "middle", days=90)
    middle = certificate("middle", "root", days=5)
    root = certificate("root", "root", days=1000, key=ROOT_KEY)

    chain = read_chain((leaf, middle), trusting(root))

    assert in_days(5) == chain.facts["probe_ssl_last_chain_expiry_timestamp_seconds"]


def test_of_two_ways_up_the_longer_lasting_one_counts_in_any_order(trusting):
    leaf = certificate("leaf", "middle", days=90)
    middles = (certificate("middle", "root", days=5), certificate("middle", "root", days=50))
    root = certificate("root", "root", days=1000, key=ROOT_KEY)

    for order in (middles, middles[::-1]):
        chain = read_chain((leaf, *order), trusting(root))
        assert in_days(50) == chain.facts["probe_ssl_last_chain_expiry_timestamp_seconds"]


def test_a_chain_of_a_hundred_is_read_in_no_time(trusting):
    """A hostile server may send many certificates of one name; paths must not be tried one by one."""
    root = certificate("root", "root", days=1000, key=ROOT_KEY)
    leaf = certificate("leaf", "root", days=1)
    others = [certificate("root", "root", days=number + 1, key=ROOT_KEY) for number in range(60)]

    chain = read_chain((leaf, *others), trusting(root))

    assert in_days(1) == chain.facts["probe_ssl_last_chain_expiry_timestamp_seconds"]


@pytest.mark.parametrize(
    ("serial", "expected"),
    [(0x0BFFBC11F1907D02AF719AFCD64FB253, "0bffbc11f1907d02af719afcd64fb253"), (0x5, "05"), (0xABC, "0abc")],
)
def test_t05_a_serial_number_is_lower_case_and_keeps_its_leading_zero(serial, expected):
    chain = read_chain((certificate("leaf", "root", days=1, serial=serial),), "")

    assert any(f'serialnumber="{expected}"' in name for name in chain.facts)


def test_names_are_as_blackbox_exporter_writes_them():
    chain = read_chain((certificate('le"af', "root", days=1, names=("a.example", "b.example")),), "")

    (info,) = [name for name in chain.facts if name.startswith("probe_ssl_last_chain_info")]
    assert 'subject="CN=le\\' in info
    assert 'subjectalternative="a.example,b.example"' in info
    assert ("a.example", "b.example") == chain.leaf.names


def test_names_that_cannot_be_read_hide_nothing_else():
    """An address of three bytes: OpenSSL takes the certificate all the same."""
    three_bytes = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x05\x87\x03\x01\x02\x03")
    chain = read_chain((certificate("leaf", "root", days=1, extension=three_bytes),), "")

    assert () == chain.leaf.names
    assert in_days(1) == chain.facts["probe_ssl_earliest_cert_expiry"]


def test_what_is_no_certificate_has_no_facts():
    assert read_chain(("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",), "") is None


def test_an_unreadable_root_does_not_hide_the_others(trusting):
    leaf = certificate("leaf", "root", days=2)
    root = certificate("root", "root", days=3, key=ROOT_KEY)
    nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

    chain = read_chain((leaf,), trusting(nonsense, root))

    assert in_days(2) == chain.facts["probe_ssl_last_chain_expiry_timestamp_seconds"]


GOOD = PEM_cert_to_DER_cert(certificate("leaf", "root", days=3, names=("a.example", "b.example")))
VERSION = GOOD.index(b"\xa0\x03\x02\x01\x02") + 4  # of X.509, which counts from 0


def test_a_version_that_is_none_is_no_certificate():
    odd = DER_cert_to_PEM_cert(GOOD[:VERSION] + b"\x34" + GOOD[VERSION + 1 :])

    assert (None, []) == (read_chain((odd,), ""), list(describe((odd,))))


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.binary(max_size=3)), min_size=1, max_size=4))
def test_a_spoilt_certificate_is_one_or_none_and_never_warned_of(changes):
    """With warnings as errors, as all tests have them."""
    spoilt = bytearray(GOOD)
    for at, change in changes:
        spoilt[at : at + 1] = change
    pem = DER_cert_to_PEM_cert(bytes(spoilt))
    chain = read_chain((pem,), "")

    assert chain is None or chain.facts
    assert len(list(describe((pem,)))) <= 1
