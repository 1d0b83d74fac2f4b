"""How generated YAML is written: expressions of several lines stand as such."""

import yaml

__all__ = ["Dumper"]


class Dumper(yaml.SafeDumper):
    """For `yaml.dump`."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)
