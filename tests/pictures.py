"""Pictures of all dashboards, light and dark, 1280 wide: of a running Prometheus, or of the stack of tests/stack.py.

.venv/bin/python tests/pictures.py --out /tmp/pictures                 # three minutes of the stack, with an outage
.venv/bin/python tests/pictures.py --out /tmp/pictures --prometheus http://127.0.0.1:9090 --minutes 60
"""

import argparse
import json
import math
import re
import shutil
import tempfile
import time
from pathlib import Path

import requests
from browser import chromium
from panel_drawing import Answer, Series, page
from servers import Authority
from stack import stack

ROOT = Path(__file__).parents[1]
POINTS = 120
RATE_S = 20  # $__rate_interval: four of the five seconds between scrapes


def main():
    arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.prometheus:
        draw_all(arguments.prometheus, arguments.minutes, arguments.out)
        return
    with tempfile.TemporaryDirectory() as folder, stack(find, Path(folder), Authority(Path(folder))) as running:
        third_s = arguments.minutes * 60 / 3
        time.sleep(third_s)
        with running.nginx.stopped():
            time.sleep(third_s)
        time.sleep(third_s)
        draw_all(running.prometheus.url, arguments.minutes, arguments.out)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--prometheus", help="address of one that scrapes perfmon; without it the stack is started")
    parser.add_argument("--minutes", type=float, default=3.0, help="how much time is shown")
    return parser.parse_args()


def find(name):
    path = shutil.which(name, path="/usr/bin:/usr/sbin:/usr/local/bin")
    assert path, f"{name} is not installed: see tests/install_servers.sh"
    return path


def draw_all(prometheus, minutes, out):
    end = time.time()
    with chromium(find("chromium")) as new_tab, tempfile.TemporaryDirectory() as folder:
        for file in sorted((ROOT / "dashboards").glob("*.json")):
            board = json.loads(file.read_text())
            answers = ask(prometheus, board, end - minutes * 60, end)
            for dark in (False, True):
                written = Path(folder) / f"{file.stem}.html"
                written.write_text(page(board, answers, dark=dark))
                height = 64 + 38 * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
                tab = new_tab(width=1280, height=height, dark=dark)
                tab.open(written.as_uri())
                tab.until("document.readyState === 'complete' && document.querySelector('main') !== null")
                picture = out / f"{file.stem}-{'dark' if dark else 'light'}.png"
                tab.shoot(picture)
                print(picture)


def ask(prometheus, board, begin, end):
    """Answers by the id of the panel, as when all is chosen."""
    variables = board["templating"]["list"][1:]
    values = {one["name"]: one["allValue"] if one["type"] == "query" else one["current"]["value"] for one in variables}
    values |= {"__range": f"{math.ceil(end - begin)}s", "__rate_interval": f"{RATE_S}s"}
    return {
        panel["id"]: answer(prometheus, panel, values, begin, end)
        for panel in board["panels"]
        if panel["type"] != "row"
    }


def answer(prometheus, panel, values, begin, end):
    series, dots = [], []
    for target in panel["targets"]:
        expression = re.sub(r"\$(\w+)", lambda match: values[match[1]], target["expr"])
        series += asked(prometheus, target, expression, begin, end)
        if target.get("exemplar"):
            found = api(prometheus, "query_exemplars", query=expression, start=begin, end=end)
            dots += [(float(one["timestamp"]), float(one["value"])) for each in found for one in each["exemplars"]]
    return Answer(series, begin, end, dots)


def asked(prometheus, target, expression, begin, end):
    if target["instant"]:
        found = api(prometheus, "query", query=expression, time=end)["result"]
        points = [[one["value"]] for one in found]
    else:
        step = (end - begin) / POINTS
        found = api(prometheus, "query_range", query=expression, start=begin, end=end, step=step)["result"]
        points = [one["values"] for one in found]
    return [
        Series(
            named(target, one["metric"]), one["metric"], [(float(at), float(v)) for at, v in values], target["refId"]
        )
        for one, values in zip(found, points, strict=True)
    ]


def named(target, labels):
    legend = target.get("legendFormat") or ", ".join(f"{name}={value}" for name, value in labels.items())
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), legend).strip()


def api(prometheus, path, **parameters):
    reply = requests.get(f"{prometheus}/api/v1/{path}", params=parameters, timeout=30)
    reply.raise_for_status()
    return reply.json()["data"]


if __name__ == "__main__":
    main()
