"""One easy handle of libcurl: configured for one request, run many times, read after each run."""

import asyncio
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec
import pycurl

from perfmon.model import Failure, Phase
from perfmon.network import blame
from perfmon.network.address import bracketed
from perfmon.network.curl_log import teller
from perfmon.network.exchange import FIRST_BYTES, Request, Response
from perfmon.network.proxy import Proxy
from perfmon.network.tls import TlsConfig, trust_file
from perfmon.network.unpack import ENCODINGS, Unpacker, UnpackingError

__all__ = ["Handle"]

_VERBOSE_EVERY = 16  # libcurl tells the TLS version in its log only, and to write that costs 6 % of a handshake
_AND_UPGRADE = 2  # CURLOPT_CONNECT_ONLY's value for a WebSocket
_SUPPRESS_CONNECT_HEADERS = 265  # CURLOPT_SUPPRESS_CONNECT_HEADERS: pycurl has no name for it
_SPOKEN = {"1.1": pycurl.CURL_HTTP_VERSION_1_1, "3": pycurl.CURL_HTTP_VERSION_3ONLY}
_HTTP_VERSIONS = {1: 1.0, 2: 1.1, 3: 2.0, 30: 3.0}  # CURL_HTTP_VERSION_*

_Marks = tuple[tuple[Phase, int], ...]
_CONNECTED: _Marks = (("connect", pycurl.CONNECT_TIME_T),)
_SHAKEN_HANDS: _Marks = (*_CONNECTED, ("tls", pycurl.APPCONNECT_TIME_T))
_ANSWERED: _Marks = (("request", pycurl.POSTTRANSFER_TIME_T), ("processing", pycurl.STARTTRANSFER_TIME_T))
_TLS_VERSIONS = {
    "TLS10": (pycurl.SSLVERSION_TLSv1_0, pycurl.SSLVERSION_MAX_TLSv1_0),
    "TLS11": (pycurl.SSLVERSION_TLSv1_1, pycurl.SSLVERSION_MAX_TLSv1_1),
    "TLS12": (pycurl.SSLVERSION_TLSv1_2, pycurl.SSLVERSION_MAX_TLSv1_2),
    "TLS13": (pycurl.SSLVERSION_TLSv1_3, pycurl.SSLVERSION_MAX_TLSv1_3),
}


