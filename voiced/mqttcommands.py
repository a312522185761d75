"""What the command line does about MQTT: status, the contract, blueprints for Home Assistant, and taking leave."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from voiced.config import Config
from voiced.core import monitorview, turnview
from voiced.core.mqtt import payloads
from voiced.core.mqtt.topics import Topics
from voiced.edge.remote import RemoteControl
from voiced.errors import CommandError, VoicedError
from voiced.places import is_url

SCHEMA = Path(__file__).with_name("mqtt.schema.json")
QUOTE = '"'
BLUEPRINTS = Path(__file__).with_name("blueprints")


def schema() -> str:
    """Return the contract of this version, JSON."""
    return SCHEMA.read_text(encoding="utf-8").rstrip()


def blueprints(name: str | None, *, say: Callable[[str], None]) -> None:
    """Print one blueprint, or what there are.

    Raises:
        VoicedError: If there is none of that name.

    """
    found = {path.stem: path for path in sorted(BLUEPRINTS.glob("*.yaml"))}
    if name is None:
        for stem, path in found.items():
            title = next(line for line in path.read_text(encoding="utf-8").splitlines() if "name:" in line)
            say(f"{stem:<24} {title.partition('name:')[2].strip().strip(QUOTE)}")
        return
    if name not in found:
        raise VoicedError(f'there is no blueprint "{name}"; there are: {", ".join(found)}')
    say(found[name].read_text(encoding="utf-8").rstrip())


def status(config: Config, *, as_json: bool, watch: bool, say: Callable[[str], None]) -> int:
    """Say how a running daemon is; with ``watch`` again whenever that changes, for ever. Returns the exit status.

    Raises:
        CommandError: If there is no way to it, or there never was one.

    """
    shown: list[str] = []
    with remote_control(config) as remote:
        for now in remote.changes():
            if as_json:
                say(json.dumps(now, ensure_ascii=False, indent=None if watch else 2))
            else:
                lines = describe(now)
                for line in lines:
                    if line not in shown:
                        say(line)
                for line in shown:
                    if line.startswith("problem ") and line not in lines:
                        say(f"over: {line}")
                shown = lines
            if not watch:
                break
    return 0 if now["availability"] == "online" else 1


def turns(config: Config, *, last: int, page: Path | None, as_json: bool, say: Callable[[str], None]) -> None:
    """Show the last finished turns of a running daemon, and write a page with their pictures if one is named.

    Raises:
        CommandError: If there is no way to it.
        VoicedError: If the page cannot be written.

    """
    with remote_control(config) as remote:
        found = [payloads.Turn.model_validate(one) for one in remote.command("turns", last=last)["turns"]]
    as_seen = [one.model_copy(update={"time": one.time.astimezone()}) for one in found]
    if page is not None:
        try:
            page.write_text(turnview.page(as_seen, config.device.name or config.device.id), encoding="utf-8")
        except OSError as exc:
            raise VoicedError(f"{page} cannot be written: {exc.strerror}") from exc
    if as_json:
        say(json.dumps([one.model_dump(mode="json") for one in found], ensure_ascii=False, indent=2))
        return
    for turn in as_seen:
        for line in turnview.lines(turn):
            say(line)
    if not found:
        say("no turn is remembered yet" if config.history.turns else "history.turns is 0: no turn is remembered")


def monitor(config: Config, *, write: Callable[[str], None], width: int) -> None:
    """Show a running daemon live, until interrupted: what it hears and does, its last turn, its cost, its problems.

    Raises:
        CommandError: If there is no way to it, or there never was one.

    """
    shown = 0
    with remote_control(config) as remote:
        for now in remote.watch():
            lines = monitorview.lines(now, width)
            up = f"\x1b[{shown - 1}A" if shown > 1 else ""
            body = "\n".join(f"\x1b[2K{line}" for line in lines)
            write(f"\r{up}{body}\x1b[J")
            shown = len(lines)


def describe(status: dict[str, Any]) -> list[str]:
    """Return what a daemon has published, for a person."""
    state, settings, health = (status.get(key, {}) for key in ("state", "settings", "health"))
    lines = [f"{status['availability']}; {state.get('state', 'unknown')}" + ("; muted" if state.get("muted") else "")]
    lines.append(f"volume {settings.get('volume', '?')} %; service {health.get('cloud', '?')}")
    if cost := status.get("usage", {}).get("cost"):
        lines.append(f"cost today {cost['today']:.2f} {cost['currency']}, in all {cost['total']:.2f}")
    return lines + [f"problem since {one['since']}: {one['message']}" for one in health.get("problems", [])]


def remove(config: Config, *, say: Callable[[str], None]) -> None:
    """Take the device out of Home Assistant and clear what it left at the broker.

    Raises:
        CommandError: If the daemon is running, or there is no way to the broker.

    """
    with remote_control(config, leftovers=True) as remote:
        for topic in (topics := remote.remove()):
            say(f"cleared {topic}")
        if not topics:
            say(f"the MQTT broker knows nothing of {config.device.id!r}")


def remote_control(config: Config, *, leftovers: bool = False) -> RemoteControl:
    """Return a way to the daemon, to be entered.

    Raises:
        CommandError: If there is no broker.

    """
    if not config.mqtt.host:
        raise CommandError("mqtt.host is empty, and commands reach the daemon over MQTT only", code="unavailable")
    return RemoteControl(config.mqtt, Topics.of(config), leftovers=leftovers)


def spoken(options: Namespace) -> tuple[str, dict[str, Any]]:
    """Return the command that ``say``, ``announce`` or ``question`` with these options means, and its fields."""
    fields = {
        key: getattr(options, key) for key in ("voice", "volume", "interrupt") if getattr(options, key) is not None
    }
    if media := getattr(options, "media", None):
        fields["media"] = media if is_url(media) else str(Path(media).absolute())
    else:
        fields["text"] = " ".join(options.text)
    if options.name != "question":
        return options.name, fields
    if options.timeout is not None:
        fields["timeout_s"] = options.timeout
    answers: dict[str, list[str]] = {}
    for answer in options.answer or ():
        name, _, sentence = answer.rpartition("=")
        answers.setdefault(name or sentence, []).append(sentence)
    if answers:
        fields["answers"] = [{"id": name, "sentences": sentences} for name, sentences in answers.items()]
    return "ask_question", fields
