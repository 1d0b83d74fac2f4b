"""A blackbox.yml, unchanged: every setting that blackbox_exporter has is honoured, or refused by its name."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfmon import config
from perfmon.config.blackbox import PROBERS
from perfmon.errors import ConfigError
from perfmon.secret import Secret, masked

FIELDS = Path(__file__).parent / "blackbox_fields.txt"


class Row(msgspec.Struct, frozen=True):
    """One setting of blackbox_exporter's, and what perfmon makes of it."""

    setting: str  # "tcp.query_response[].expect"
    value: Any
    beside: list[Any]  # what must stand beside it, from the innermost mapping outwards
    outcome: str

    def document(self, *, with_it: bool) -> dict[str, Any]:
        """A file with the setting, or with only what stands beside it."""
        kind, *names = self.setting.split(".")
        if kind == "module":
            needed = {"prober": "http"} if self.setting != "module.prober" else {}
            return {"modules": {"m": needed | ({names[0]: self.value} if with_it else {})}}
        node: Any = dict(self.beside[0])
        if with_it:
            node[names[-1]] = self.value
        outer = iter(self.beside[1:])
        for name in reversed(names[:-1]):
            node = {name.removesuffix("[]"): [node] if name.endswith("[]") else node} | next(outer, {})
        if kind == "dns" and self.setting != "dns.query_name":
            node = {"query_name": "a"} | node
        return {"modules": {"m": {"prober": kind, kind: node}}}


def rows() -> list[Row]:
    lines = [line for line in FIELDS.read_text().splitlines() if line and not line.startswith("#")]
    found = []
    for setting, value, beside, outcome in (map(str.strip, line.split(" |")) for line in lines):
        told = "" if beside == "code" else beside
        parts = [yaml.safe_load(part) or {} for part in told.split(" / ")] if told else [{}]
        found.append(Row(setting, yaml.safe_load(value), parts, outcome.strip()))
    return found


ROWS = rows()


def read(tmp_path, document):
    path = tmp_path / "blackbox.yml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return config.load([], blackbox=path)


def module(tmp_path, document):
    return read(tmp_path, document).modules["m"]


def problems(tmp_path, document):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, document)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def of(outcome):
    chosen = [row for row in ROWS if row.outcome == outcome]
    return pytest.mark.parametrize("row", chosen, ids=[row.setting for row in chosen])


def test_each_setting_stands_there_once_with_an_outcome():
    assert {row.outcome for row in ROWS} <= {"honoured", "refused", "no effect"}
    assert len(ROWS) == len({row.setting for row in ROWS}) > 100


@of("honoured")
def test_a_setting_is_honoured_since_leaving_it_out_changes_what_is_read(tmp_path, row):
    assert module(tmp_path, row.document(with_it=True)) != module_or_mistake(tmp_path, row.document(with_it=False))


def module_or_mistake(tmp_path, document, *, every=False):
    try:
        return read(tmp_path, document) if every else module(tmp_path, document)
    except ConfigError as error:
        return str(error)


@of("refused")
def test_a_setting_is_refused_by_its_name_and_with_a_sentence(tmp_path, row):
    paths, sentences = zip(
        *(told.split(": ")[1:] for told in problems(tmp_path, row.document(with_it=True))), strict=True
    )

    # Of what is refused as a whole (`oauth2`) the parts are not looked at.
    assert any(f"modules.m.{row.setting.replace('[]', '[0]')}".startswith(path) for path in paths)
    assert not any("unknown" in sentence or len(sentence) < 20 for sentence in sentences)


@of("no effect")
def test_a_setting_that_says_what_is_so_anyway_changes_nothing(tmp_path, row):
    assert module(tmp_path, row.document(with_it=True)) == module(tmp_path, row.document(with_it=False))


def test_a_setting_that_is_off_is_refused_by_nobody(tmp_path):
    off = {"check_revoked": False, "proxy_url": "", "oauth2": None, "fail_if_body_json_matches_cel": None}

    plain = module(tmp_path, {"modules": {"m": {"prober": "http"}}})
    assert plain == module(tmp_path, {"modules": {"m": {"prober": "http", "http": off}}})


