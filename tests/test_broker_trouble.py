"""What the broker or the way to it can do wrong, and the sentences that say so; on a real mosquitto."""

import asyncio
import json
import os
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.mosquitto import (
    AVAILABILITY,
    DISCOVERY,
    KITCHEN,
    Door,
    Neighbour,
    config,
    connected,
    make_broker,
    obeyed,
)
from tests.waiting import eventually
from voiced.config import MqttConfig
from voiced.core.mqtt.commands import Ping
from voiced.core.mqtt.topics import Topics
from voiced.edge import brokerlogin, mosquitto
from voiced.edge.broker import MqttBroker
from voiced.edge.mosquitto import Mosquitto
from voiced.edge.paholink import LARGEST_PACKET
from voiced.edge.remote import RemoteControl
from voiced.errors import CommandError, ConfigError, VoicedError

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_a_message_of_many_megabytes_never_comes_here(mosquitto: Mosquitto) -> None:
    async with make_broker(mosquitto.port) as broker, Neighbour(mosquitto.port) as other, obeyed(broker):
        await connected(broker)
        for size in (1 << 20, LARGEST_PACKET, 1):
            await other.send(KITCHEN.own("command/stop"), b" " * size, response_topic="answers/here")
        await eventually(lambda: len(other.on("answers/here")) >= 2, "answers")
        first, last = map(json.loads, other.on("answers/here"))
        assert "send less" in first["error"]["message"]
        assert last["ok"]
        assert broker.connected


async def test_a_wrong_password_is_said_in_words(tmp_path: Path) -> None:
    users = tmp_path / "users"
    make = await asyncio.create_subprocess_exec("mosquitto_passwd", "-b", "-c", str(users), "kitchen", "right")
    assert await make.wait() == 0
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    folder = tmp_path / "guarded"
    folder.mkdir()
    async with Mosquitto(folder, ["allow_anonymous false", f"password_file {users}"]) as guarded:
        login = config(guarded.port, username="kitchen", password_file=str(secret))
        async with make_broker(login) as broker:
            await eventually(lambda: "does not accept" in (broker.problem or ""), "refused")
            assert broker.problem == (
                f"the MQTT broker at 127.0.0.1:{guarded.port} does not accept user 'kitchen' with this password "
                "(Not authorized); check mqtt.username and mqtt.password_file"
            )
        secret.write_text("right\n")
        async with make_broker(login) as broker:
            await connected(broker)