class Handle:
    """The handle and what the transfer under way has brought so far."""

    __slots__ = (
        "_address",
        "_body",
        "_body_bytes",
        "_has_cookies",
        "_has_own_headers",
        "_head",
        "_keep_alive",
        "_marks",
        "_proxy_address",
        "_request",
        "_runs",
        "_size_of_one",
        "_timeout_ms",
        "_tls_version",
        "_too_large",
        "_unpacker",
        "_unpacking",
        "_verbose",
        "curl",
        "ended",
        "talks",
    )

    def __init__(self, request: Request, note: Callable[[str], None] | None, *, keep_alive: bool = False) -> None:
        self.curl = pycurl.Curl()
        self.curl.handle = self  # how `Multi` finds its way back
        self.ended: asyncio.Future[tuple[int, str]]
        self.talks = note is not None
        self._request = request
        self._keep_alive = keep_alive and not (request.connect_only or request.websocket)
        self._size_of_one = 0  # bytes of the request as libcurl sends it; 0 = not known yet
        self._marks = _marks(request)
        self._body = bytearray()
        self._body_bytes = 0
        self._head = bytearray()
        self._too_large = False
        self._unpacker: Unpacker | None = None
        self._unpacking = ""  # what was wrong with the body's encoding
        self._tls_version = ""
        self._address = ""
        self._proxy_address = ""
        self._timeout_ms = 0
        self._has_cookies = False
        self._has_own_headers = False
        self._runs = 0
        self._verbose = False
        self._configure()
        if note is not None:
            self._talk(note)

    @property
    def holds(self) -> bool:
        """Whether the connection is to outlive the transfer."""
        return self._request.websocket

    def aim(
        self,
        address: str,
        timeout_s: float,
        cookies: Iterable[bytes],
        headers: Collection[str],
        proxy_address: str = "",
    ) -> None:
        """Make ready for the next run. Options that stay as they are cost nothing.

        With a proxy, `address` is what it is told to connect to, "" for the name.
        """
        self._body.clear()
        self._body_bytes = 0
        self._head.clear()
        self._too_large = False
        self._unpacker = None
        self._unpacking = ""
        if address != self._address:
            self._address = address
            self._set_address(address)
        if proxy_address != self._proxy_address:
            self._proxy_address = proxy_address
            self.curl.setopt(pycurl.RESOLVE, [f"{self._request.proxy}:{bracketed(proxy_address)}"])
        timeout_ms = max(1, round(timeout_s * 1000))
        if timeout_ms != self._timeout_ms:
            self._timeout_ms = timeout_ms
            self.curl.setopt(pycurl.TIMEOUT_MS, timeout_ms)
        if self._has_cookies or cookies:
            self._set_cookies(cookies)
        self._has_cookies = True  # as far as is known: a run that is cancelled does not say
        if self._has_own_headers or headers:
            self._has_own_headers = bool(headers)
            self.curl.setopt(pycurl.HTTPHEADER, [*self._request.headers, *headers])
        if self._request.tls is not None and not self.talks:
            self._listen_for_version()

    def close(self) -> None:
        """Free it now. libcurl's memory and ours hold each other, so only the collector would, and late."""
        self.curl.close()
        del self.curl.handle

    def progress(self, elapsed_s: float) -> tuple[dict[Phase, float], Phase]:
        """The phases of a run that is under way, and the one it is in, which lasts until now."""
        phases, last = self._phases(self.curl.getinfo)
        phases[last] = max(phases[last], elapsed_s - sum(phases.values()) + phases[last])
        return phases, last

    def response(self, code: int, message: str) -> Response:
        """What the run that has ended came to; `code` 0 = fine."""
        info = self.curl.getinfo
        tls = self._request.tls is not None
        phases, last = self._phases(info)
        status = info(pycurl.RESPONSE_CODE)
        content_length = int(info(pycurl.CONTENT_LENGTH_DOWNLOAD_T)) if status else 0
        if self._unpacking:
            code, message = pycurl.E_BAD_CONTENT_ENCODING, self._unpacking
        if not code and (status or self._request.websocket):
            code, message = self._objection(content_length)
        # Raw, since servers send what they like; what is no UTF-8 is no host that could be looked up.
        location = self.curl.getinfo_raw(pycurl.REDIRECT_URL) if 300 <= status < 400 else None
        body = bytes(self._body)
        headers = tuple(_headers(bytes(self._head))) if self._request.keep_headers else ()
        self._body.clear()  # an idle handle holds no memory
        self._head.clear()
        return Response(
            phases=phases,
            error=_with_answer(self._blame(code, message, phases, last), status, body) if code else None,
            status=status,
            http_version=_HTTP_VERSIONS.get(info(pycurl.INFO_HTTP_VERSION), 0.0) if status else 0.0,
            content_length=content_length,
            body_bytes=self._body_bytes,
            body=body,
            headers=headers,
            last_modified=info(pycurl.INFO_FILETIME),
            resent=self._resent(info) if self._keep_alive else 0,
            location=self._named(location.decode("utf-8", "replace")) if location else "",
            cookies=self._known_cookies(),
            certificates=self._certificates() if tls else (),
            tls_version=self._tls_version if tls and not (code and last == "tls") else "",
        )

    # ------------------------------------------------------------ before a run

    def _configure(self) -> None:
        request, setopt = self._request, self.curl.setopt
        setopt(pycurl.URL, request.url)
        setopt(pycurl.NOSIGNAL, 1)
        setopt(pycurl.PROXY, "")  # whatever http_proxy says
        if request.proxy is not None:
            self._configure_proxy(request.proxy)
        setopt(pycurl.WRITEFUNCTION, self._take)
        if request.websocket:
            setopt(pycurl.CONNECT_ONLY, _AND_UPGRADE)
            setopt(pycurl.WS_OPTIONS, pycurl.WS_NOAUTOPONG)
        else:
            setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)  # pycurl has no numbers for ws and wss
        if request.fresh:
            setopt(pycurl.FRESH_CONNECT, 1)  # with `keep_alive` until `_resent` knows the size of a request
            # It would end with the transfer otherwise; a connection of CONNECT_ONLY is used by nobody else anyway.
            setopt(pycurl.FORBID_REUSE, not (request.websocket or self._keep_alive))
        if request.tls is not None:
            self._configure_tls(request.tls)
        if request.connect_only:
            setopt(pycurl.CONNECT_ONLY, 1)
            setopt(pycurl.SSL_ENABLE_ALPN, 0)
        else:
            self._configure_http()

    def _configure_http(self) -> None:
        request, setopt = self._request, self.curl.setopt
        setopt(pycurl.PATH_AS_IS, 1)
        if request.http2:
            setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE)
        elif request.versions:
            setopt(pycurl.HTTP_VERSION, _SPOKEN[request.versions])
        setopt(pycurl.OPT_FILETIME, 1)
        setopt(pycurl.COOKIEFILE, "")  # no file: it turns the cookie engine on
        setopt(pycurl.HTTPHEADER, list(request.headers))
        if request.method == "HEAD":
            setopt(pycurl.NOBODY, 1)
        elif request.body is not None:
            setopt(pycurl.POSTFIELDS, request.body)
        if request.method not in ("HEAD", "GET") or request.body is not None:
            setopt(pycurl.CUSTOMREQUEST, request.method)
        if request.decode:
            setopt(pycurl.ACCEPT_ENCODING, request.decode)
            setopt(pycurl.HTTP_CONTENT_DECODING, request.decode not in ENCODINGS)
        setopt(pycurl.HEADERFUNCTION, self._head.extend)

    def _configure_tls(self, tls: TlsConfig) -> None:
        setopt = self.curl.setopt
        setopt(pycurl.OPT_CERTINFO, 1)
        setopt(pycurl.SSL_SESSIONID_CACHE, 0)  # a resumed session would hide a bad certificate
        # OpenSSL 3.5 also makes a key for ML-KEM, which is a tenth of the handshake's cost here; every server that
        # knows ML-KEM takes one of these as well.
        setopt(pycurl.SSL_EC_CURVES, "X25519:P-256:P-384:P-521")
        if tls.insecure_skip_verify:
            setopt(pycurl.SSL_VERIFYPEER, 0)
            setopt(pycurl.SSL_VERIFYHOST, 0)
        else:
            setopt(pycurl.CAINFO, tls.ca_file or trust_file())
        if tls.cert_file:
            setopt(pycurl.SSLCERT, tls.cert_file)
            setopt(pycurl.SSLKEY, tls.key_file)
            setopt(pycurl.KEYPASSWD, "")  # otherwise OpenSSL asks at the terminal, and waits
        self._set_versions(tls)

    def _configure_proxy(self, proxy: Proxy) -> None:
        """TLS goes through a tunnel, plain text as the proxy's own request; either as Go does it."""
        request, setopt = self._request, self.curl.setopt
        setopt(pycurl.PROXY, f"{proxy.scheme}://{bracketed(proxy.host)}:{proxy.port}")
        setopt(pycurl.NOPROXY, "")  # whatever no_proxy says
        setopt(_SUPPRESS_CONNECT_HEADERS, 1)
        if proxy.user or proxy.password:
            setopt(pycurl.PROXYUSERNAME, proxy.user)
            setopt(pycurl.PROXYPASSWORD, proxy.password)
        if request.tls is not None:
            setopt(pycurl.PROXYHEADER, ["Proxy-Connection:", "User-Agent:", *proxy.headers])
            if proxy.scheme == "https":
                setopt(pycurl.PROXY_CAINFO, request.tls.ca_file or trust_file())
                setopt(pycurl.PROXY_SSL_VERIFYPEER, not request.tls.insecure_skip_verify)
                setopt(pycurl.PROXY_SSL_VERIFYHOST, 0 if request.tls.insecure_skip_verify else 2)
        elif proxy.scheme == "https":
            setopt(pycurl.PROXY_CAINFO, trust_file())

    def _set_address(self, address: str) -> None:
        """Where the name is to be found; a proxy that gets the request itself is told in its URL."""
        request = self._request
        if request.proxy is not None and request.tls is None:
            self.curl.setopt(pycurl.URL, self._addressed(address))
        else:
            self.curl.setopt(pycurl.CONNECT_TO, [f"::{bracketed(address)}:"])

    def _addressed(self, address: str) -> str:
        """The URL with the address in place of the name."""
        request = self._request
        path = request.url.removeprefix(f"http://{bracketed(request.name)}:{request.port}")
        return f"http://{bracketed(address)}:{request.port}{path}"

    def _set_versions(self, tls: TlsConfig) -> None:
        low, high = tls.min_version, tls.max_version
        if not low and high in ("TLS10", "TLS11"):
            low = high
        if low in ("TLS10", "TLS11"):
            self.curl.setopt(pycurl.SSL_CIPHER_LIST, "DEFAULT:@SECLEVEL=0")  # OpenSSL 3 refuses them otherwise
        if low or high:
            self.curl.setopt(
                pycurl.SSLVERSION, _TLS_VERSIONS[low or "TLS12"][0] | (_TLS_VERSIONS[high][1] if high else 0)
            )

    def _set_cookies(self, cookies: Iterable[bytes]) -> None:
        self.curl.setopt(pycurl.COOKIELIST, "ALL")  # forgets all
        for cookie in cookies:
            self.curl.setopt(pycurl.COOKIELIST, cookie)

    def _listen_for_version(self) -> None:
        """Have libcurl talk in the first run and in each 16th, so the version is at most that many runs old."""
        verbose = self._runs % _VERBOSE_EVERY == 0
        self._runs += 1
        if verbose != self._verbose:
            self._verbose = verbose
            self.curl.setopt(pycurl.DEBUGFUNCTION, self._take_version)
            self.curl.setopt(pycurl.VERBOSE, verbose)

    def _talk(self, note: Callable[[str], None]) -> None:
        proxy = self._request.proxy
        tell = teller(note, self._request.headers if proxy is None else (*self._request.headers, *proxy.headers))

        def hear(kind: int, text: bytes) -> None:
            self._take_version(kind, text)
            tell(kind, text)

        self.curl.setopt(pycurl.DEBUGFUNCTION, hear)
        self.curl.setopt(pycurl.VERBOSE, 1)

    # ------------------------------------------------------------ called by libcurl during a run

    def _take(self, chunk: bytes) -> int | None:
        if self._unpacker is None:
            if self._body_bytes or not self._is_packed():
                return self._keep(chunk)
            self._unpacker = Unpacker(self._request.decode)
        try:
            for piece in self._unpacker.unpack(chunk):
                if self._keep(piece) is not None:
                    return 0
        except UnpackingError as error:
            self._unpacking = str(error)
            return 0
        return None

    def _is_packed(self) -> bool:
        """Whether the answer came in the encoding that was asked for, and that is undone here."""
        if self._request.decode not in ENCODINGS:
            return False
        encodings = [value for name, value in _headers(bytes(self._head)) if name == "content-encoding"]
        return encodings[-1:] == [self._request.decode]

    def _keep(self, chunk: bytes) -> int | None:
        request = self._request
        self._body_bytes += len(chunk)
        if 0 < request.body_limit_bytes < self._body_bytes:
            self._body_bytes = int(request.body_limit_bytes)
            self._too_large = True
            return 0  # ends the transfer
        room = request.keep_body_bytes - len(self._body)
        if room > 0:
            self._body += chunk[:room]
        return None  # all of it

    def _take_version(self, kind: int, text: bytes) -> None:
        if kind == pycurl.INFOTYPE_TEXT and text.startswith(b"SSL connection using "):
            self._tls_version = text.split(None, 4)[3].decode()

    # ------------------------------------------------------------ after a run

    def _phases(self, info: Callable[[int], Any]) -> tuple[dict[Phase, float], Phase]:
        """The phases that were begun, and the last of them.

        libcurl's marks are microseconds from the start, 0 when not reached. What it does before it opens the socket
        is its own affair and counts for no phase.
        """
        before = info(pycurl.NAMELOOKUP_TIME_T)
        total = info(pycurl.TOTAL_TIME_T)
        phases: dict[Phase, float] = {}
        for phase, mark in self._marks if info(pycurl.NUM_CONNECTS) or not self._keep_alive else _ANSWERED:
            at = info(mark)
            if at <= 0:
                phases[phase] = max(0, total - before) / 1e6
                return phases, phase
            phases[phase] = max(0, at - before) / 1e6
            before = at
        if self._request.connect_only:
            return phases, self._marks[-1][0]
        phases["transfer"] = max(0, total - before) / 1e6
        return phases, "transfer"

    def _resent(self, info: Callable[[int], Any]) -> int:
        """How often libcurl sent the request again, since a connection that it reused had died.

        It says so nowhere, but REQUEST_SIZE is the sum over all that it sent. A handle's first run takes a connection
        of its own, on which nothing is resent, and so tells the size of one.
        """
        size: int = info(pycurl.REQUEST_SIZE)
        if not self._size_of_one:
            self._size_of_one = size
            if size:
                self.curl.setopt(pycurl.FRESH_CONNECT, 0)
            return 0
        return max(0, round(size / self._size_of_one) - 1)

    def _objection(self, content_length: int) -> tuple[int, str]:
        """What is wrong with an answer that libcurl takes for a good one, as its own codes have it; 0 = nothing.

        It takes a connection that is closed within the header for the header's end, and a length that is too large a
        number for none; RFC 9112 has either as an error (sections 8 and 6.3). One that is closed before the header is
        an answer to it where a WebSocket was asked for.
        """
        if not self._head:
            return pycurl.E_GOT_NOTHING, ""
        if not self._body_bytes and not _is_whole(self._head):
            return pycurl.E_PARTIAL_FILE, blame.CUT_HEADER
        if content_length < 0 and _LENGTH.search(self._head) and not _CODING.search(self._head):
            return blame.NOT_HTTP, "the length of the body is no length"
        if self._unpacker is not None and not self._unpacker.ended:
            return pycurl.E_PARTIAL_FILE, blame.CUT_PACKED
        return 0, ""

    def _named(self, location: str) -> str:
        """A location with the name again where the request had an address in its place, for a proxy."""
        if self._request.proxy is None or self._request.tls is not None or not self._address:
            return location
        addressed = f"http://{bracketed(self._address)}"
        rest = location.removeprefix(addressed)
        same = rest != location and rest[:1] in ("", "/", ":", "?", "#")
        return f"http://{bracketed(self._request.name)}{rest}" if same else location

    def _known_cookies(self) -> tuple[bytes, ...]:
        cookies = tuple(self.curl.getinfo_raw(pycurl.INFO_COOKIELIST) or ())
        self._has_cookies = bool(cookies)
        return cookies

    def _certificates(self) -> tuple[str, ...]:
        chain = self.curl.getinfo(pycurl.INFO_CERTINFO)
        return tuple(value for certificate in chain for key, value in certificate if key == "Cert")

    def _blame(self, code: int, message: str, phases: dict[Phase, float], last: Phase) -> Failure:
        proxy = self._request.proxy
        peer = f"{bracketed(self._address or self._request.name)}:{self._request.port}"
        return blame.blame(
            blame.Fault(
                code=code,
                message=message,
                errno=self.curl.getinfo(pycurl.OS_ERRNO),
                verify_result=self.curl.getinfo(pycurl.SSL_VERIFYRESULT),
                too_large=self._too_large,
                phase=last,
                peer=f"proxy {proxy}" if proxy is not None and last == "connect" else peer,
                elapsed_s=phases[last],
                body_bytes=self._body_bytes,
                body_limit_bytes=self._request.body_limit_bytes,
                quic=self._request.versions == "3",
                proxy="" if proxy is None else str(proxy),
                tunnel_status=0 if proxy is None else self.curl.getinfo(pycurl.HTTP_CONNECTCODE),
            )
        )


