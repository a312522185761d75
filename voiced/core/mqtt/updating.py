"""Whether there is a newer version: the payload, which is published only where somebody wants to know."""

from typing import Annotated

from pydantic import Field

from voiced.core.mqtt.payloads import Payload, Percent


class Update(Payload):
    """``update``: whether there is a newer version, where ``update.url`` says who knows."""

    installed_version: str
    latest_version: str
    """The installed one where none is newer."""
    title: str
    release_url: str
    release_summary: Annotated[str, Field(max_length=255)] = ""
    in_progress: bool = False
    """Never: voiced does not update itself."""
    update_percentage: Percent | None = None
