"""Where sound files may come from: paths and URLs held against the folders and beginnings of URLs that are allowed.

A URL is taken apart and put together anew, so that nobody reads it in another way than it was judged.
"""

import re
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from voiced.errors import CommandError

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_KEPT = "/%:@!$&'()*+,;=~"
"""What stays as it is in a path, besides letters, digits and ``_.-``."""


@dataclass(frozen=True, slots=True)
class Url:
    """An address, as far as it matters here."""

    scheme: str
    host: str
    """Small letters; empty in what allows any host."""
    port: int
    path: str
    query: str = ""

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}" + (f"?{self.query}" if self.query else "")


def is_url(place: str) -> bool:
    """Return whether a place is an address, rather than a path."""
    return place.startswith(("http://", "https://"))


def is_place(allowed: str) -> bool:
    """Return whether this can stand in ``mqtt.media``."""
    try:
        return _read(allowed) is not None if is_url(allowed) else _is_whole(allowed)
    except ValueError:
        return False


def is_address(place: str) -> bool:
    """Return whether this is a whole address, of a host that is named."""
    try:
        return bool(_read(place).host)
    except ValueError:
        return False


def allowed_url(place: str, allowed: tuple[str, ...]) -> Url:
    """Return an address that may be fetched.

    Raises:
        CommandError: If it is none, or may not.

    """
    url = whole_url(place)
    for known in allowed:
        if is_url(known) and _covers(_read(known), url):
            return url
    raise CommandError(f"{_short(place)} is not in mqtt.media; add its beginning there to allow it", code="refused")


def whole_url(place: str) -> Url:
    """Return an address that names a host.

    Raises:
        CommandError: If it is none.

    """
    try:
        url = _read(place)
    except ValueError as exc:
        raise CommandError(f"{_short(place)} is no address: {exc}") from exc
    if not url.host:
        raise CommandError(f"{_short(place)} names no host")
    return url


def redirected(place: str, asked: Url) -> Url:
    """Return where ``asked`` may lead: to another address of the same host, and no less safe.

    Raises:
        CommandError: If it may not.

    """
    url = whole_url(place)
    if url.host != asked.host or (asked.scheme, url.scheme) == ("https", "http"):
        raise CommandError(f"{asked} redirects to {_short(place)}; name that address itself", code="refused")
    return url


def allowed_path(place: str, allowed: tuple[str, ...]) -> PurePosixPath:
    """Return a path that may be opened, as far as its name goes; links are for whoever opens it.

    Raises:
        CommandError: If it may not.

    """
    if not _is_whole(place):
        raise CommandError(f"{_short(place)} is no whole path without . and .. in it", code="refused")
    path = PurePosixPath(place)
    if not is_within(path, allowed):
        raise CommandError(f"{_short(place)} is not in mqtt.media; add its folder there to allow it", code="refused")
    return path


def is_within(path: PurePath, allowed: tuple[str, ...]) -> bool:
    """Return whether a path leads into one of the folders."""
    return any(path.is_relative_to(known) for known in allowed if not is_url(known))


def _is_whole(place: str) -> bool:
    parts = place.split("/")
    return place.startswith("/") and place.isprintable() and not {".", ".."}.intersection(parts)


def _read(place: str) -> Url:
    """Take an address apart.

    Raises:
        ValueError: If it could be read in more than one way, or not at all.

    """
    if re.search(r"[\s\\\x00-\x1f\x7f]", place):
        raise ValueError("it holds a space, a backslash or a control character")
    parts = urlsplit(place)
    if "@" in parts.netloc or "%" in parts.netloc:
        raise ValueError("it holds a user name or an encoded host")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    if parts.scheme not in _PORTS or (host and not _HOST.fullmatch(host)):
        raise ValueError("only http and https to a plain host name are spoken")
    segments = unquote(parts.path).replace("\\", "/").split("/")
    if {".", ".."}.intersection(segments):
        raise ValueError("its path holds . or ..")
    path = quote(parts.path or "/", safe=_KEPT)
    return Url(parts.scheme, host, parts.port or _PORTS[parts.scheme], path, quote(parts.query, safe=_KEPT + "?"))


def _covers(known: Url, url: Url) -> bool:
    if known.scheme != url.scheme:
        return False
    if not known.host:
        return True
    if (known.host, known.port) != (url.host, url.port):
        return False
    return url.path == known.path or url.path.startswith(known.path if known.path.endswith("/") else f"{known.path}/")


def _short(place: str) -> str:
    shown = place if place.isprintable() else repr(place)
    return shown if len(shown) <= 120 else shown[:117] + "..."
