"""The page for outsiders, written whole by the server: no script, nothing from elsewhere, every text escaped."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import groupby, pairwise
from typing import Any, NamedTuple
from urllib.parse import quote

from perfmon.clock import iso
from perfmon.model import Count
from perfmon.monitor.components import Component, Outage, State, Work
from perfmon.monitor.history import failed_shares, success_ratio
from perfmon.monitor.tally import DAY_S, QUARTER_S

__all__ = ["Standing", "as_feed", "as_html", "as_json", "share_words", "span_words"]

Json = dict[str, Any]

REFRESH_S = 60

_SHOWN_PERIODS = ("24h", "7d", "30d", "90d")
_WORDS: dict[State, str] = {"up": "up", "degraded": "degraded", "down": "down", "unknown": "not known"}


class Standing(NamedTuple):
    """All that outsiders are told at one instant."""

    title: str
    now: float  # Unix time
    components: Sequence[Component]
    left_out: int = 0  # components beyond what a page holds
    works: Sequence[Work] = ()  # maintenance under way and to come, by when it begins


def as_html(standing: Standing) -> str:
    """The page."""
    title = escape(standing.title)
    state, sentence = _verdict(standing)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(sentence)} · {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="{title}: what is up, and what is not">
<meta http-equiv="refresh" content="{REFRESH_S}">
<link rel="icon" type="image/svg+xml" href="{_icon(state)}">
<link rel="alternate" type="application/atom+xml" title="{title}: incidents" href="/status.atom">
<link rel="stylesheet" href="/status.css">
</head>
<body>
<header>
<p class="brand">{title}</p>
<h1><span class="mark {state}"></span>{escape(sentence)}</h1>
<p class="when">As of {_time(standing.now, f"{_stamp(standing.now)} UTC")}. This page renews itself every minute.</p>
</header>
<main>
{_maintenance(standing)}
{_groups(standing)}
{_past(standing)}
</main>
<footer><a href="/status.json">JSON</a> <a href="/status.atom">Atom</a> <span>Days and times are UTC.</span></footer>
</body>
</html>
"""


def as_json(standing: Standing) -> Json:
    """The same for programs."""
    state, sentence = _verdict(standing)
    return {
        "title": standing.title,
        "now": round(standing.now, 3),
        "state": state,
        "sentence": sentence,
        "maintenance": [
            {"since": round(one.since), "until": round(one.until), "names": list(one.names)} for one in standing.works
        ],
        "components": [_component_json(one) for one in standing.components],
    }


def as_feed(standing: Standing) -> str:
    """The incidents as Atom, newest first. Links are relative: nobody here knows by which name it is reached."""
    outages = _by_time(standing)
    updated = max((one.ended_at or one.began_at for _, one in outages), default=standing.now)
    entries = "".join(_entry(standing.title, component, one) for component, one in outages)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">'
        f"<id>urn:perfmon:{quote(standing.title, safe='')}</id><title>{_xml(standing.title)}</title>"
        f"<updated>{iso(updated)}</updated>"
        f'<author><name>{_xml(standing.title)}</name></author><link href="/status"/>{entries}</feed>\n'
    )


def share_words(count: Count) -> str:
    """A share as a person reads it, never rounded up to 100 %."""
    ratio = success_ratio(count)
    if ratio is None:
        return "–"
    return "100 %" if ratio == 1 else f"{int(ratio * 10_000 + 1e-9) / 100:g} %"


