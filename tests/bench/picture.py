"""Stacked bars as SVG, for what consists of stages one after the other."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_LEFT, _WIDTH, _ROW, _TOP = 90, 560, 22, 70
_COLOURS = ("#1f77b4", "#17becf", "#9467bd", "#bcbd22", "#c7c7c7", "#2ca02c", "#ff7f0e", "#d62728")


def stacked(title: str, unit: str, bars: Mapping[str, Sequence[float]], stages: Sequence[str]) -> str:
    """Return a document with one bar for each name, and in it one piece for each stage."""
    longest = max((sum(pieces) for pieces in bars.values()), default=1.0)
    height = _TOP + _ROW * len(bars) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 90} {height}">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(12, 22, f"{title}, {unit}", 15),
    ]
    for number, stage in enumerate(stages):
        legend = 12 + 88 * number
        parts.append(f'<rect x="{legend}" y="36" width="12" height="12" fill="{_COLOURS[number]}"/>')
        parts.append(_text(legend + 17, 47, stage))
    for row, (name, pieces) in enumerate(bars.items()):
        at, top = float(_LEFT), _TOP + _ROW * row
        parts.append(_text(12, top + 13, name))
        for number, piece in enumerate(pieces):
            width = max(piece, 0.0) / longest * _WIDTH
            parts.append(
                f'<rect x="{at:.1f}" y="{top}" width="{width:.1f}" height="{_ROW - 6}" fill="{_COLOURS[number]}">'
                f"<title>{escape(stages[number])} {piece:.1f}</title></rect>"
            )
            at += width
        parts.append(_text(at + 6, top + 13, f"{sum(pieces):.0f}"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="{size}">{escape(words)}</text>'
