"""What the service is told about an answer that was cut short."""

from voiced.core.realtime import events as wire


def truncations(heard: dict[tuple[str, int], int], margin_ms: int = 85) -> tuple[wire.ClientEvent, ...]:
    """Return what to tell the service about an answer of which so many milliseconds were heard.

    Source: realtime.md 3.5: the service counts about 85 ms less than the bytes it sent; an item of which nothing was
    heard cannot be truncated, so it is deleted.
    """
    told: list[wire.ClientEvent] = []
    for (item_id, part), ms in heard.items():
        if ms > margin_ms:
            told.append(wire.TruncateItem(item_id, part, ms - margin_ms))
        else:
            told.append(wire.DeleteItem(item_id))
    return tuple(told)