def span_words(seconds: float) -> str:
    """How long something lasted: 42 s, 7 min, 3 h 5 min, 2 d 4 h."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    large, size, small, part = ("h", 3600, "min", 60) if whole < DAY_S else ("d", 86_400, "h", 3600)
    rest = whole % size // part
    return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")


# ---------------------------------------------------------------- what is said


def _verdict(standing: Standing) -> tuple[State, str]:
    """The worst state there is, and a sentence; what was left out is no worse than what is shown."""
    states = [one.state for one in standing.components]
    down, degraded, unknown = (states.count(state) for state in ("down", "degraded", "unknown"))
    if not states or unknown == len(states):
        return "unknown", "Nothing is known yet"
    if not down and not degraded:
        return "up", "All systems are up" if not unknown else f"All systems are up that are known, {unknown} not yet"
    parts = [f"{count} {_be(count)} {word}" for count, word in ((down, "down"), (degraded, "degraded")) if count]
    first, *rest = parts
    number, _, words = first.partition(" ")
    return ("down" if down else "degraded"), ", ".join(
        [f"{number} of {len(states) + standing.left_out} {words}", *rest]
    )


def _be(count: int) -> str:
    return "is" if count == 1 else "are"


def _by_time(standing: Standing) -> list[tuple[Component, Outage]]:
    every = [(component, one) for component in standing.components for one in component.outages]
    return sorted(every, key=lambda pair: pair[1].began_at, reverse=True)


def _name(component: Component) -> str:
    return f"{component.name} ({component.target})" if component.target else component.name


# ---------------------------------------------------------------- HTML


_NAMED = 5


def _maintenance(standing: Standing) -> str:
    if not standing.works:
        return ""
    items = "".join(_work(one, standing.now) for one in standing.works[:20])
    return f'<section><h2>Maintenance</h2><ul class="works">{items}</ul></section>'


def _work(one: Work, now: float) -> str:
    open_ = one.since <= now
    until = _time(one.until, _stamp(one.until))
    when = f"under way until {until}" if open_ else f"{_time(one.since, _stamp(one.since))} – {until}"
    names = escape(", ".join(one.names[:_NAMED]))
    more = f" and {len(one.names) - _NAMED} more" if len(one.names) > _NAMED else ""
    return f'<li class="work{" open" if open_ else ""}"><span class="when">{when}</span><b>{names}</b>{more}</li>\n'


def _groups(standing: Standing) -> str:
    if not standing.components:
        return '<p class="nothing">No component is shown here yet.</p>'
    ordered = sorted(standing.components, key=lambda one: (one.group == "", one.group))
    sections = [_section(name, list(members)) for name, members in groupby(ordered, key=lambda one: one.group)]
    more = f'<p class="nothing">{standing.left_out} more are not shown.</p>' if standing.left_out else ""
    return "\n".join(sections) + more


def _section(group: str, members: Iterable[Component]) -> str:
    heading = f"<h2>{escape(group)}</h2>" if group else '<h2 class="unseen">Components</h2>'
    return f"<section>{heading}<ul class='components'>{''.join(map(_component, members))}</ul></section>"


def _component(one: Component) -> str:
    target = f'<span class="target">{escape(one.target)}</span>' if one.target else ""
    periods = "".join(
        f"<div><dt>{period[:-1]} {period[-1]}</dt><dd>{share_words(one.uptime[period])}</dd></div>"
        for period in _told(one.uptime)
    )
    return (
        f'<li class="component {one.state}"><h3>{escape(one.name)}{target}</h3>'
        f'<p class="state"><span class="mark {one.state}"></span>{_WORDS[one.state]}</p>'
        f"{_strip(one.days)}"
        f'<p class="axis"><span>90 days ago</span><span>today</span></p><dl class="uptime">{periods}</dl></li>\n'
    )


def _told(uptime: Mapping[str, Count]) -> Iterable[str]:
    """The periods of which more is known than of the one before: an hour of runs is not called ninety days."""
    yield _SHOWN_PERIODS[0]
    for shorter, period in pairwise(_SHOWN_PERIODS):
        if uptime[period] != uptime[shorter]:
            yield period


def _past(standing: Standing) -> str:
    outages = _by_time(standing)
    if not outages:
        return '<section><h2>Incidents</h2><p class="nothing">None is known.</p></section>'
    items = "".join(_outage(component, one, standing.now) for component, one in outages[:50])
    return f'<section><h2>Incidents</h2><ol class="incidents">{items}</ol></section>'


def _outage(component: Component, one: Outage, now: float) -> str:
    began = _time(one.began_at, _stamp(one.began_at))
    if one.ended_at is None:
        when = f"since {began} ({span_words(now - one.began_at)})"
    else:
        same_day = one.began_at // DAY_S == one.ended_at // DAY_S
        ended = _stamp(one.ended_at)[-5:] if same_day else _stamp(one.ended_at)
        when = f"{began} – {_time(one.ended_at, ended)} ({span_words(one.ended_at - one.began_at)})"
    still = " open" if one.ended_at is None else ""
    return (
        f'<li class="incident{still}"><span class="when">{when}</span>'
        f'<span class="what"><b>{escape(_name(component))}</b>: {escape(one.words)}</span></li>\n'
    )


def _time(at: float, words: str) -> str:
    return f'<time datetime="{iso(at)}">{escape(words)}</time>'


def _stamp(at: float) -> str:
    """20 Nov 2026 14:02."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b %Y %H:%M")