# ---------------------------------------------------------------- how values are written


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("5s", 5), ("1h30m", 5400), ("1m1h", 3660), ("1.5h", 5400), (".5s", 0.5), ("+250ms", 0.25), ("100us", 1e-4), ('"0"', 0),
     ("0s", 0), ("-5s", 0), ("1500000000ns", 1.5)],
)  # fmt: skip
def test_a_timeout_is_a_duration_of_go(tmp_path, written, seconds):
    assert seconds == module(tmp_path, f"modules: {{m: {{prober: tcp, timeout: {written}}}}}").timeout_s


@pytest.mark.parametrize("written", ["5", "5 s", "1d", "s", "5min", "1h 30m", '""x', "[1s]"])
def test_what_go_does_not_take_for_a_duration_is_a_mistake(tmp_path, written):
    assert "blackbox.yml:1: " in problems(tmp_path, f"modules: {{m: {{prober: tcp, timeout: {written}}}}}")[0]


def test_a_module_without_a_timeout_leaves_it_to_the_scraper(tmp_path):
    assert 0 == module(tmp_path, "modules: {m: {prober: tcp}}").timeout_s


@pytest.mark.parametrize(
    ("written", "size"),
    [("128B", 128), ("10MB", 10 << 20), ("10MiB", 10 << 20), ("1KB", 1024), ("1.5GB", 3 << 29), ("1MB512KB", 1536 << 10),
     ("0", 0), ("-1B", 0), ('"2TB"', 2 << 40)],
)  # fmt: skip
def test_a_size_counts_in_1024_whatever_its_unit(tmp_path, written, size):
    assert (
        size
        == module(
            tmp_path, f"modules: {{m: {{prober: http, http: {{body_size_limit: {written}}}}}}}"
        ).config.body_size_limit
    )


@pytest.mark.parametrize("written", ["10", "10mb", "10 MB", "big", "[1B]"])
def test_what_is_no_size_is_a_mistake(tmp_path, written):
    assert (
        "modules.m.http.body_size_limit: expected a size"
        in problems(tmp_path, f"modules: {{m: {{prober: http, http: {{body_size_limit: {written}}}}}}}")[0]
    )


