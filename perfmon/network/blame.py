"""Says in perfmon's closed vocabulary what went wrong with a transfer, from what libcurl and OpenSSL say."""

import errno
import os
import re
from collections.abc import Callable

import msgspec
import pycurl

from perfmon.model import Failure, Phase, Reason
from perfmon.units import format_bytes, format_duration

__all__ = ["CUT_HEADER", "CUT_PACKED", "NOT_HTTP", "Fault", "blame", "judge_certificate", "judge_connect"]

NOT_HTTP = 8  # CURLE_WEIRD_SERVER_REPLY
CUT_HEADER, CUT_PACKED = "cut header", "cut packed body"  # our own messages, for E_PARTIAL_FILE

Judgement = tuple[Reason, str]  # and the sentence


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer that failed, as libcurl tells it."""

    code: int  # CURLE_*
    message: str
    errno: int
    verify_result: int  # OpenSSL's X509_V_ERR_*, 0 = no objection
    too_large: bool  # we ended it ourselves
    phase: Phase  # under way when it failed
    peer: str  # "127.0.0.1:443"
    elapsed_s: float  # in that phase
    body_bytes: int
    body_limit_bytes: float
    proxy: str = ""  # "127.0.0.1:3128", "" = none
    tunnel_status: int = 0  # what it answered to CONNECT, 0 = nothing yet
    quic: bool = False  # one handshake for connection and TLS


def blame(fault: Fault) -> Failure:
    """The reason, the phase and a sentence."""
    judge = _refused_tunnel if fault.tunnel_status // 100 not in (0, 2) else _JUDGES.get(fault.code, _unknown)
    reason, message = judge(fault)
    phase: Phase = "tls" if fault.quic and reason in _OF_CERTIFICATES else fault.phase
    return Failure(reason=reason, phase=phase, message=message)


_OF_CERTIFICATES: tuple[Reason, ...] = ("tls_expired", "tls_name_mismatch", "tls_untrusted")


def judge_connect(code: int, said: str, peer: str, elapsed_s: float) -> Judgement:
    """What `errno` means when nobody could be reached; `said` where there is none."""
    match code:
        case errno.ECONNREFUSED:
            return "connect_refused", f"connection refused by {peer}"
        case errno.ETIMEDOUT:
            return "connect_timeout", f"no connection to {peer} after {format_duration(elapsed_s, brief=True)}"
        case errno.ECONNRESET:
            return "reset", f"connection reset by {peer}"
        case _:
            why = os.strerror(code).lower() if code else said
            return "unreachable", f"{peer} cannot be reached: {why}"


def judge_certificate(verify_result: int, said: str, peer: str) -> Judgement:
    """What OpenSSL's objection to a certificate means."""
    if verify_result in _EXPIRED:
        when = "is not valid yet" if verify_result == 9 else "has expired"
        return "tls_expired", f"certificate of {peer} {when}"
    if verify_result in _NAME_MISMATCH:
        return "tls_name_mismatch", f"certificate of {peer} is not for this name"
    return "tls_untrusted", f"certificate of {peer} is not trusted: {said}"


def _refused_tunnel(fault: Fault) -> Judgement:
    """What a proxy means that opens no tunnel. 5xx is mostly said of a target that it cannot reach."""
    reasons: dict[int, Reason] = {401: "auth", 407: "auth", 403: "permission"}
    reason = reasons.get(fault.tunnel_status, "unreachable")
    return reason, f"proxy {fault.proxy} opens no tunnel to {fault.peer}: it answered {fault.tunnel_status} to CONNECT"


def _not_connected(fault: Fault) -> Judgement:
    if fault.quic and not fault.errno:  # libcurl tells only in its log that the kernel said so
        return "connect_refused", f"no QUIC at {fault.peer}: its UDP port is closed"
    return judge_connect(fault.errno, fault.message, fault.peer, fault.elapsed_s)


def _timed_out(fault: Fault) -> Judgement:
    peer, elapsed = fault.peer, _elapsed(fault)
    match fault.phase:
        case "connect":
            return "connect_timeout", f"no connection to {peer} after {elapsed}"
        case "tls" if fault.proxy and not fault.tunnel_status:
            return "timeout", f"proxy {fault.proxy} had not opened a tunnel to {peer} after {elapsed}"
        case "tls":
            return "timeout", f"TLS handshake with {peer} was not over after {elapsed}"
        case "request":
            return "timeout", f"{peer} had not taken the request after {elapsed}"
        case "transfer":
            return "timeout", f"response of {peer} was not over after {elapsed}, {fault.body_bytes} bytes of body came"
        case _:
            return "timeout", f"no answer from {peer} after {elapsed}"


# X509_V_ERR_*: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_EXPIRED = (9, 10)  # not yet valid, has expired
# No objection to the chain (libcurl's 1: not asked yet), since libcurl compares names itself; host name, IP address.
_NAME_MISMATCH = (0, 1, 62, 64)


def _not_verified(fault: Fault) -> Judgement:
    return judge_certificate(fault.verify_result, _openssl(fault.message), fault.peer)


