"""The files of the pages: what all have in common stands once, in frame.html, and is put around each at the start.

A page's file begins with a line that says what its head needs: `<!-- target.js | page.css target.css | One probe -->`,
which are its script, its styles and its description.
"""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

__all__ = ["FOLDER", "framed"]

FOLDER = Path(__file__).parent / "page"

_HEAD = re.compile(r"<!-- (\S+\.js) \| ([^|]+) \| ([^|]+) -->\n")
_IMPORT = re.compile(r'^import .* from "\./([a-z_]+\.js)";$', re.MULTILINE)


def framed(name: str) -> bytes:
    """One page, whole; ValueError when its file does not begin as it should."""
    text = (FOLDER / name).read_text()
    head = _HEAD.match(text)
    if head is None:
        raise ValueError(f"{name} does not begin with its script, styles and description")
    script, styles, description = head.groups()
    links = [f'<link rel="stylesheet" href="/page/{style}">' for style in styles.split()]
    # Told beforehand, or the browser would ask for one file after the other as it finds them.
    links += [f'<link rel="modulepreload" href="/page/{module}">' for module in dict.fromkeys(_imported(script))]
    frame = Template((FOLDER / "frame.html").read_text())
    whole = frame.substitute(
        description=escape(description), links="\n  ".join(links), script=script, body=text[head.end() :].rstrip("\n")
    )
    return whole.encode()


def _imported(script: str) -> Iterator[str]:
    """The modules that a script imports, and those that these do."""
    for module in _IMPORT.findall((FOLDER / script).read_text()):
        yield module
        yield from _imported(module)