def test_a_reference_is_a_plain_text(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/secret")
    read_ = module(
        tmp_path,
        "modules: {m: {prober: tcp, tcp: {query_response: [{expect: '(.*)', send: 'PONG ${1} ${env:HOME}'}]}}}",
    )

    assert "PONG ${1} ${env:HOME}" == read_.config.query_response[0].send


def test_secrets_stand_in_the_file_and_are_never_shown(tmp_path):
    read_ = module(
        tmp_path,
        """
modules:
  m:
    prober: http
    http: {basic_auth: {username: user, password: geheim}, headers: {X-Api-Key: geheim}}
""",
    )

    assert isinstance(read_.config.basic_auth.password, Secret)
    assert "geheim" not in repr(read_.config.basic_auth)
    assert "geheim" not in str(masked(read_.config))
    assert "geheim" == read_.config.basic_auth.password


def test_a_mistake_beside_a_secret_does_not_tell_it(tmp_path):
    told = problems(tmp_path, 'modules: {m: {prober: http, http: {bearer_token: "gehe\\nim", method: "G ET"}}}')

    assert 2 == len(told)
    assert not any("gehe" in problem for problem in told)


def test_an_empty_text_is_not_set_but_for_a_header(tmp_path):
    read_ = module(
        tmp_path,
        """
modules:
  m:
    prober: http
    http: {method: "", preferred_ip_protocol: "", headers: {X-Empty: "", X-Null: }, basic_auth: }
""",
    )

    assert ("GET", "ip6", {"X-Empty": "", "X-Null": ""}) == (
        read_.config.method,
        read_.config.preferred_ip_protocol,
        read_.config.headers,
    )


def test_truths_of_yaml_1_1_count(tmp_path):
    assert module(tmp_path, "modules: {m: {prober: tcp, tcp: {tls: y}}}").config.tls


def test_a_file_counts_from_the_folder_of_the_modules_and_else_from_where_perfmon_runs(
    tmp_path, monkeypatch, authority
):
    folder, work = tmp_path / "etc", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    (folder / "beside.pem").write_text("x")
    (work / "here.pem").write_text("x")
    monkeypatch.chdir(work)

    def ca_file(name):
        text = f"modules: {{m: {{prober: tcp, tcp: {{tls_config: {{ca_file: {name}}}}}}}}}"
        return module(folder, text).config.tls_config.ca_file

    assert str(folder / "beside.pem") == ca_file("beside.pem")
    assert str(work / "here.pem") == ca_file("here.pem")
    assert authority.file == ca_file(authority.file)


def test_a_file_that_is_not_there_yet_is_a_warning_as_probes_will_say_it(tmp_path):
    read_ = read(tmp_path, "modules:\n  m: {prober: tcp, tcp: {tls_config: {ca_file: /none}}}")

    path = tmp_path / "blackbox.yml"
    assert (f'{path}:2: modules.m.tcp.tls_config.ca_file: no such file: "/none"',) == read_.blackbox.warnings


def test_a_version_that_no_answer_has_is_left_out_with_a_warning(tmp_path):
    read_ = read(tmp_path, "modules: {m: {prober: http, http: {valid_http_versions: [HTTP/1.1, HTTP/2]}}}")

    assert ["HTTP/1.1"] == read_.modules["m"].config.valid_http_versions
    assert ["HTTP/2" in warning for warning in read_.blackbox.warnings] == [True]


def test_certificates_and_keys_may_stand_in_the_file_and_leave_no_other_trace(tmp_path):
    text = """
modules:
  m: {prober: tcp, tcp: {tls: true, tls_config: {ca: root, cert: leaf, key: geheim}}}
"""
    made = module(tmp_path, text)
    tls = made.config.tls_config

    assert ["root", "leaf", "geheim"] == [Path(name).read_text() for name in (tls.ca_file, tls.cert_file, tls.key_file)]
    assert made == module(tmp_path, text)
    assert "geheim" not in str(masked(made.config))
    assert ["blackbox.yml"] == [path.name for path in tmp_path.iterdir()]


def test_a_certificate_and_a_file_of_it_are_one_too_many(tmp_path):
    told = problems(tmp_path, "modules: {m: {prober: tcp, tcp: {tls_config: {ca: root, ca_file: /none}}}}")

    assert ["blackbox.yml:1: modules.m.tcp.tls_config.ca: ca_file stands beside it, expected one of them"] == told


def test_settings_of_other_probers_have_no_effect(tmp_path):
    assert module(tmp_path, "modules: {m: {prober: tcp}}") == module(
        tmp_path, "modules: {m: {prober: tcp, icmp: {ttl: 5}, http: {method: POST}}}"
    )


def test_headers_and_authorization_of_a_websocket_go_where_perfmon_has_them(tmp_path):
    read_ = module(
        tmp_path,
        """
modules:
  m:
    prober: websocket
    websocket:
      headers: {X-A: {values: [one], secrets: [two]}}
      http_config: {authorization: {credentials: three}, tls_config: {insecure_skip_verify: true}}
""",
    )

    assert {"X-A": ["one", "two"], "Authorization": "Bearer three"} == read_.config.http_config.headers
    assert read_.config.http_config.tls_config.insecure_skip_verify


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{headers: [a]}", "modules.m.websocket.headers: expected a mapping of headers by name, got a list"),
        ("{headers: {A: {value: [b]}}}", 'modules.m.websocket.headers.A.value: unknown setting "value", did you mean "values"?'),
        ("{headers: {A: {values: b}}}", 'modules.m.websocket.headers.A.values: expected a list such as [b], got "b"'),
        ("{http_config: []}", "modules.m.websocket.http_config: expected a mapping, got a list"),
        ("{http_config: {headers: a}}", 'modules.m.websocket.http_config.headers: expected a mapping of headers by name, got "a"'),
        ("{http_config: {authorization: geheim}}", "modules.m.websocket.http_config.authorization: expected a mapping, got"),
    ],
)  # fmt: skip
def test_headers_of_another_shape_are_told_where_they_stand(tmp_path, written, expected):
    told = problems(tmp_path, f"modules: {{m: {{prober: websocket, websocket: {written}}}}}")

    assert [True] == [problem.startswith(f"blackbox.yml:1: {expected}") for problem in told]


