"""The configuration: what is read, and what is said of what cannot be."""

import json
import time
from ipaddress import ip_network
from pathlib import Path

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfmon import config
from perfmon.commands.check import command
from perfmon.errors import ConfigError, Problem

BROKEN = Path(__file__).parent / "broken"
EXAMPLE = Path(__file__).parents[2] / "deploy" / "examples" / "perfmon.yml"
SECRETS = {
    "TOKEN": "s3cret-value",
    "BAD_REGEXP": "(s3cret-value",
    "CHAT_HOOK": "T01/B02",
    "MAIL_PASSWORD": "abc",
    "HEARTBEAT_URL": "https://hc-ping.example/abc",
    "SHOP_API_TOKEN": "abc",
    "ORDERS_PASSWORD": "abcd",
    "SHOP_PASSWORD": "abcde",
}

GOOD = """\
modules:
  quick: {prober: http, timeout: 2s, http: {valid_status_codes: [200, 204]}}
probes:
  - name: shop
    module: quick
    interval: 10s
    labels: {team: web, version: 1.10}
    targets:
      - http://127.0.0.1:8080/fast
      - {address: "http://127.0.0.1:8080/slow", interval: 30s, timeout: 3s, labels: {path: slow}}
samplers:
  - {name: me, interval: 5s, process: {groups: [{name: me, self: true}]}}
rules:
  - {name: Down, select: {probe: sh*}, threshold: rate < 50% over 1m, for: 10s}
  - {name: Memory, metric: perfmon_process_resident_memory_bytes, threshold: last < 1GiB}
receivers:
  - {name: log, log: {}}
web: {listen: [":0"], probe_allow: [10.0.0.0/8]}
""".replace("version:", "release:")


def read(tmp_path, text, name="perfmon.yml", env=None):
    path = tmp_path / name
    path.write_text(text)
    return config.load([path], env=env or {})


def problems(tmp_path, text, env=None):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, env=env)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "path", [path for path in sorted(BROKEN.glob("*.yml")) if ".also" not in path.suffixes], ids=lambda path: path.stem
)
def test_a_broken_file_gets_exactly_these_words(path, monkeypatch):
    monkeypatch.chdir(BROKEN)
    files = [path.name, *(also.name for also in sorted(BROKEN.glob(f"{path.stem}.also.yml")))]

    with pytest.raises(ConfigError) as caught:
        config.load(files, env=SECRETS)

    assert path.with_suffix(".txt").read_text() == f"{caught.value}\n"


def test_there_are_sixty_broken_files_and_no_message_without_one():
    files = {path.stem for path in BROKEN.glob("*.yml") if ".also" not in path.suffixes}

    assert files == {path.stem for path in BROKEN.glob("*.txt")}
    assert len(files) >= 60


def test_no_message_shows_a_secret():
    shown = "".join(path.read_text() for path in BROKEN.glob("*.txt"))

    assert "s3cret" not in shown
    assert "hunter2" not in shown