def _broken(fault: Fault) -> Judgement:
    if "alert" in fault.message:  # TLS 1.3: the server judges our certificate after our handshake is over
        return "tls_handshake", f"{fault.peer} refused the TLS session: {_openssl(fault.message)}"
    if "Too large response headers" in fault.message:
        return _header_too_large(fault)
    if "chunk" in fault.message:
        return _encoding(fault)
    if fault.errno in (errno.ECONNRESET, errno.EPIPE) or "reset" in fault.message:
        return "reset", f"connection reset by {fault.peer}"
    return "closed", f"connection with {fault.peer} broke: {_openssl(fault.message)}"


def _handshake(fault: Fault) -> Judgement:
    if fault.message.endswith("Connection reset by peer"):
        return "reset", f"connection reset by {fault.peer} in the TLS handshake"
    return "tls_handshake", f"TLS handshake with {fault.peer} failed: {_openssl(fault.message)}"


def _own_certificate(fault: Fault) -> Judgement:
    return "tls_handshake", f"the client certificate cannot be used: {fault.message}"


def _own_roots(fault: Fault) -> Judgement:
    return "tls_untrusted", f"the file of trusted roots cannot be read: {fault.message}"


def _nothing(fault: Fault) -> Judgement:
    return "closed", f"connection closed by {fault.peer} without an answer"


def _partial(fault: Fault) -> Judgement:
    if fault.message == CUT_HEADER:
        return "short_body", "connection closed before the header was complete"
    if fault.message == CUT_PACKED:
        return "short_body", f"packed body is not complete, {fault.body_bytes} bytes could be unpacked"
    return "short_body", f"connection closed before the body was complete, after {fault.body_bytes} bytes"


def _not_taken(fault: Fault) -> Judgement:
    if fault.too_large:
        return "too_large", f"body is longer than {format_bytes(fault.body_limit_bytes)}"
    return _unknown(fault)


def _header_too_large(fault: Fault) -> Judgement:
    return "too_large", f"header is too large: {fault.message}"


def _encoding(fault: Fault) -> Judgement:
    return "body", f"body cannot be decoded: {fault.message}"


def _no_url(fault: Fault) -> Judgement:
    return "unreachable", f"not a URL: {fault.message}"


def _not_http(fault: Fault) -> Judgement:
    return "header", f"answer of {fault.peer} is not HTTP: {fault.message}"


def _stream(fault: Fault) -> Judgement:
    if "expected SETTINGS" in fault.message:
        return "header", f"{fault.peer} does not speak HTTP/2: {fault.message}"
    if not fault.message:
        return "closed", f"connection closed by {fault.peer} before the answer was complete"
    return "reset", f"HTTP/2 with {fault.peer} broke: {fault.message}"


def _quic(fault: Fault) -> Judgement:
    if fault.phase in ("connect", "tls"):
        return "tls_handshake", f"QUIC handshake with {fault.peer} failed: {_openssl(fault.message)}"
    return "reset", f"HTTP/3 with {fault.peer} broke: {fault.message}"


def _proxy(fault: Fault) -> Judgement:
    return "unreachable", f"proxy {fault.proxy} cannot be used: {fault.message}"


def _unknown(fault: Fault) -> Judgement:
    return "internal", f"libcurl gave up with code {fault.code}: {fault.message}"


# Plain numbers are codes that pycurl has no name for: https://curl.se/libcurl/c/libcurl-errors.html
_JUDGES: dict[int, Callable[[Fault], Judgement]] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: _not_http,  # also said of HTTP/0.9
    pycurl.E_URL_MALFORMAT: _no_url,
    pycurl.E_COULDNT_CONNECT: _not_connected,
    NOT_HTTP: _not_http,
    16: _stream,  # CURLE_HTTP2
    pycurl.E_PARTIAL_FILE: _partial,
    pycurl.E_WRITE_ERROR: _not_taken,
    pycurl.E_OPERATION_TIMEDOUT: _timed_out,
    pycurl.E_SSL_CONNECT_ERROR: _handshake,
    pycurl.E_GOT_NOTHING: _nothing,
    pycurl.E_SEND_ERROR: _broken,
    pycurl.E_RECV_ERROR: _broken,
    pycurl.E_SSL_CERTPROBLEM: _own_certificate,
    pycurl.E_SSL_CIPHER: _handshake,
    pycurl.E_PEER_FAILED_VERIFICATION: _not_verified,
    pycurl.E_BAD_CONTENT_ENCODING: _encoding,
    pycurl.E_SSL_CACERT_BADFILE: _own_roots,
    92: _stream,  # CURLE_HTTP2_STREAM
    95: _quic,  # CURLE_HTTP3
    96: _quic,  # CURLE_QUIC_CONNECT_ERROR
    97: _proxy,  # CURLE_PROXY
    100: _header_too_large,  # CURLE_TOO_LARGE
}


def _elapsed(fault: Fault) -> str:
    return format_duration(fault.elapsed_s, brief=True)


def _openssl(message: str) -> str:
    """OpenSSL's own words: of `TLS connect error: error:0A00042E:SSL routines::unexpected eof, errno 0` two of them."""
    message = re.sub(r"^.*(error:[0-9A-F]{8}:[^:]*:[^:]*:|certificate problem: |SSL_connect: )", "", message)
    return message.removesuffix(", errno 0")