NAMES = sorted({name.removesuffix("[]") for row in ROWS for name in row.setting.split(".")[1:]})
TEXTS = st.sampled_from(
    ["", "a", "5s", "10MB", "true", "200", "~", "TLS13", "ip4", "(", "/none", "${env:X}", "127.0.0.1", "\r"]
)
NODES = st.recursive(
    TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(prober=st.sampled_from(PROBERS), node=NODES)
def test_whatever_shape_a_module_has_it_is_read_or_told(tmp_path, prober, node):
    made = module_or_mistake(tmp_path, {"modules": {"m": {"prober": prober, prober: node}}})

    assert not isinstance(made, str) or f"{tmp_path}/blackbox.yml:" in made


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("name", ["blackbox.yml"])
@pytest.mark.servers
def test_the_files_that_debian_ships_load(name):
    path = Path("/usr/share/doc/prometheus-blackbox-exporter/examples") / name
    if not path.exists():
        pytest.skip("blackbox_exporter is not installed")

    assert "http_2xx" in config.load([], blackbox=path).modules


def test_names_of_modules_are_free(tmp_path):
    assert {"a b/c"} == read(tmp_path, 'modules: {"a b/c": {prober: icmp}}').modules.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "blackbox.yml: is empty"),
        ("[]", "blackbox.yml:1: expected a mapping of modules, "),
        ("modules: []", "blackbox.yml:1: modules: expected a mapping of modules by name, got a list"),
        ("{}", 'blackbox.yml:1: "modules" is missing, expected a mapping of modules by name'),
        ("modules: {}\nprobes: []", 'blackbox.yml:2: probes: unknown section "probes", expected one of: modules'),
        ("modules: {m: }", "blackbox.yml:1: modules.m: expected a module: a mapping with its prober, got nothing"),
        ("modules: {m: {}}", 'blackbox.yml:1: modules.m: "prober" is missing, expected a text'),
        ("modules: {m: {prober: htp}}", 'blackbox.yml:1: modules.m.prober: unknown "htp", did you mean "http"?'),
        ("modules: {m: {prober: postgres}}", 'blackbox.yml:1: modules.m.prober: unknown "postgres", expected one of: dns, grpc, http, icmp, tcp, unix, websocket'),
        ("modules: {m: {prober: http, timout: 5s}}", 'blackbox.yml:1: modules.m.timout: unknown setting "timout", did you mean "timeout"?'),
        ("modules: {m: {prober: http, http: {methd: GET}}}", 'blackbox.yml:1: modules.m.http.methd: unknown setting "methd", did you mean "method"?'),
        ("modules: {m: {prober: http, http: {fail_if_body_matches_regexp: ['(']}}}", "blackbox.yml:1: modules.m.http.fail_if_body_matches_regexp[0]: not a regular expression"),
        ("modules: {m: {prober: icmp, icmp: {ttl: 256}}}", "blackbox.yml:1: modules.m.icmp.ttl: expected 0 to 255, got 256"),
        ("modules: {m: {prober: icmp, icmp: {ttl: -1}}}", "blackbox.yml:1: modules.m.icmp.ttl: expected 0 to 255, got -1"),
        ("modules: {m: {prober: dns, dns: {}}}", 'blackbox.yml:1: modules.m.dns: "query_name" is missing, expected a text'),
        ("modules: {m: {prober: dns, dns: {query_name: a, query_type: NOPE}}}", "blackbox.yml:1: modules.m.dns.query_type: no type or class of DNS"),
    ],
)  # fmt: skip
def test_a_broken_file_is_told_where_and_why(tmp_path, text, expected):
    told = problems(tmp_path, text)

    assert 1 == len(told)
    assert told[0].startswith(expected)


def test_modules_of_both_files_stand_side_by_side_and_a_name_twice_is_a_mistake(tmp_path):
    (tmp_path / "blackbox.yml").write_text(
        "modules: {theirs: {prober: tcp}, http_2xx: {prober: http, http: {method: HEAD}}}"
    )
    own = tmp_path / "perfmon.yml"
    own.write_text("""
modules: {ours: {prober: icmp}}
probes: [{name: p, module: theirs, interval: 2s, targets: ["127.0.0.1:1"]}]
""")
    both = config.load([own], blackbox=tmp_path / "blackbox.yml")

    assert {"ours", "theirs", "http_2xx"} == both.modules.keys()
    assert (2.0, "tcp") == (both.checks[0].module.timeout_s, both.checks[0].module.kind)
    own.write_text("modules: {theirs: {prober: icmp}}")
    with pytest.raises(ConfigError, match=r'"theirs" is taken by a module in .*blackbox\.yml:1'):
        config.load([own], blackbox=tmp_path / "blackbox.yml")


def test_two_readings_are_equal(tmp_path):
    text = "modules: {m: {prober: tcp, tcp: {query_response: [{expect: a, send: b}]}}}"

    assert read(tmp_path, text) == read(tmp_path, text)