def _with_answer(error: Failure, status: int, body: bytes) -> Failure:
    """The failure with what came before it."""
    if not status:
        return error
    evidence = {"status": str(status)} | ({"body": body[:FIRST_BYTES].decode("utf-8", "replace")} if body else {})
    return msgspec.structs.replace(error, evidence=evidence)


def _is_whole(head: bytearray) -> bool:
    """Whether the last header of those that came, after a 100 Continue or so, has an end."""
    since = head.rfind(b"\nHTTP/") + 1
    return head.find(b"\r\n\r\n", since) >= 0 or head.find(b"\n\n", since) >= 0


_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:")
_CODING = re.compile(rb"(?im)^transfer-encoding[ \t]*:")


def _headers(head: bytes) -> Iterable[tuple[str, str]]:
    """Names in lower case and values of the last header; UTF-8 where it is, since patterns are written so."""
    for line in head[head.rfind(b"\nHTTP/") + 1 :].split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            yield _text(name).strip().lower(), _text(value).strip()


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _marks(request: Request) -> _Marks:
    """Where each phase of a request ends."""
    if request.connect_only:
        return _CONNECTED if request.tls is None else _SHAKEN_HANDS
    return _CONNECTED + _ANSWERED if request.tls is None else _SHAKEN_HANDS + _ANSWERED
