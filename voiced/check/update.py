"""A newer version: whether who knows it, by ``update.url``, can be asked."""

from voiced import __version__
from voiced.check.findings import Finding, Visit, passed, reason, skipped, warned
from voiced.core.releases import update
from voiced.errors import CommandError, MissingPartError
from voiced.updates import ask


async def check(visit: Visit) -> list[Finding]:
    """Ask for the newest version."""
    url = visit.config.update.url
    if not url:
        return [skipped("update", "update.url is empty: nobody is asked for newer versions")]
    tried = f"ask {url}"
    try:
        known = update(__version__, await ask(url))
    except (CommandError, MissingPartError) as exc:
        found, _ = reason(exc)
        remedy = "open that address in a browser; update.url takes PyPI's JSON of a package, or .../releases/latest"
        return [warned("update", tried, found, remedy)]
    is_newest = known.latest_version == known.installed_version
    found = "which is the newest" if is_newest else f"and {known.latest_version} is newer"
    remedy = "" if is_newest else f"read {known.release_url}, and run systemd/install.sh --upgrade in a newer checkout"
    return [passed("update", tried, f"{known.installed_version} runs, {found}", remedy, latest=known.latest_version)]
