"""Quantiles without numpy's, whose first one loads ``numpy.ma``: 7 ms on a PC, in the middle of a wake word."""

from collections.abc import Iterable


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which a share, 0 to 1, of ``values`` lies; between two of them in proportion.

    Args:
        values: At least one.
        share: Of them.

    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