# ---------------------------------------------------------------- what the guide says of it

GUIDE = Path(__file__).parents[2] / "docs" / "blackbox.md"


def said_of(row):
    """What the section of the prober says of a setting: yes, no effect or no."""
    kind, _, name = row.setting.replace("[]", "").partition(".")
    section = (
        GUIDE.read_text()
        .partition(f"\n### {'All modules' if kind == 'module' else f'`{kind}`'}\n")[2]
        .partition("\n##")[0]
    )
    paragraphs = section.split("\n\n")
    found = {
        "honoured": [part for part in paragraphs if part.strip().startswith("Honoured")],
        "no effect": [part for part in paragraphs if part.strip().startswith("Taken")],
        "refused": [part for part in paragraphs if part.strip().startswith("| refused")],
    }
    return [outcome for outcome, parts in found.items() if any(f"`{name}`" in part for part in parts)]


@pytest.mark.parametrize("row", ROWS, ids=[row.setting for row in ROWS])
def test_the_guide_says_what_becomes_of_a_setting(row):
    assert ["honoured" if row.outcome == "learning" else row.outcome] == said_of(row)


# ---------------------------------------------------------------- what blackbox_exporter itself takes

TAKEN_OR_NOT = (
    *(f"modules: {{m: {{prober: tcp, timeout: {written}}}}}" for written in (
        "5s", "1h30m", "1m1h", "1.5h", ".5s", "+250ms", "100us", "100µs", '"0"', "0s", "-5s", "1e3s", "5", "0", "1d", "5min", "s", ".s",
        "5 s", "1h 30m", "[1s]", "~", '""', "1_000s", "5S", "1h-5m",
    )),
    *(f"modules: {{m: {{prober: http, http: {{body_size_limit: {written}}}}}}}" for written in (
        "128B", "10MB", "10MiB", "1KB", "1.5GB", "1MB512KB", "0", "-1B", '"2TB"', "1EB", "10", "10mb", "10kB", "10K", "10 MB", "big",
        "[1B]", "~", "1MiB512KB",
    )),
    *(f"modules: {{m: {{prober: tcp, tcp: {{tls: {written}}}}}}}" for written in ("true", "yes", "y", "on", "N", "off", "maybe", "1")),
    *(f"modules: {{m: {{prober: icmp, icmp: {{ttl: {written}}}}}}}" for written in ("0", "255", "256", "-1", "a")),
    *(f"modules: {{m: {{prober: http, http: {written}}}}}" for written in (
        "", "~", "{}", "[]", "{methd: GET}", "{method: }", '{method: ""}', "{headers: {A: 1}}", "{headers: {A: }}", "{headers: {A: [b]}}",
        "{basic_auth: }", "{valid_status_codes: }", "{valid_status_codes: [200, 204]}", "{valid_status_codes: [a]}",
        '{fail_if_body_matches_regexp: ["("]}', "{fail_if_header_matches: [{header: A}]}", "{no_follow_redirects: true}",
        "{bearer_token: a, basic_auth: {username: b}}", "{tls_config: {min_version: TLS13}}", "{tls_config: {min_version: TLS9}}",
    )),
    "modules: {m: {prober: tcp, http: {method: POST}}}",
    "modules: {m: {prober: tcp, timout: 5s}}",
    "modules: {m: {prober: dns, dns: {query_name: a}}}",
    "modules: {m: {prober: dns, dns: {}}}",
    "modules: {m: {prober: dns, dns: {query_name: a, query_type: NOPE}}}",
    'modules: {"a b/c": {prober: tcp}}',
    "module: {m: {prober: tcp}}",
    "modules: {m: {prober: tcp}, m: {prober: tcp}}",
    "x: &x {prober: tcp}",
    "modules: {a: &a {prober: tcp}, b: *a, c: {<<: *a, timeout: 5s}}",
)  # fmt: skip


@pytest.mark.servers
@pytest.mark.parametrize("text", TAKEN_OR_NOT)
def test_what_blackbox_exporter_takes_is_taken_and_what_it_does_not_is_not(binary, tmp_path, text):
    file = tmp_path / "blackbox.yml"
    file.write_text(text)
    command = [binary("prometheus-blackbox-exporter"), "--config.check", f"--config.file={file}"]
    theirs = subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0

    assert theirs == (not isinstance(module_or_mistake(tmp_path, text, every=True), str))