def test_an_alias_that_is_wrong_is_wrong_once(tmp_path):
    text = "x-labels: &labels {1st: a}\nprobes:\n" + "".join(
        f"  - {{name: p{i}, labels: *labels, targets: ['http://127.0.0.1/']}}\n" for i in range(2)
    )

    assert [
        'perfmon.yml:1: probes[0].labels.1st: expected a label name (letters, digits and "_", no digit first, no "__"), got "1st"',
        'perfmon.yml:1: probes[1].labels.1st: expected a label name (letters, digits and "_", no digit first, no "__"), got "1st"',
    ] == problems(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config.load([tmp_path / "a.yml", tmp_path])

    assert (
        Problem(str(tmp_path), 0, "", "cannot be read: is a directory"),
        Problem(str(tmp_path / "a.yml"), 0, "", "cannot be read: no such file or directory"),
    ) == caught.value.problems


def test_an_endless_file_is_read_up_to_its_limit():
    with pytest.raises(ConfigError) as caught:
        config.load(["/dev/zero"])

    assert "/dev/zero: is larger than 16 MiB" == str(caught.value)


# ---------------------------------------------------------------- whatever stands there

ALPHABET = "probesamulritgv: \n-[]{}&*!'\"#|>?%@`$,.0123456789\t\\éü\x00\x85\u2028"
PIECES = st.sampled_from(
    [
        *GOOD.splitlines(keepends=True),
        "  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "*a ",
        "&a ",
        ": ",
        "\n",
        '"',
        "'",
        "<<",
        "!!int ",
    ]
)
# fmt: off
VALUES = st.sampled_from([
    "", "~", "0", "-1", "1e999", ".nan", "9" * 5000, "[]", "{}", "[[]]", "{a: b}", "[1, {a: [2]}]", "{1: 2}", "true", "*x",
    "&x y", "! z", "<<", "a: b: c", "| a", '"\\0"', "x" * 5000, "5s", "-5s", "1e400s", "http://[", "http://\u2028/",
    "${env:TOKEN}", "${env:}", "${file:/}", "${}", "rate < 50% over 1m", "p(95) <", "2024-01-01", "0x10", "1:30", "host",
    "{host: {}}", "probe",
])
NAMES = st.sampled_from([
    "modules", "probes", "samplers", "rules", "receivers", "web", "state", "limits", "log", "name", "module", "prober", "http",
    "tcp", "targets", "address", "interval", "timeout", "labels", "host", "process", "groups", "select", "metric", "threshold",
    "absent", "for", "severity", "annotations", "alertmanager", "urls", "webhook", "url", "listen",
])
# fmt: on


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("config") / "perfmon.yml"


def words_for(path, text):
    """What is said of the text, "" when it is fine; any other exception than ConfigError fails the test."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        config.load([path], env=SECRETS)
    except ConfigError as error:
        return str(error)
    return ""


@settings(max_examples=4_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_good_file_with_lines_moved_and_values_changed_never_breaks_the_reader(scratch, data):
    lines = GOOD.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.integers(0, 4)):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[data.draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines[place] = lines[place].partition(":")[0] + ": " + data.draw(VALUES)
            case 3:
                lines[place] = lines[place][data.draw(st.integers(0, 6)) :]
            case _:
                cut = data.draw(st.integers(0, len(lines[place])))
                lines[place] = lines[place][:cut] + data.draw(st.text(ALPHABET, max_size=5)) + lines[place][cut:]
        lines = lines or [""]
    assert "s3cret" not in words_for(scratch, "\n".join(lines))


@settings(max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(ALPHABET, max_size=80) | st.binary(max_size=60))
@example("probes:\n  - {name: \ud800}")
@example("? ? ? ?")
def test_any_text_never_breaks_the_reader(scratch, text):
    assert "s3cret" not in words_for(scratch, text)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | VALUES
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=1_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES, TREES, max_size=5))
def test_any_tree_of_known_names_never_breaks_the_reader(scratch, tree):
    assert "s3cret" not in words_for(scratch, yaml.safe_dump(tree, allow_unicode=True))


# ---------------------------------------------------------------- what is read


def test_reading_an_unchanged_file_again_gives_an_equal_config(tmp_path):
    assert read(tmp_path, GOOD) == read(tmp_path, GOOD)
    assert config.load([EXAMPLE], env=SECRETS) == config.load([EXAMPLE], env=SECRETS)


def test_a_changed_file_gives_another_config(tmp_path):
    assert read(tmp_path, GOOD) != read(tmp_path, GOOD.replace("10s", "11s"))


def test_a_target_overrides_its_probe(tmp_path):
    fast, slow = read(tmp_path, GOOD).checks

    assert (10.0, 2.0, "quick") == (fast.interval_s, fast.module.timeout_s, fast.module.name)
    assert (30.0, 3.0, "quick") == (slow.interval_s, slow.module.timeout_s, slow.module.name)
    assert {"team": "web", "release": "1.10"} == fast.target.labels
    assert {"team": "web", "release": "1.10", "path": "slow"} == slow.target.labels
    assert "shop/http://127.0.0.1:8080/slow" == slow.key


def test_the_defaults_are_those_of_the_documentation(tmp_path):
    read_config = read(
        tmp_path, "probes: [{name: a, targets: ['http://127.0.0.1/']}]\nrules: [{name: R, absent: 5m}]\n"
    )
    (check,), (rule,) = read_config.checks, read_config.rules

    assert ("http_2xx", "http", 15.0, 5.0) == (
        check.module.name,
        check.module.kind,
        check.interval_s,
        check.module.timeout_s,
    )
    assert ("failed", {}, 0.0, 0.0, "critical") == (
        rule.metric,
        rule.select,
        rule.for_s,
        rule.keep_firing_for_s,
        rule.severity,
    )
    assert config.Web(listen=("127.0.0.1:10737",), probe_allow=()) == read_config.web
    assert config.State(path="perfmon.sqlite3") == read_config.state
    assert config.Limits(series=200_000, in_flight=500, in_flight_per_host=50, targets=10_000) == read_config.limits
    assert config.Log(level="info", format="console") == read_config.log
    assert {"http_2xx", "http_post_2xx", "tcp_connect"} == set(read_config.modules)


def test_a_timeout_that_nobody_asked_for_gives_way_to_a_short_interval(tmp_path):
    (check,) = read(tmp_path, "probes: [{name: a, interval: 1s, targets: ['http://127.0.0.1/']}]\n").checks

    assert 1.0 == check.module.timeout_s


def test_a_module_may_be_written_anew(tmp_path):
    read_config = read(tmp_path, "modules: {http_2xx: {prober: http, timeout: 9s, http: {method: HEAD}}}\n")

    assert ("HEAD", 9.0) == (read_config.modules["http_2xx"].config.method, read_config.modules["http_2xx"].timeout_s)


def test_a_file_of_blackbox_exporter_is_read_as_it_is(tmp_path):
    text = """\
modules:
  http_2xx:
    prober: http
    timeout: 5s
    http:
      valid_http_versions: ["HTTP/1.1", "HTTP/2.0"]
      valid_status_codes: []  # Defaults to 2xx
      method: GET
      headers: {Host: vhost.example.com, Accept-Language: en-US}
      no_such_thing_below: {}
      follow_redirects: true
      fail_if_ssl: no
      fail_if_body_matches_regexp: ["Could not connect to database"]
      fail_if_header_matches: [{header: Set-Cookie, allow_missing: true, regexp: '.*'}]
      tls_config: {insecure_skip_verify: false}
      preferred_ip_protocol: "ip4"
      ip_protocol_fallback: false
      body_size_limit: 10MB
  tls_connect: {prober: tcp, timeout: 5s, tcp: {tls: true}}
""".replace("      no_such_thing_below: {}\n", "")

    module = read(tmp_path, text).modules["http_2xx"]

    assert ("http", 5.0, "ip4", 10e6) == (
        module.kind, module.timeout_s, module.config.preferred_ip_protocol, module.config.body_size_limit,
    )  # fmt: skip


def test_several_files_make_one_config(tmp_path):
    (tmp_path / "a.yml").write_text(GOOD)
    (tmp_path / "b.yml").write_text(
        "modules: {other: {prober: tcp}}\nprobes: [{name: b, module: quick, targets: ['http://127.0.0.1/']}]\n"
        "web: {}\nlog: {level: debug}\n"
    )

    both = config.load([tmp_path / "a.yml", tmp_path / "b.yml"], env={})

    assert ["shop", "shop", "b"] == [check.target.probe for check in both.checks]
    assert {"quick", "other"} < set(both.modules)
    assert ("debug", (":0",)) == (both.log.level, both.web.listen)


def test_anchors_and_merges_are_understood(tmp_path):
    text = """\
x-defaults: &defaults {interval: 20s, labels: &labels {team: web}}
probes:
  - {<<: *defaults, name: a, targets: ['http://127.0.0.1/']}
  - {<<: *defaults, name: b, interval: 30s, labels: {<<: *labels, tier: one}, targets: ['http://127.0.0.1/']}
"""

    a, b = read(tmp_path, text).checks

    assert (20.0, {"team": "web"}) == (a.interval_s, a.target.labels)
    assert (30.0, {"team": "web", "tier": "one"}) == (b.interval_s, b.target.labels)


def test_a_setting_or_section_without_a_value_is_one_that_is_not_written(tmp_path):
    text = "rules:\nprobes:\n  - name: a\n    labels:\n    timeout:\n    targets: ['http://127.0.0.1/']\nsamplers: [{name: h, host: }]\n"

    read_config = read(tmp_path, text)

    assert ({}, "host") == (read_config.checks[0].target.labels, read_config.samplers[0].kind)


def test_a_text_stands_as_it_is_written(tmp_path):
    text = "probes: [{name: 7, labels: {a: 1.10, b: no, c: 0x1F, d: 2024-01-01, e: 1_000, f: 'null'}, targets: ['http://127.0.0.1/']}]\n"

    (check,) = read(tmp_path, text).checks

    assert "7" == check.target.probe
    assert {"a": "1.10", "b": "no", "c": "0x1F", "d": "2024-01-01", "e": "1_000", "f": "null"} == check.target.labels


def test_every_rule_has_the_links_of_alerting_that_it_has_not_itself(tmp_path):
    text = """\
alerting: {runbook_url: "https://wiki/{{alertname}}", dashboard_url: "https://g/?t={{target}}"}
probes: [{name: shop, targets: ["http://127.0.0.1/"], thresholds: {error_rate: 5%}}]
rules:
  - {name: Own, threshold: "rate < 50%", annotations: {runbook_url: "https://own/", dashboard_url: ""}}
"""
    links = {rule.name: dict(rule.annotations) for rule in read(tmp_path, text).rules}
    own = links.pop("Own")

    assert {"runbook_url": "https://own/", "dashboard_url": ""} == own
    assert [{"runbook_url": "https://wiki/{{alertname}}", "dashboard_url": "https://g/?t={{target}}"}] == list(
        links.values()
    )


def test_the_for_of_a_threshold_is_that_of_its_rule(tmp_path):
    text = "probes: [{name: a, targets: ['http://127.0.0.1/']}]\nrules: [{name: R, threshold: rate < 50% for 90s}]\n"

    assert 90.0 == read(tmp_path, text).rules[0].for_s


def test_networks_are_parsed_once(tmp_path):
    assert (ip_network("10.0.0.0/8"),) == read(tmp_path, GOOD).web.probe_allow


def test_ten_thousand_targets_are_read_in_seconds(tmp_path):
    targets = "".join(
        f"      - {{address: 'http://127.0.0.1:8080/{i}', labels: {{path: p{i}}}}}\n" for i in range(10_000)
    )
    text = "probes:\n  - name: many\n    targets:\n" + targets + "rules: [{name: A, select: {path: p9*}, absent: 5m}]\n"

    began = time.process_time()
    read_config = read(tmp_path, text)

    assert 10_000 == len(read_config.checks)
    assert time.process_time() - began < 10
    assert 1 == len({id(check.module) for check in read_config.checks})


# ---------------------------------------------------------------- secrets


def test_a_secret_is_used_and_never_shown(tmp_path):
    (tmp_path / "token").write_text("from-a-file\n")
    text = "modules: {m: {prober: http, http: {bearer_token: '${file:token}', headers: {X-Key: 'key ${env:TOKEN} $${env:NO}'}}}}\n"

    read_config = read(tmp_path, text, env=SECRETS)
    http = read_config.modules["m"].config

    assert "from-a-file" == http.bearer_token
    assert {"X-Key": "key s3cret-value ${env:NO}"} == http.headers
    assert "from-a-file" not in repr(read_config)
    assert "s3cret" not in repr(read_config)
    assert "bearer_token=<secret>" in repr(read_config)


def test_a_variable_that_is_no_secret_may_stand_in_an_address(tmp_path):
    text = "probes: [{name: a, targets: ['http://127.0.0.1:${env:PORT}/']}]\n"

    (check,) = read(tmp_path, text, env={"PORT": "8080"}).checks

    assert "Target(probe='a', address='http://127.0.0.1:8080/'" in repr(check)


def test_only_the_beginning_of_a_secret_in_a_message_is_cut_out_too(tmp_path):
    long = "(" + "s3cret" * 30
    text = "modules: {m: {prober: http, http: {fail_if_body_matches_regexp: ['${env:LONG}']}}}\n"

    (problem,) = problems(tmp_path, text, env={"LONG": long})

    assert "s3cret" not in problem


# ---------------------------------------------------------------- without a file


def test_bare_urls_are_watched_with_this_machine_and_perfmon_itself():
    read_config = config.from_urls(
        ["http://127.0.0.1:8080/", "https://shop.example/", "127.0.0.1:5432", "127.0.0.1:5432"]
    )

    assert [("http", "http_2xx", 5.0), ("http", "http_2xx", 5.0), ("tcp", "tcp_connect", 5.0)] == [
        (check.target.probe, check.module.name, check.interval_s) for check in read_config.checks
    ]
    assert [("host", "host"), ("perfmon", "process")] == [(one.name, one.kind) for one in read_config.samplers]
    assert [("ProbeDown", "threshold", 10.0)] == [(rule.name, rule.kind, rule.for_s) for rule in read_config.rules]
    assert ["log"] == [receiver.kind for receiver in read_config.receivers]


def test_without_urls_there_is_nothing_that_could_be_down():
    read_config = config.from_urls([])

    assert ((), ()) == (read_config.checks, read_config.rules)
    assert 2 == len(read_config.samplers)


def test_a_url_that_cannot_be_probed_is_named_without_a_file():
    with pytest.raises(ConfigError) as caught:
        config.from_urls(["ftp://127.0.0.1/", "nonsense"])

    assert 2 == len(caught.value.problems)
    assert {("command line", 0, "")} == {(one.file, one.line, one.path) for one in caught.value.problems}
    assert "ftp://127.0.0.1/" in str(caught.value)
    assert "expected a URL such as https://nonsense/, or HOST:PORT" in str(caught.value)


def test_a_file_among_urls_is_told_how_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("perfmon.yml").write_text("")

    with pytest.raises(ConfigError, match=r"expected --config\.file perfmon\.yml for a file"):
        config.from_urls(["perfmon.yml"])


# ---------------------------------------------------------------- the schema and the command


@pytest.fixture(scope="module")
def validator():
    schema = config.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_example_is_good_for_reader_and_schema(validator):
    read_config = config.load([EXAMPLE], env=SECRETS)

    assert [] == list(validator.iter_errors(yaml.safe_load(EXAMPLE.read_text())))
    kinds_shown = {
        "dns",
        "exec",
        "flow",
        "grpc",
        "http",
        "icmp",
        "mysql",
        "postgres",
        "redis",
        "tcp",
        "tls",
        "websocket",
    }
    assert kinds_shown == {module.kind for module in read_config.modules.values()}
    assert {"cgroup", "host", "process", "prometheus", "python"} == {sampler.kind for sampler in read_config.samplers}
    assert {"threshold", "absent", "burn_rate", "change"} == {rule.kind for rule in read_config.rules}
    assert {"email", "webhook", "log"} == {receiver.kind for receiver in read_config.receivers}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("probes", 0, "intervall"), "5s"),
        (("probes", 0, "interval"), "soon"),
        (("probes", 0, "interval"), 0.05),
        (("probes", 0, "targets"), []),
        (("probes", 0, "targets", 1, "labels", "1st"), "x"),
        (("samplers", 0, "process"), {"groups": [{"name": "a", "pid": 1}]}),
        (("samplers", 1, "process", "groups", 0, "comand"), "x"),
        (("rules", 0, "severity"), "fatal"),
        (("rules", 1, "threshold", "warn"), "x"),
        (("receivers", 1, "email", "to"), "ops@shop.example"),
        (("modules", "ssh_banner", "prober"), "tpc"),
        (("modules", "ssh_banner", "http"), {}),
        (("modules", "shop_page", "http", "methd"), "GET"),
        (("web", "listen"), ["127.0.0.1:99999"]),
        (("scrape_configs",), []),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_the_schema_refuses(validator, path, value):
    document = yaml.safe_load(EXAMPLE.read_text())
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = value

    assert [] != list(validator.iter_errors(document))


def test_every_setting_of_the_schema_has_a_type_and_no_hint_of_ours(validator):
    text = str(validator.schema)

    assert "x-public" not in text
    assert "x-expected" not in text


def test_check_counts_what_is_fine(tmp_path):
    (tmp_path / "perfmon.yml").write_text(GOOD)

    result = CliRunner().invoke(command, [str(tmp_path / "perfmon.yml")], standalone_mode=False)

    assert f"{tmp_path}/perfmon.yml: fine: 1 probe (2 targets), 1 sampler, 2 rules, 1 receiver\n" == result.output


def test_check_prints_the_schema():
    result = CliRunner().invoke(command, ["--schema"])

    assert json.loads(json.dumps(config.schema())) == json.loads(result.output)


def test_check_prints_every_problem_to_stderr_and_exits_with_104(capsys, monkeypatch):
    from perfmon.cli import run

    monkeypatch.chdir(BROKEN)

    assert 104 == run(["check", "limits.yml", "log.yml"])
    out, err = capsys.readouterr()
    assert "" == out
    assert 5 == len(err.splitlines())
    assert "log.yml:1: log.level: unknown" in err


def test_check_wants_a_file(capsys):
    from perfmon.cli import run

    assert 104 == run(["check"])
    assert "expected a FILE to check" in capsys.readouterr().err


# ---------------------------------------------------------------- what one target has of its own

OVERRIDES = """
modules:
  web:
    prober: http
    timeout: 2s
    http: {headers: {A: module, B: module}, valid_status_codes: [200], tls_config: {min_version: TLS12}}
probes:
  - name: shop
    module: web
    group: front
    tags: [a, b]
    labels: {team: web}
    targets:
      - http://plain/
      - address: http://own/
        group: admin
        tags: [b, c]
        http: {headers: {B: target, C: "${env:TOKEN}"}, valid_status_codes: [401], tls_config: {server_name: own}}
"""


def test_a_target_may_set_something_above_its_module(tmp_path):
    plain, own = read(tmp_path, OVERRIDES, env=SECRETS).checks

    assert {"A": "module", "B": "module"} == plain.module.config.headers
    assert {"A": "module", "B": "target", "C": "s3cret-value"} == own.module.config.headers
    assert "<secret>" == repr(own.module.config.headers["C"])
    assert [401] == own.module.config.valid_status_codes
    assert ("TLS12", "own") == (own.module.config.tls_config.min_version, own.module.config.tls_config.server_name)
    assert ("web", 2.0) == (own.module.name, own.module.timeout_s)


def test_a_group_is_a_label_and_tags_are_none(tmp_path):
    plain, own = read(tmp_path, OVERRIDES, env=SECRETS).checks

    assert [("front", ("a", "b")), ("admin", ("a", "b", "c"))] == [
        (check.labels["group"], check.target.tags) for check in (plain, own)
    ]
    assert "tags" not in own.labels


def test_the_schema_lets_a_target_set_some_of_what_a_module_must(tmp_path):
    text = """
modules: {mx: {prober: dns, dns: {query_name: a.example}}}
probes: [{name: ns, module: mx, targets: [{address: 127.0.0.1, dns: {attempts: 2}}]}]
"""
    jsonschema.Draft202012Validator(config.schema()).validate(yaml.safe_load(text))
    (check,) = read(tmp_path, text).checks

    assert ("a.example", 2) == (check.module.config.query_name, check.module.config.attempts)
