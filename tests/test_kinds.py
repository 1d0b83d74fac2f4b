"""A kind is a file here, or an entry point of another package; nothing else names it."""

import os
import subprocess
import sys

import pytest

from perfmon import kinds

FOREIGN = '''"""A probe of another package."""

import msgspec

from perfmon.metrics import Family

FAMILIES = (Family("probe_coffee_cups", "gauge", "Cups left in the pot."),)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the pot is asked."""

    cups: int = 1  # fewer than these fail


async def probe(target, config, trace):
    """Always enough."""
    trace.facts["probe_coffee_cups"] = float(config.cups)
'''

CONFIG = """
modules: {kitchen: {prober: coffee, coffee: {cups: 3}}}
probes: [{name: pot, module: kitchen, targets: ["pot:1"]}]
"""


@pytest.fixture
def foreign(tmp_path):
    """The environment of a process in which a package that adds the probe `coffee` is installed."""
    (tmp_path / "perfmon_coffee.py").write_text(FOREIGN)
    info = tmp_path / "perfmon_coffee-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: perfmon-coffee\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[perfmon.probes]\ncoffee = perfmon_coffee\n")
    (tmp_path / "perfmon.yml").write_text(CONFIG)
    return os.environ | {"PYTHONPATH": str(tmp_path)}


def perfmon(env, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "perfmon", *arguments], env=env, cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_kind_of_another_package_is_configured_probed_and_exported(foreign, tmp_path):
    checked = perfmon(foreign, tmp_path, "check", "perfmon.yml")
    probed = perfmon(foreign, tmp_path, "probe", "pot:1", "--module=kitchen", "--config=perfmon.yml", "--json")

    assert "perfmon.yml: fine: 1 probe (1 target), 0 samplers, 0 rules, 0 receivers\n" == checked.stdout
    assert 0 == probed.returncode
    assert '"probe_coffee_cups":3.0' in probed.stdout.replace(" ", "")


def test_its_settings_are_held_to_their_types_like_any_others(foreign, tmp_path):
    (tmp_path / "perfmon.yml").write_text(CONFIG.replace("cups: 3", "cups: many"))
    checked = perfmon(foreign, tmp_path, "check", "perfmon.yml")

    assert 104 == checked.returncode
    assert "perfmon.yml:2: modules.kitchen.coffee.cups: expected a whole number" in checked.stderr


def test_a_kind_that_is_not_there_is_answered_with_the_nearest_name():
    with pytest.raises(LookupError) as raised:
        kinds.load("probes", "htpp")

    assert 'unknown "htpp", did you mean "http"?' == str(raised.value)


def test_the_catalogue_holds_each_family_once_with_help_and_base_unit():
    families = kinds.catalogue().values()

    assert all(family.help.endswith(".") for family in families)
    assert all(family.name.endswith("_total") == (family.type == "counter") for family in families)
    assert not [family.name for family in families if family.name.endswith(("_ms", "_percent", "_mb"))]
