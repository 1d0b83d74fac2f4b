"""What Prometheus sees of checks that run rarely, across a restart, and of those that are taken out."""

import time

import pytest
from daemon import eventually, free_port, get, perfmon, service
from stack import Prometheus, running

from perfmon.clock import SystemClock
from perfmon.model import Measurement, Target
from perfmon.monitor.store import Store

pytestmark = pytest.mark.servers

AGE_S = 1800.0


def scraping(binary, folder, perfmon_port):
    """Debian's Prometheus, scraping every 500 ms; with it stands its five minutes of patience with what it misses."""
    file, address = folder / "prometheus.yml", f"127.0.0.1:{free_port()}"
    file.write_text(
        f"""
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs: [{{job_name: perfmon, static_configs: [{{targets: ["127.0.0.1:{perfmon_port}"]}}]}}]
"""
    )
    command = [
        binary("prometheus"),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder}/prometheus",
        f"--web.listen-address={address}",
    ]
    return running(command, folder / "prometheus.log", ready=f"http://{address}/-/ready"), f"http://{address}"


def test_an_hourly_check_has_a_value_at_every_instant_and_ends_when_it_is_taken_out(binary, tmp_path):
    """Cases S05, as far as it is about gaps, and S07."""
    with service() as shop:
        file, address = tmp_path / "perfmon.yml", f"{shop.url}/hourly"
        text = f"probes: [{{name: shop, interval: 1h, targets: ['{address}', '{shop.url}/other']}}]\n"
        file.write_text(text + "state: {path: state.sqlite3}\n")
        former = Store(tmp_path / "state.sqlite3", clock=SystemClock())
        ran_at = time.time() - AGE_S
        for target in (address, f"{shop.url}/other"):
            former.put_results({f"shop/{target}": result(target)})
        former.close()
        with perfmon(tmp_path, f"--config.file={file}") as daemon:
            server, url = scraping(binary, tmp_path, daemon.port)
            with server:
                prometheus = Prometheus(url, tmp_path / "prometheus.log")
                mine = f'{{target="{address}"}}'
                eventually(lambda: prometheus.query(f"count_over_time(probe_success{mine}[1m]) >= 6"), "it scrapes")
                assert 1.0 == prometheus.value(f"probe_success{mine}")
                assert prometheus.value(f"time() - timestamp(probe_success{mine})") < 2.0
                assert abs(prometheus.value(f"perfmon_probe_last_run_timestamp_seconds{mine}") - ran_at) < 1.0

                daemon.stop()
                daemon.start()
                back = time.time()
                eventually(lambda: prometheus.query(f"timestamp(probe_success{mine}) > {back}"), "it scrapes again")
                assert 0.0 == prometheus.value(f"resets(probe_success{mine}[1m])")
                assert abs(prometheus.value(f"perfmon_probe_last_run_timestamp_seconds{mine}") - ran_at) < 1.0

                file.write_text(file.read_text().replace(f"'{address}', ", ""))
                assert 200 == get(f"{daemon.url}/-/reload", method="POST")[0]
                removed = time.time()
                eventually(lambda: not prometheus.query(f"probe_success{mine}"), "the series ends")
                assert time.time() - removed < 5.0
                assert 1.0 == prometheus.value(f'probe_success{{target="{shop.url}/other"}}')


def result(address):
    return Measurement(
        target=Target(probe="shop", address=address),
        module="http_2xx",
        at=SystemClock().monotonic() - AGE_S,
        duration_s=0.25,
        phases={"connect": 0.25},
        facts={"probe_ip_protocol": 4.0},
    )
