"""Finished turns for a person's eyes: lines for a terminal, and a page of pictures that needs nothing but itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from statistics import median_low

from voiced.core.mqtt.payloads import Turn

_WIDTH, _ROW, _WORDS = 1000, 18, 160
"""Of a picture, in its own units: the longest turn, the height of a part, room for words behind it."""


PARTS = {
    "connect": "until the session took sound",
    "speech": "the person spoke",
    "service": "until the answer came",
    "playout": "until it was heard",
    "answer": "the answer",
    "unanswered": "no answer came",
}
"""The parts of a turn in their order, and what they mean."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a turn, in milliseconds since its first moment."""

    name: str
    begin: int
    end: int

    @property
    def ms(self) -> int:
        """How long it is."""
        return self.end - self.begin


def spans(turn: Turn) -> list[Span]:
    """Return the parts of a turn in their order; those that did not happen are left out."""
    times = turn.timeline_ms
    moments = (
        (times.called, times.ready),
        (times.began, times.said),
        (times.began if times.said is None else times.said, times.answered),
        (times.answered, times.sounded),
        (times.answered if times.sounded is None else times.sounded, times.over),
        (times.said, times.over) if times.answered is None else (None, None),
    )
    return [
        Span(name, begin, end)
        for name, (begin, end) in zip(PARTS, moments, strict=True)
        if begin is not None and end is not None and end > begin
    ]


def lines(turn: Turn) -> list[str]:
    """Return a turn in a few lines of text."""
    how = f"{turn.time:%Y-%m-%d %H:%M:%S}  {turn.id}  {turn.outcome}"
    how += f"  {turn.cost:.4f} USD" if turn.cost is not None else ""
    shown = [how]
    if parts := spans(turn):
        shown.append("    " + ", ".join(f"{part.name} {part.ms} ms" for part in parts))
    for who, text in (("user", turn.user.text), ("assistant", turn.assistant.text)):
        if text is not None:
            shown.append(f"    {who}: {text}")
    if turn.error is not None:
        shown.append(f"    {turn.error.code}: {turn.error.message}")
    return shown


def page(turns: Sequence[Turn], name: str) -> str:
    """Return an HTML page with a picture of each turn, newest first. It loads nothing and runs nothing."""
    longest = max((turn.timeline_ms.over for turn in turns), default=0) or 1
    title = f"Turns of {escape(name)}"
    told = "".join(_article(turn, longest) for turn in reversed(turns))
    return _PAGE.format(title=title, legend=_legend(), summary=_summary(turns), turns=told or "<p>None yet.</p>")


def _article(turn: Turn, longest: int) -> str:
    texts = "".join(
        f'<p class="{who}">{escape(text)}</p>'
        for who, text in (("user", turn.user.text), ("assistant", turn.assistant.text))
        if text is not None
    )
    facts = [escape(turn.outcome), escape(turn.source.replace("_", " "))]
    facts += [f"{turn.usage.input} + {turn.usage.output} tokens"] if turn.usage.input or turn.usage.output else []
    facts += [f"{turn.cost:.4f} USD"] if turn.cost is not None else []
    facts += [f"tool {escape(tool.name)}" for tool in turn.tools]
    fault = f'<p class="fault">{escape(turn.error.code)}: {escape(turn.error.message)}</p>' if turn.error else ""
    return (
        f"<article><h2>{turn.time:%Y-%m-%d %H:%M:%S} <small>{escape(turn.id)}</small></h2>"
        f"<p>{', '.join(facts)}</p>{_picture(turn, longest)}{texts}{fault}</article>\n"
    )


def _picture(turn: Turn, longest: int) -> str:
    """Return the time line as SVG; all pictures of a page have one scale."""
    bars = []
    for row, part in enumerate(spans(turn)):
        x, width, y = part.begin * _WIDTH / longest, max(2.0, part.ms * _WIDTH / longest), _ROW * row
        bars.append(
            f'<rect class="{part.name}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="14" rx="2">'
            f"<title>{PARTS[part.name]}: {part.begin} to {part.end} ms</title></rect>"
            f'<text x="{x + width + 6:.1f}" y="{y + 11}">{part.name} {part.ms} ms</text>'
        )
    size = f"0 0 {_WIDTH + _WORDS} {_ROW * len(bars)}"
    label = f"time line of {turn.timeline_ms.over} ms"
    return f'<svg viewBox="{size}" role="img" aria-label="{label}">{"".join(bars)}</svg>' if bars else ""


def _legend() -> str:
    return "".join(f'<li class="{name}"><b>{name}</b> {meaning}</li>' for name, meaning in PARTS.items())


def _summary(turns: Sequence[Turn]) -> str:
    """Return a table with the median of each part over all turns."""
    rows = []
    for name in PARTS:
        found = sorted(part.ms for turn in turns for part in spans(turn) if part.name == name)
        if found:
            cells = (name, median_low(found), found[-1], len(found))
            rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "<tr><th>part</th><th>median, ms</th><th>longest, ms</th><th>turns</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else ""


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --connect: #8a8a8a; --speech: #2f7ed8; --service: #d9822b; --playout: #b04a8f;
  --answer: #3a9d5d; --unanswered: #c33; }}
body {{ font: 15px/1.4 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; }}
h2 {{ font-size: 1em; margin: 0; }} small {{ font-weight: normal; opacity: .7; }}
article {{ border-top: 1px solid #8886; padding: 1em 0; }} p {{ margin: .3em 0; }}
svg {{ width: 100%; display: block; }} svg text {{ font-size: 12px; fill: currentColor; }}
ul {{ list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 1.2em; }}
li {{ border-left: .8em solid; padding-left: .4em; }}
th, td {{ text-align: right; padding: .1em .8em; }} th:first-child, td:first-child {{ text-align: left; }}
.user::before {{ content: "“"; }} .user::after {{ content: "”"; }} .user {{ font-style: italic; }}
.fault {{ color: var(--unanswered); }}
rect.connect {{ fill: var(--connect); }} li.connect {{ border-color: var(--connect); }}
rect.speech {{ fill: var(--speech); }} li.speech {{ border-color: var(--speech); }}
rect.service {{ fill: var(--service); }} li.service {{ border-color: var(--service); }}
rect.playout {{ fill: var(--playout); }} li.playout {{ border-color: var(--playout); }}
rect.answer {{ fill: var(--answer); }} li.answer {{ border-color: var(--answer); }}
rect.unanswered {{ fill: var(--unanswered); }} li.unanswered {{ border-color: var(--unanswered); }}
</style>
</head>
<body>
<h1>{title}</h1>
<ul>{legend}</ul>
{summary}
{turns}</body>
</html>
"""
