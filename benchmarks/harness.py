"""What the benchmarks share: real servers on free ports, CPU and memory of a process, a verdict line."""

import contextlib
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PERFMON = [sys.executable, "-m", "perfmon"]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, its threads included; from schedstat where there is one (nanoseconds, not ticks)."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except FileNotFoundError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return total / 1e9


def ticks_s(pid: int) -> float:
    """CPU seconds of a process by the kernel's own count, threads that ended included; 10 ms a step."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fds(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextlib.contextmanager
def process(command: Sequence[str], *, ready: str, log: Path) -> Iterator[subprocess.Popen]:
    """A server from its start to its SIGTERM; `ready` is a URL that answers when it is up."""
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, cwd=ROOT)
        try:
            wait_for(ready, child, log)
            yield child
        finally:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()


def wait_for(url: str, child: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if child.poll() is not None:
            break
        with contextlib.suppress(OSError):
            get(url)
            return
        time.sleep(0.1)
    raise SystemExit(f"{child.args} did not start:\n{log.read_text()[-2000:]}")


def get(url: str) -> str:
    insecure = ssl._create_unverified_context()  # the benchmark's own certificate
    with urllib.request.urlopen(url, timeout=10, context=insecure if url.startswith("https") else None) as answer:
        return answer.read().decode()


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """Debian's nginx with one small page; yields its http and https ports."""
    http, https = free_port(), free_port()
    certificate(folder)
    config = folder / "nginx.conf"
    config.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl backlog=4096; server_name localhost;
    ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem; ssl_session_cache off;
    location / {{ default_type text/plain; return 200 "hello, prober\\n"; }}
  }}
}}
""")
    command = ["/usr/sbin/nginx", "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")]
    with process(command, ready=f"http://127.0.0.1:{http}/", log=folder / "nginx.log"):
        yield http, https


def certificate(folder: Path) -> Path:
    """An ECDSA certificate for localhost by a CA of its own; answers with the CA's file."""
    import trustme

    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", "127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    ca.cert_pem.write_to_path(folder / "ca.pem")
    return folder / "ca.pem"


@contextlib.contextmanager
def perfmon(config: str, folder: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """The daemon on a config; yields the process and the URL of its page without the last slash."""
    port = free_port()
    file = folder / "perfmon.yml"
    file.write_text(config)
    url = f"http://127.0.0.1:{port}"
    listen = f"--web.listen-address=127.0.0.1:{port}"
    command = [*PERFMON, "serve", f"--config.file={file}", listen, "--log.level=warning"]
    with process(command, ready=f"{url}/-/ready", log=folder / "perfmon.log") as child:
        yield child, url


def metric(page: str, name: str, **labels: str) -> float:
    """The sum of a family's series that have these labels."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if (line.startswith((f"{name}{{", f"{name} "))) and all(label in line for label in wanted)
    )


def histogram_quantile(page: str, name: str, q: float) -> float:
    """The upper bound of the bucket in which the quantile of a histogram lies, in seconds."""
    counts: dict[float, float] = {}
    for line in page.splitlines():
        if line.startswith(f"{name}_bucket"):
            bound = float(line.partition('le="')[2].partition('"')[0])
            counts[bound] = counts.get(bound, 0.0) + float(line.rpartition(" ")[2])
    total = max(counts.values(), default=0.0)
    return next((bound for bound in sorted(counts) if counts[bound] >= q * total), float("nan"))


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def verdict(what: str, value: float, aim: float, unit: str = "") -> str:
    """`ratio 0.21, aim 0.25: PASS`."""
    return f"{what} {value:.3g}{unit}, aim <= {aim:g}{unit}: {'PASS' if value <= aim else 'MISS'}"


def workplace() -> str:
    """One line on the machine, for docs/benchmarks.md."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "?",
    )
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}, load {load:.2f}, {time.strftime('%Y-%m-%d %H:%M')}"


def temporary() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="perfmon-bench-")
