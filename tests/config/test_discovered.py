"""What becomes of a target that a source names: a check, or a sentence."""

import pytest

from perfmon import config
from perfmon.config.discovered import checks_of
from perfmon.target_groups import Found

TEXT = """
modules:
  quick: {prober: tcp, timeout: 2s}
  web: {prober: http}
probes:
  - name: shop
    module: quick
    interval: 10s
    labels: {team: web, env: none}
    discover: [{file: {paths: [targets/*.yml]}}]
"""


@pytest.fixture
def discovery(tmp_path):
    path = tmp_path / "perfmon.yml"
    path.write_text(TEXT)
    (found,) = config.load([path]).discoveries
    return found


def made(discovery, *targets):
    checks, refused = checks_of(discovery.blueprint, [Found(address, labels, "t") for address, labels in targets])
    return list(checks.values()), refused


def test_a_source_knows_where_to_look_and_what_its_targets_have_in_common(discovery, tmp_path):
    assert ("shop/discover[0]/file", (f"{tmp_path}/targets/*.yml",), 5.0) == (
        discovery.key, discovery.config.paths, discovery.refresh_s,
    )  # fmt: skip
    assert ("shop", "quick", 10.0, None) == (
        discovery.blueprint.probe, discovery.blueprint.module, discovery.blueprint.interval_s,
        discovery.blueprint.timeout_s,
    )  # fmt: skip


def test_a_target_has_the_settings_of_its_probe_and_the_labels_of_its_group_above_them(discovery):
    (check,), refused = made(discovery, ("a:1", {"env": "prod", "empty": "", "__meta_dc": "x", "__address__": "b:2"}))

    assert [] == refused
    assert {"probe": "shop", "target": "a:1", "module": "quick", "team": "web", "env": "prod"} == check.labels
    assert (10.0, 2.0) == (check.interval_s, check.module.timeout_s)


def test_labels_that_begin_with_two_underscores_say_how_to_probe(discovery):
    labels = {
        "__param_module": "web", "__param_hostname": "shop.example",
        "__scrape_interval__": "1m", "__scrape_timeout__": "500ms",
    }  # fmt: skip
    (check,), _ = made(discovery, ("http://192.0.2.1/", labels))

    assert ("web", "shop.example", 60.0, 0.5) == (
        check.module.name, check.target.hostname, check.interval_s, check.module.timeout_s,
    )  # fmt: skip


def test_a_module_slower_than_a_short_interval_of_the_target_gives_way(discovery):
    (check,), _ = made(discovery, ("a:1", {"__scrape_interval__": "1s"}))

    assert 1.0 == check.module.timeout_s


def test_a_confirmed_probe_confirms_what_it_discovers_within_the_interval(tmp_path):
    path = tmp_path / "perfmon.yml"
    path.write_text(TEXT.replace("labels: {team", "confirm: {attempts: 3, pause: 1s}\n    labels: {team"))
    (found,) = config.load([path]).discoveries
    labels = {"__scrape_interval__": "5s"}
    (check, quick), refused = made(found, ("a:1", {}), ("b:1", labels), ("c:1", labels | {"__scrape_timeout__": "2s"}))

    assert (3, 2.0, 1.0) == (check.confirm.attempts, check.module.timeout_s, quick.module.timeout_s)
    assert "2s is longer than what 3 attempts have in the interval 5s" in refused[0]


def test_what_fails_is_rechecked_unless_it_is_probed_as_often_as_that(tmp_path):
    path = tmp_path / "perfmon.yml"
    path.write_text(TEXT.replace("labels: {team", "interval_failing: 2s\n    labels: {team"))
    (found,) = config.load([path]).discoveries
    (check, quick), _ = made(found, ("a:1", {}), ("b:1", {"__scrape_interval__": "1s"}))

    assert (2.0, 2.0, None, 1.0) == (
        check.interval_failing_s, check.module.timeout_s, quick.interval_failing_s, quick.module.timeout_s,
    )  # fmt: skip


def test_labels_that_perfmon_sets_itself_are_exported_under_another_name_as_prometheus_does(discovery):
    (check,), _ = made(discovery, ("a:1", {"module": "m", "phase": "p", "job": "j"}))

    assert ("quick", "m", "p", "j") == tuple(
        check.labels[name] for name in ("module", "exported_module", "exported_phase", "job")
    )


def test_references_are_plain_text(discovery):
    (check,), _ = made(discovery, ("a:1", {"x": "${env:HOME}", "y": "${file:/etc/passwd}"}))

    assert ("${env:HOME}", "${file:/etc/passwd}") == (check.labels["x"], check.labels["y"])


@pytest.mark.parametrize(
    ("address", "labels", "words"),
    [
        ("nonsense", {}, 't: expected host:port, got "nonsense"'),
        ("", {}, 't: expected an address without blanks around it, got ""'),
        (" a:1", {}, 't: expected an address without blanks around it, got " a:1"'),
        ("a\n:1", {}, 't: expected an address without blanks around it, got "a\\n:1"'),
        ("a:1", {"__param_module": "wep"}, 't: __param_module: unknown "wep", did you mean "web"?'),
        ("a:1", {"__scrape_interval__": "soon"}, "t: __scrape_interval__: "),
        ("a:1", {"__scrape_interval__": "1ms"}, 't: __scrape_interval__: expected at least 100ms, got "1ms"'),
        (
            "a:1",
            {"__scrape_timeout__": "20s"},
            "t: __scrape_timeout__: the timeout 20s is longer than the interval 10s",
        ),
        ("a:1", {"__param_hostname": "a b"}, 't: __param_hostname: expected a host\'s name, got "a b"'),
        ("a:1", {"a-b": "c"}, 't: "a-b": expected a label name (letters, digits and "_", no digit first)'),
        ("a:1", {"": "c"}, 't: "": expected a label name'),
    ],
)
def test_one_that_cannot_be_watched_is_refused_in_words_and_the_others_go_on(discovery, address, labels, words):
    checks, (sentence,) = made(discovery, (address, labels), ("b:1", {}))

    assert sentence.startswith(words)
    assert ["b:1"] == [check.target.address for check in checks]


def test_a_password_in_an_address_is_refused_without_being_shown(discovery):
    _, (sentence,) = made(discovery, ("http://user:hush@a/", {"__param_module": "web"}))

    assert "hush" not in sentence
    assert 't: "http://user:<secret>@a" holds a password' in sentence


def test_the_same_target_twice_counts_once_and_with_other_labels_is_refused(discovery):
    checks, refused = made(discovery, ("a:1", {}), ("a:1", {}), ("a:1", {"env": "prod"}))

    assert ["shop/a:1"] == [check.key for check in checks]
    assert ['t: "a:1" is a target of this probe already, with other labels'] == refused


def test_two_readings_of_the_same_file_are_equal(tmp_path):
    path = tmp_path / "perfmon.yml"
    path.write_text(TEXT)

    assert config.load([path]) == config.load([path])