_HEIGHT, _CALM, _LEAST = 10.0, 5.0, 3.0


def _strip(days: Sequence[Count]) -> str:
    """Calm days low, those with failures tall, the share that failed from the foot up."""
    failed = failed_shares(days)
    unknown = "".join(_bar(x, 1) for x, part in enumerate(failed) if part is None)
    fine = "".join(_bar(x, _CALM) for x, part in enumerate(failed) if part == 0)
    bad = [(x, part) for x, part in enumerate(failed) if part]
    rest = "".join(_bar(x, _HEIGHT) for x, _ in bad)
    fails = "".join(_bar(x, max(_LEAST, part * _HEIGHT)) for x, part in bad)
    known = sum(part is not None for part in failed)
    label = f"{known} of {len(days)} days known, failures on {len(bad)}"
    paths = f'<path class="unknown" d="{unknown}"/><path class="fine" d="{fine}"/><path class="rest" d="{rest}"/>'
    return (
        f'<svg class="strip" viewBox="0 0 {len(days)} 10" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'{paths}<path class="failed" d="{fails}"/></svg>'
    )


def _bar(x: int, height: float) -> str:
    return f"M{x} {_HEIGHT - height:.3g}h.82V10h-.82z"


_ICONS: dict[State, str] = {
    "up": '<circle cx="16" cy="16" r="12" fill="#1f8a55"/>',
    "degraded": '<path d="M16 3 31 29H1z" fill="#c77d0a"/>',
    "down": '<path d="M16 1 31 16 16 31 1 16z" fill="#d0342c"/>',
    "unknown": '<circle cx="16" cy="16" r="10" fill="none" stroke="#7b8087" stroke-width="5"/>',
}


def _icon(state: State) -> str:
    picture = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">{_ICONS[state]}</svg>'
    return f"data:image/svg+xml,{quote(picture)}"


# ---------------------------------------------------------------- for programs


def _component_json(one: Component) -> Json:
    shown = {"target": one.target} if one.target else {}
    return {
        "key": one.key,
        "name": one.name,
        **shown,
        "group": one.group,
        "state": one.state,
        "uptime": {name: success_ratio(count) for name, count in one.uptime.items()},
        "day": {"every_s": QUARTER_S, "failed": failed_shares(one.day)},
        "days": {"every_s": DAY_S, "failed": failed_shares(one.days)},
        "incidents": [
            {
                "began_at": round(outage.began_at),
                "ended_at": None if outage.ended_at is None else round(outage.ended_at),
                "words": outage.words,
            }
            for outage in one.outages
        ],
    }


def _entry(title: str, component: Component, one: Outage) -> str:
    name = ":".join(quote(part, safe="") for part in (title, component.key, f"{one.began_at // 60:.0f}"))
    lasted = "" if one.ended_at is None else f", for {span_words(one.ended_at - one.began_at)}"
    words = _xml(f"{_name(component)}: {one.words}{lasted or ', and goes on'}")
    return (
        f"<entry><id>urn:perfmon:{name}</id><title>{words}</title>"
        f"<updated>{iso(one.ended_at or one.began_at)}</updated>"
        f'<published>{iso(one.began_at)}</published><link href="/status"/><summary>{words}</summary></entry>'
    )


def _xml(text: str) -> str:
    """Escaped, and without what XML 1.0 has no place for."""
    return escape("".join(letter if letter.isprintable() else "�" for letter in text))
