"""A line chart as SVG: text, needs nothing to draw it, and every browser shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 200, 44, 52
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    marked: Sequence[tuple[float, float, str]] = ()
    """Points to point out, with what to say."""


def chart(title: str, x_axis: str, y_axis: str, lines: Sequence[Line]) -> str:
    """Return an SVG document; both axes begin at 0."""
    points = [point for line in lines for point in line.points]
    scale_x = _Scale(max((x for x, _ in points), default=0), _LEFT, _WIDTH - _RIGHT)
    scale_y = _Scale(max((y for _, y in points), default=0), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
            f'font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        ),
        _text(_LEFT, 24, title, size=15),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 14, x_axis, anchor="middle"),
        (
            f'<g transform="translate(18 {(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)">'
            f"{_text(0, 0, y_axis, anchor='middle')}</g>"
        ),
    ]
    for value in scale_x.ticks:
        at = scale_x(value)
        parts.append(_rule(at, _TOP, at, _HEIGHT - _BOTTOM) + _text(at, _HEIGHT - _BOTTOM + 16, f"{value:g}", "middle"))
    for value in scale_y.ticks:
        at = scale_y(value)
        parts.append(_rule(_LEFT, at, _WIDTH - _RIGHT, at) + _text(_LEFT - 6, at + 4, f"{value:g}", "end"))
    for number, line in enumerate(lines):
        parts.append(_drawn(line, number, scale_x, scale_y))
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Scale:
    """From values to places."""

    def __init__(self, greatest: float, first: float, last: float) -> None:
        step = next(
            (size for exponent in range(-6, 12) for size in (10.0**exponent, 2 * 10.0**exponent, 5 * 10.0**exponent)
             if greatest <= 6 * size),
            greatest / 5,
        )  # fmt: skip
        count = max(1, -int(-greatest // step))
        self.ticks = [round(step * index, 9) for index in range(count + 1)]
        self._first, self._slope = first, (last - first) / self.ticks[-1]

    def __call__(self, value: float) -> float:
        return self._first + self._slope * value


def _drawn(line: Line, number: int, scale_x: _Scale, scale_y: _Scale) -> str:
    colour = _COLOURS[number % len(_COLOURS)]
    path = " ".join(f"{scale_x(x):.1f},{scale_y(y):.1f}" for x, y in line.points)
    legend = _TOP + 10 + 20 * number
    at = _WIDTH - _RIGHT + 14
    parts = [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<line x1="{at}" y1="{legend}" x2="{at + 18}" y2="{legend}" stroke="{colour}" stroke-width="3"/>',
        _text(at + 24, legend + 4, line.name),
    ]
    for x, y, words in line.marked:
        parts.append(f'<circle cx="{scale_x(x):.1f}" cy="{scale_y(y):.1f}" r="5" fill="{colour}"/>')
        parts.append(_text(scale_x(x) + 8, scale_y(y) - 6, words))
    return "\n".join(parts)


def _text(x: float, y: float, words: str, anchor: str = "start", *, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'