async def test_rules_of_the_broker_that_forbid_publishing_are_noticed(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic read #\n")
    options = ["allow_anonymous true", f"acl_file {rules}"]
    async with Mosquitto(tmp_path, options) as guarded, make_broker(guarded.port) as broker:
        await eventually(lambda: "check its access rules" in (broker.problem or ""), "noticed")


async def test_an_answer_that_the_rules_forbid_is_the_trouble_of_who_wants_it_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite voiced/#\n")
    options = ["allow_anonymous true", f"acl_file {rules}"]
    async with Mosquitto(tmp_path, options) as guarded, make_broker(guarded.port) as broker, obeyed(broker) as done:
        await connected(broker)
        async with Neighbour(guarded.port) as other:
            await other.send(KITCHEN.own("command/ping"), "", response_topic="answers/here")
            await eventually(lambda: "did not take a message on answers/here" in caplog.text, "the topic is named")
            await other.send(KITCHEN.own("command/ping"), "")
            await eventually(lambda: bool(other.on(KITCHEN.own("response"))), "the next answer")
        assert len(done) == 2
        assert broker.problem is None


async def test_the_password_comes_from_file_credential_or_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("VOICED_MQTT_PASSWORD", raising=False)
    assert brokerlogin.password(config(1)) is None
    monkeypatch.setenv("VOICED_MQTT_PASSWORD", "of the environment")
    assert brokerlogin.password(config(1)) == "of the environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert brokerlogin.password(config(1)) == "of the environment"
    (tmp_path / "mqtt_password").write_text("of systemd\n")
    assert brokerlogin.password(config(1)) == "of systemd"
    (tmp_path / "file").write_text(" of the file \r\n")
    assert brokerlogin.password(config(1, password_file=str(tmp_path / "file"))) == " of the file "
    with pytest.raises(ConfigError, match=r"mqtt.password_file: cannot read .*nowhere"):
        brokerlogin.password(config(1, password_file=str(tmp_path / "nowhere")))


async def test_whoever_controls_the_service_has_its_password_where_they_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("VOICED_MQTT_PASSWORD", raising=False)
    monkeypatch.setattr(brokerlogin, "SERVICE", tmp_path / "mqtt_password")
    users = tmp_path / "users"
    users.touch(mode=0o600)
    user = ["mosquitto_passwd", "-b", str(users), "me", "sesame"]
    await asyncio.to_thread(lambda: subprocess.run(user, check=True, capture_output=True))
    async with Mosquitto(tmp_path, ["allow_anonymous false", f"password_file {users}"]) as locked:
        mine = config(locked.port, username="me")
        with pytest.raises(CommandError, match=r"user 'me' without a password .*; .*for root alone: sudo"):
            await asyncio.to_thread(visit, mine)
        (tmp_path / "mqtt_password").write_text("sesame\n")
        await asyncio.to_thread(visit, mine)
        monkeypatch.setenv("VOICED_MQTT_PASSWORD", "of the environment")
        with pytest.raises(CommandError, match=r"user 'me' with this password"):
            await asyncio.to_thread(visit, mine)


def visit(mine: MqttConfig) -> None:
    """As ``voiced status`` does."""
    with RemoteControl(mine, Topics("voiced", "kitchen")):
        pass


async def test_tls_with_an_own_ca(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ca.issue_cert("127.0.0.1")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    options = ["allow_anonymous true", f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem"]
    async with Mosquitto(tmp_path, options) as secure:
        async with make_broker(config(secure.port, tls=True, ca_file=str(tmp_path / "ca.pem"))) as broker:
            await connected(broker)
        async with make_broker(config(secure.port, tls=True)) as broker:
            await eventually(lambda: "is not trusted" in (broker.problem or ""), "the certificate is not trusted")
        async with make_broker(secure.port) as broker:
            await eventually(lambda: "check mqtt.port, mqtt.tls" in (broker.problem or ""), "TLS is missing")


async def test_a_client_certificate_is_shown_where_the_broker_wants_one(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("kitchen", common_name="kitchen")
    for name, cert in (("server", server), ("client", client)):
        cert.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        cert.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    options = [
        *("allow_anonymous false", "require_certificate true", "use_identity_as_username true"),
        *(f"cafile {tmp_path}/ca.pem", f"certfile {tmp_path}/server.pem", f"keyfile {tmp_path}/server.key"),
    ]
    tls = {"tls": True, "ca_file": str(tmp_path / "ca.pem")}
    async with Mosquitto(tmp_path, options) as secure:
        for files in ({"cert_file": "client.pem", "key_file": "client.key"}, {"cert_file": "both.pem"}):
            paths = {key: str(tmp_path / name) for key, name in files.items()}
            async with make_broker(config(secure.port, **tls, **paths)) as broker:
                await connected(broker)
                assert sends_at_once(broker)
        async with make_broker(config(secure.port, **tls)) as broker:
            await eventually(lambda: "mqtt.cert_file" in (broker.problem or ""), "a certificate is asked for")


def sends_at_once(broker: MqttBroker) -> bool:
    """Whether TCP does not keep a small message back until the broker has confirmed the one before."""
    file = broker._link._client.socket()
    assert file is not None
    with socket.socket(fileno=os.dup(file.fileno())) as same:
        return same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_through_websockets(tmp_path: Path) -> None:
    port = mosquitto.free_port()
    web = config(port, transport="websockets")
    # mosquitto 2.0.11 wants a plain listener beside the one for websockets
    async with Mosquitto(tmp_path, ["allow_anonymous true", f"listener {port} 127.0.0.1", "protocol websockets"]):
        async with make_broker(web) as broker, obeyed(broker) as done:
            await connected(broker)
            assert sends_at_once(broker)
            async with make_broker(web, topics=Topics("voiced", "attic")) as other:
                await connected(other)
                other.answer("voiced/kitchen/command/ping", "", None)
                await eventually(done.copy, "a command comes through")
        async with make_broker(port) as broker:
            await eventually(lambda: "mqtt.transport" in (broker.problem or ""), "no plain MQTT there", 40)


ALL_BUT_COMMANDS = "topic write voiced/#\ntopic read homeassistant/#\n"
NO_WRITING_OF_COMMANDS = "topic read #\ntopic write voiced/kitchen/availability\ntopic write voiced/kitchen/state\n"


@pytest.mark.parametrize(("rules", "deaf"), [(ALL_BUT_COMMANDS, True), (NO_WRITING_OF_COMMANDS, False)])
async def test_rules_of_the_broker_that_keep_commands_back_are_noticed(tmp_path: Path, rules: str, deaf: bool) -> None:
    file = tmp_path / "rules"
    file.write_text(rules)
    options = ["allow_anonymous true", f"acl_file {file}"]
    async with Mosquitto(tmp_path, options) as guarded, make_broker(guarded.port) as broker:
        await connected(broker)
        if deaf:
            await eventually(lambda: "passes on no commands" in (broker.problem or ""), "noticed")
        else:
            await eventually(lambda: broker.tested, "the broker does not tell")
            assert broker.problem is None


async def test_a_message_that_is_too_long_for_the_broker_does_not_end_the_connection(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 20000"]) as small,
        Neighbour(small.port) as neighbour,
        make_broker(small.port, discovery={DISCOVERY: "x" * 30_000}) as broker,
    ):
        await connected(broker)
        broker.deliver("event/turn", "y" * 30_000, parcel="t1")
        assert not broker.shout("voiced/kitchen/transcript", "z" * 30_000)
        broker.keep("state", "short")
        await eventually(lambda: neighbour.last("voiced/kitchen/state") == "short", "the rest goes on")
        assert (broker.health.reconnects, broker.health.waiting_turns, broker.health.dropped_turns) == (0, 0, 1)
    assert "the broker takes messages of 20000 bytes at most" in caplog.text


async def test_tls_where_the_broker_has_none(mosquitto: Mosquitto) -> None:
    async with make_broker(config(mosquitto.port, tls=True)) as broker:
        await eventually(lambda: "seems to speak no TLS" in (broker.problem or ""), "no TLS there")


async def test_what_can_never_work_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for wrong, says in (
        ({"tls": True, "ca_file": str(tmp_path / "ca.pem")}, "mqtt.ca_file: cannot read certificates"),
        ({"tls": True, "ca_file": str(tmp_path / "none")}, "mqtt.ca_file: cannot read certificates"),
        ({"tls": True, "cert_file": str(tmp_path / "ca.pem")}, "mqtt.cert_file: .* cannot be used"),
        ({"username": "x", "password_file": str(tmp_path / "none")}, "mqtt.password_file: cannot read"),
    ):
        with pytest.raises(ConfigError, match=says):
            await make_broker(config(1, **wrong)).__aenter__()
    with pytest.raises(ConfigError, match=r"mqtt.host: .* cannot be a host name"):
        await MqttBroker(config=MqttConfig(host="a" * 64), topics=KITCHEN).__aenter__()


async def test_two_with_one_id_are_told_until_one_leaves(mosquitto: Mosquitto) -> None:
    async with make_broker(mosquitto.port) as stays:
        async with make_broker(mosquitto.port) as leaves:
            said = "another client uses the id voiced-kitchen"
            await eventually(
                lambda: said in (stays.problem or "") and said in (leaves.problem or ""), "noticed by both", 40
            )
        await eventually(lambda: stays.connected and stays.problem is None, "settled")


async def test_a_broker_of_the_older_protocol_is_spoken_to(mosquitto: Mosquitto) -> None:
    async with Neighbour(mosquitto.port) as neighbour, Door(mosquitto.port, knows_v5=False) as door:
        async with make_broker(door.port) as broker, obeyed(broker):
            broker.keep("turn", "{}", expiry_s=60)
            await connected(broker)
            assert door.v5_refused == 1
            await eventually(lambda: neighbour.last(AVAILABILITY) == "online", "online")
            door.shut()
            await eventually(lambda: not broker.connected, "the loss is noticed")
            door.open()
            await connected(broker)
        await eventually(lambda: neighbour.last(AVAILABILITY) == "offline", "offline")


async def test_the_older_protocol_carries_turns_commands_and_their_answers(mosquitto: Mosquitto) -> None:
    """Without MQTT 5: an answer goes to the usual topic, and a command that the broker kept is ignored all the same."""
    async with Neighbour(mosquitto.port) as neighbour, Door(mosquitto.port, knows_v5=False) as door:
        await neighbour.send("voiced/kitchen/command/listen", "PRESS", retain=True)
        async with make_broker(door.port) as broker, obeyed(broker) as done:
            broker.deliver("event/turn", "told before", parcel="t1")
            await connected(broker)
            await neighbour.send("voiced/kitchen/command/ping", "", response_topic="elsewhere", correlation=b"1")
            await eventually(lambda: neighbour.on("voiced/kitchen/response"), "it is answered")
            assert [type(command) for command in done] == [Ping]
            assert neighbour.on("elsewhere") == []
            door.shut()
            broker.deliver("event/turn", "told meanwhile", parcel="t2")
            door.open()
            await eventually(lambda: broker.health.waiting_turns == 0, "the turns are confirmed", 30)
            told = partial(neighbour.on, "voiced/kitchen/event/turn")
            await eventually(lambda: len(told()) >= 2, "the turns are told")
            assert told() == ["told before", "told meanwhile"]
            assert (door.v5_refused, broker.health.dropped_turns) == (1, 0)
            door.shut()  # as if the process had been killed
            await eventually(lambda: neighbour.last(AVAILABILITY) == "offline", "the will")


# --- the private broker itself ---


async def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(VoicedError, match="mosquitto does not start"):
        await Mosquitto(tmp_path, ["nonsense 1"]).__aenter__()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        broker = Mosquitto(tmp_path)
        broker.port = taken.getsockname()[1]
        with pytest.raises(VoicedError, match="Address already in use"):
            await broker.start()
