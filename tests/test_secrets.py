"""Secrets that were planted must not come out anywhere: log, MQTT, shown configuration, exceptions, representations."""

import json
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.callers import SETTINGS, scenario, server
from tests.stories import Home, at_home, config_for_tests
from voiced.config import RealtimeConfig
from voiced.core.realtime.endpoint import endpoint, masked
from voiced.edge.credentials import Credentials
from voiced.edge.service import RealtimeService
from voiced.errors import ServiceError
from voiced.simulator import Connection, Refusal

KEY = "planted-key-4711"
TOKEN = "planted-token-4712"
PASSWORD = "planted-password-4713"
PLANTED = (KEY, TOKEN, PASSWORD)


class Issuer:
    """An identity with a planted token."""

    token = TOKEN
    expires_on = 2**40

    async def get_token(self, *_scopes: str) -> "Issuer":
        return self

    async def close(self) -> None:
        """Nothing is open."""


QUOTING = "The credential SHOWN is wrong, as is Bearer SHOWN."
REFUSALS = {
    "well": None,
    "http 401": Refusal(status=401, code="401", message=QUOTING),
    "http 403": Refusal(status=403, code="403", message=QUOTING),
    "http 404": Refusal(status=404, code="DeploymentNotFound", message=QUOTING),
    "http 400": Refusal(status=400, code="odd", message=QUOTING),
    "http 429": Refusal(status=429, code="429", message=QUOTING),
    "http 500": Refusal(status=500, code="500", message=QUOTING),
    "close 3000": Refusal(close_code=3000, code="invalid_api_key", message=QUOTING),
    "close 4000": Refusal(close_code=4000, code="invalid_model", message=QUOTING),
}


def quoting(how: str, shown: str) -> Refusal | None:
    """A refusal that quotes what was shown."""
    refusal = REFUSALS[how]
    return refusal and refusal.model_copy(update={"message": refusal.message.replace("SHOWN", shown)})


def written(home: Home) -> str:
    return json.dumps([home.diary.history, home.diary.kept, home.diary.told])


@pytest.mark.parametrize("how", REFUSALS)
@pytest.mark.parametrize("auth", ["key", "entra"])
async def test_a_daemon_at_work_tells_no_secret(auth: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refusal = quoting(how, KEY if auth == "key" else TOKEN)
    plan = scenario(Connection(refuse=refusal), repeat_connections=True, pace=0)
    realtime = RealtimeConfig.model_validate({"provider": "azure", "endpoint": "https://r.example", "auth": auth})
    environment = {"AZURE_OPENAI_API_KEY": KEY, "VOICED_MQTT_PASSWORD": PASSWORD}
    async with at_home(
        plan, config_for_tests(realtime=realtime), environment=environment, as_cloud=True, new_identity=Issuer
    ) as home:
        home.speak()
        if refusal is None:
            await home.until_told("finished")
        else:
            await home.until_told("error", "event/error")
        await home.diary.until(lambda _: home.states()[-1] in {"idle", "error"})
        shown = home.simulator.attempts[0].request.headers
        assert (KEY if auth == "key" else TOKEN) in json.dumps(dict(shown))
    ours = "\n".join(
        logging.Formatter().format(record)
        for record in caplog.records
        if not record.name.startswith("voiced.simulator")
    )
    for planted in PLANTED:
        assert planted not in ours
        assert planted not in written(home)


@pytest.mark.parametrize("how", [how for how in REFUSALS if how != "well"])
async def test_an_exception_with_all_its_causes_tells_no_secret(how: str) -> None:
    refusal = quoting(how, KEY)
    assert refusal is not None

    async def converse(line: Any) -> None:
        await line.close(refusal.close_code or 1011, "no")

    def admit(line: Any, _request: Any) -> Any:
        if refusal.status is None:
            return None
        return line.respond(refusal.status, json.dumps({"error": {"code": refusal.code, "message": refusal.message}}))

    async with server(converse, admit) as there:
        realtime = RealtimeConfig(provider="azure", endpoint=there)
        credentials = Credentials(realtime, environment={"AZURE_OPENAI_API_KEY": KEY})
        line = RealtimeService(endpoint(realtime), credentials)
        with pytest.raises(ServiceError) as caught:
            async with line.open(SETTINGS):
                raise AssertionError("it opened")
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
        told += repr(credentials) + repr(await credentials.secret()) + repr(endpoint(realtime))
    assert not any(planted in told for planted in PLANTED)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://nas/v1/realtime?model=m&api-key=x", "wss://nas/v1/realtime?model=m&api-key=***"),
        ("ws://user:pass@nas:9/rt?code=x", "ws://***@nas:9/rt?code=***"),
        ("https://r.openai.azure.com", "https://r.openai.azure.com"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_what_somebody_put_into_it(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_the_configuration_is_shown_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "config.toml").write_text(
        f"""
        [realtime]
        provider = "custom"
        url = "wss://{PASSWORD}@nas/rt?model=m&key={KEY}"
        key_file = "{tmp_path / "key"}"
        """
    )
    done = subprocess.run(
        [sys.executable, "-m", "voiced", "config", "-c", str(tmp_path / "config.toml")],
        env={**os.environ, "OPENAI_API_KEY": TOKEN, "VOICED_MQTT_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "model=m" in done.stdout
    assert not any(planted in done.stdout + done.stderr for planted in PLANTED)
