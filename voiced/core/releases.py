"""The newest version of voiced, as an index of packages or a page of releases tells it.

Sources: PyPI's JSON API (``/pypi/NAME/json``); "get the latest release" of GitHub's REST API, which Gitea and Forgejo
answer in the same way.
"""

from dataclasses import dataclass

from packaging.version import Version

from voiced.core.mqtt.updating import Update
from voiced.places import is_address

LONGEST_SUMMARY = 255
"""Characters; Home Assistant takes no more."""
LONGEST = 500
"""Characters of a version, or of an address."""


@dataclass(frozen=True, slots=True)
class Release:
    """A version that can be had."""

    version: str
    """As Python packages write it: ``1.2.0rc1``, without a ``v`` in front."""
    url: str
    """Page for people."""
    summary: str = ""
    """What is new, in at most 255 characters; empty where nobody says."""


def newest(document: object) -> Release:
    """Return the release that an answer tells.

    Raises:
        ValueError: If it tells none, as a sentence.

    """
    match document:
        case {"info": {"version": str(version), "release_url": str(url)}}:
            return _release(version, url, "")  # the summary there is that of the package
        case {"tag_name": str(version), "html_url": str(url), **about}:
            notes = about.get("body")
            return _release(version, url, notes if isinstance(notes, str) else "")
        case _:
            raise ValueError("it is neither PyPI's JSON of a package nor the latest release of a forge")


def update(installed: str, release: Release) -> Update:
    """Return what is told where ``installed`` runs: of the two versions the later one is the latest."""
    latest = max(Version(installed), Version(release.version))
    return Update(
        installed_version=str(Version(installed)),
        latest_version=str(latest),
        title="voiced",
        release_url=release.url,
        release_summary=release.summary,
    )


def _release(version: str, url: str, notes: str) -> Release:
    try:
        number = str(Version(version))
    except ValueError as exc:
        raise ValueError(f"its version cannot be compared: {version[:40]!r}") from exc
    if max(len(url), len(number)) > LONGEST or not is_address(url):
        raise ValueError(f"it names no address of the release: {url[:40]!r}")
    readable = "".join(letter if letter.isprintable() else " " for letter in notes[: 4 * LONGEST_SUMMARY])
    summary = " ".join(readable.split())
    if len(summary) > LONGEST_SUMMARY:
        summary = summary[: LONGEST_SUMMARY - 1] + "…"
    return Release(number, url, summary)
