"""Takes secrets out of text that leaves the house."""

import re
from collections.abc import Iterable

MASK = "***"
SHORTEST = 4
"""A shorter secret would take every second word along, and protects nothing."""

_NAMED = r"(?:key|secret|token|password|passwd|authorization|credential)"
# None of them looks at a letter again and again, however long the text of a hostile service is.
_PATTERNS = (
    (re.compile(r"\b(?:sk|ek|rk)-[\w*-]{8,}"), MASK),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {MASK}"),
    # header.payload.signature, as tokens of Microsoft Entra are written
    (re.compile(r"\beyJ[\w-]{5,2000}+\.[\w-]{5,}+\.[\w-]{5,}"), MASK),
    (re.compile(r"(\b\w+://)[^/\s@]+@"), rf"\1{MASK}@"),
    (re.compile(rf"([?&](?=[\w-]*+=)[\w-]*{_NAMED}[\w-]*+=)[^&\s\"']+", re.IGNORECASE), rf"\1{MASK}"),
    (
        re.compile(
            rf"([\"']?(?<![\w-])[\w-]*{_NAMED}[\"']?\s*[:=]\s*)(\"[^\"\n]+\"|'[^'\n]+'|[^\s\"',;&]+)", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
)


def is_secret_name(name: str) -> bool:
    """Whether a variable of that name holds a secret."""
    return re.search(_NAMED, name, re.IGNORECASE) is not None and not name.upper().endswith("_FILE")


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without any of ``secrets``, and without what looks like one."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
