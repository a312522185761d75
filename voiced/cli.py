"""The front door: commands, and exit statuses."""

import argparse
import asyncio
import logging
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from voiced import __version__, configfile, console
from voiced.config import Config
from voiced.errors import CommandError, ConfigError, VoicedError

# Each command imports what it needs: `voiced status` must not load sound, models and the protocol.
# ruff: noqa: PLC0415

logger = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        status: int = options.command(options)
    except ConfigError as exc:
        for problem in exc.problems:
            console.say(problem)
        return exc.exit_status
    except VoicedError as exc:
        console.say(str(exc))
        return exc.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    return status


# --- the daemon, and the whole of it --------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from voiced import ending, house
    from voiced.edge.supervisor import Supervisor

    config = _config(options)
    console.log(config.log.level)
    # Whoever feeds the speaker waits for the interpreter at every step; of the usual 5 ms a few let it run dry.
    sys.setswitchinterval(0.001)

    async def run() -> None:
        ending.watch(asyncio.get_running_loop())
        supervisor = Supervisor.from_environment(os.environ, os.getpid())
        async with house.opened(config, os.environ, reread=lambda: _config(options)) as home:
            await house.live(home, supervisor)

    try:
        console.until_stopped(run)
    except (MemoryError, RuntimeError) as exc:
        if ending.is_exhausted(exc):
            ending.exhausted()
        raise
    return 0


def _demo(options: argparse.Namespace) -> int:
    from voiced import demo

    console.log("warning")
    report = console.until_stopped(lambda: demo.run(os.environ, keep=options.keep, say=console.say))
    if report is None:
        return 130
    if options.json:
        console.print_json(report)
    else:
        words = "one whole conversation" if report["ok"] else "something did not happen; the lines above say what did"
        print(f"{words}. The answers as they were played: {report['files']['played']}")
    return 0 if report["ok"] else 1


def _simulate(options: argparse.Namespace) -> int:
    from voiced.simulator import serve_forever

    console.log("warning")
    try:
        asyncio.run(serve_forever(print, port=options.port, scenario=options.scenario))
    except (OSError, OverflowError) as exc:
        raise VoicedError(f"port {options.port} cannot be opened: {exc}; take another with --port") from exc
    return 0


# --- a running daemon -----------------------------------------------------------------------------------------------


def _remote(options: argparse.Namespace, action: str, **fields: object) -> Any:
    from voiced.mqttcommands import remote_control

    with remote_control(_config(options)) as remote:
        if action == "status":
            return remote.status()
        if action == "set":
            return remote.set(**fields)
        return remote.command(action, **fields)  # type: ignore[arg-type]  # patience_s is among them


def _mqtt(options: argparse.Namespace) -> int:
    from voiced import mqttcommands

    if options.name == "schema":
        print(mqttcommands.schema())
    elif options.name == "blueprints":
        mqttcommands.blueprints(options.blueprint, say=print)
    else:
        mqttcommands.remove(_config(options), say=console.say)
    return 0


def _bare(options: argparse.Namespace) -> int:
    _remote(options, options.name)
    return 0


def _speak(options: argparse.Namespace) -> int:
    from voiced.mqttcommands import spoken

    action, fields = spoken(options)
    result = _remote(options, action, patience_s=ANSWER_S, **fields)
    if options.json:
        console.print_json(result)
    elif action == "ask_question":
        print(result["answer"] or result["text"])
    is_unexpected = bool(fields.get("answers")) and result["answer"] is None
    return 1 if is_unexpected else 0


def _ask(options: argparse.Namespace) -> int:
    text = " ".join(options.text)
    try:
        result = None if options.direct else _remote(options, "ask", text=text, patience_s=ANSWER_S)
    except CommandError as exc:
        if exc.code != "unavailable" or options.json:  # who wants JSON wants the daemon's
            raise
        logger.debug("no daemon: %s", exc)
        result = None
    if result is not None:
        console.print_json(result) if options.json else print(result.get("text") or "")
        return 0
    from voiced import direct

    config = _config(options)
    console.log("warning")
    console.until_stopped(lambda: direct.ask(config, os.environ, text, write=console.write))
    print()
    return 0


def _mute(options: argparse.Namespace) -> int:
    _remote(options, "set", mute=options.name == "mute")
    return 0


def _volume(options: argparse.Namespace) -> int:
    _remote(options, "set", volume=options.percent)
    return 0


def _status(options: argparse.Namespace) -> int:
    from voiced import mqttcommands

    return mqttcommands.status(_config(options), as_json=options.json, watch=options.watch, say=console.out)


def _turns(options: argparse.Namespace) -> int:
    from voiced import mqttcommands

    mqttcommands.turns(_config(options), last=options.last, page=options.html, as_json=options.json, say=console.out)
    return 0


def _monitor(options: argparse.Namespace) -> int:
    from voiced import mqttcommands

    mqttcommands.monitor(_config(options), write=console.write, width=console.width())
    return 0


def _check(options: argparse.Namespace) -> int:
    from voiced import check
    from voiced.check import as_service

    if options.as_service:
        # systemd starts it in another folder, and shows its output here.
        named = ["-c", str(Path(options.config).resolve())] if options.config else ["-c", "/etc/voiced/config.toml"]
        return as_service.run([*named, *(["--json"] if options.json else []), *options.subjects])
    if unknown := [one for one in options.subjects if one not in check.SUBJECTS]:
        console.say(f"there is no subject {unknown[0]!r}; there are: {', '.join(check.SUBJECTS)}")
        return 2
    console.log("critical")
    return check.run(
        options.config,
        os.environ,
        only=options.subjects,
        show=None if options.json else console.out,
        document=console.print_json if options.json else None,
        archive=options.bundle,
    )


# --- looking around -------------------------------------------------------------------------------------------------


def _devices(options: argparse.Namespace) -> int:
    from voiced.edge.soundcard import list_devices

    found = list_devices()
    if options.json:
        console.print_json([asdict(device) for device in found])
        return 0
    for device in found:
        ways = " and ".join(way for way, is_one in (("input", device.inputs), ("output", device.outputs)) if is_one)
        print(f"{device.name}  ({ways})")
    if not found:
        print("no sound devices; is the sound card plugged in, and are you in the group audio?", file=sys.stderr)
    return 0


def _models(options: argparse.Namespace) -> int:
    from voiced.edge import models

    own = _config(options).wake.models_dir
    if options.fetch:
        for path in models.fetch():
            console.say(f"fetched {path}")
    found = models.find_models(own)
    if options.json:
        console.print_json(found.as_json())
        return 0
    for model in found.as_json()["models"]:
        print(f"{model['name']:<16} {'ok ' if model['ok'] else 'BAD'} {model['licence']:<16} {model['path']}")
    for name, path in found.unusable.items():
        print(f"{name:<16} BAD is a .tflite file alone; put {name}.onnx beside it  {path}")
    print(models.LICENCE_NOTE if found.words else "There are no wake words here; `voiced models fetch` brings them.")
    return 0


def _show_config(options: argparse.Namespace) -> int:
    if options.schema:
        console.print_json(Config.model_json_schema())
    else:
        from voiced.core.realtime.endpoint import shown

        console.print_json(shown(_config(options)))
    return 0


def _wake_test(options: argparse.Namespace) -> int:
    from voiced import wakeview

    config = _config(options)
    console.log("warning")
    console.until_stopped(lambda: wakeview.show(config, write=console.write, width=console.width()))
    print()
    return 0


def _wake_tune(options: argparse.Namespace) -> int:
    from voiced.tuning import tune

    report = tune(_config(options), options.directory, say=console.say)
    if options.svg:
        report.write_svg(options.svg)
        console.say(f"the plot: {options.svg}")
    return _tell(report, options)


def _wake_verify(options: argparse.Namespace) -> int:
    from voiced.verifying import verify

    return _tell(verify(_config(options), options.directory, say=console.say), options)


def _tell(report: Any, options: argparse.Namespace) -> int:
    """Print what came out of recordings; nothing for any word is a failure."""
    if options.json:
        console.print_json(report.as_json())
    else:
        for line in report.lines():
            print(line)
    return 0 if report.words else 1


# --- the parser -----------------------------------------------------------------------------------------------------

ANSWER_S = 330.0
"""An answer is told when all of it has been heard."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="voiced", description="A voice daemon with a wake word of its own.")
    parser.add_argument("--version", action="version", version=f"voiced {__version__}")
    parser.set_defaults(command=None, config=None)
    add = partial(_add, parser.add_subparsers(metavar="COMMAND"))
    add("run", _run, "run the daemon in the foreground")
    demo = _json_too(add("demo", _demo, "hold one whole conversation with nothing of yours"))
    demo.add_argument("--keep", type=Path, metavar="DIR", help="where to write what was played")
    check = _json_too(add("check", _check, "try every part, and say what to do"))
    check.add_argument("subjects", nargs="*", metavar="SUBJECT", help="look at these alone, such as microphone")
    check.add_argument("--bundle", type=Path, metavar="FILE", help="write a support archive (.tar.gz) without secrets")
    check.add_argument("--as-service", action="store_true", help="check as the installed service would; needs root")
    _json_too(add("devices", _devices, "list microphones and speakers"))
    say = add("say", _speak, "have a running daemon read a text aloud")
    announce = add("announce", _speak, "have it read aloud behind a chime, once nothing else is going on")
    ask = _json_too(add("ask", _ask, "ask a running daemon, or else the service, a question"))
    question = add("question", _speak, "have it ask whoever is there, and print what they answer")
    what = announce.add_mutually_exclusive_group(required=True)
    what.add_argument("--media", metavar="PLACE", help="a sound file to play instead, or its http(s) address")
    what.add_argument("text", nargs="*", default=[], metavar="TEXT", help="as many words as you like")
    for made in (say, ask, question):
        made.add_argument("text", nargs="+", metavar="TEXT", help="as many words as you like")
    for made in (say, announce, question):
        made.add_argument("--voice", metavar="NAME", help="another one than the profile's")
        made.add_argument("--volume", type=int, metavar="N", help="percent of the volume that is set")
        made.add_argument("--interrupt", action="store_true", default=None, help="wait for nothing")
        _json_too(made)
    question.add_argument(
        *("-a", "--answer"),
        action="append",
        metavar="[ID=]SENTENCE",
        help='expected, like "yes=yes [please]"; repeatable',
    )
    question.add_argument("--timeout", type=float, metavar="S", help="seconds to wait for the first word, 1 to 60")
    ask.add_argument("--direct", action="store_true", help="ask the service without a daemon")
    add("listen", _bare, "have a running daemon listen, as if woken")
    add("stop", _bare, "have a running daemon fall silent")
    add("mute", _mute, "close the microphone of a running daemon")
    add("unmute", _mute, "open the microphone of a running daemon again")
    volume = add("volume", _volume, "set the volume of a running daemon")
    volume.add_argument("percent", type=int, metavar="N", help="percent, 0 to 100")
    status = _json_too(add("status", _status, "say how a running daemon is"))
    status.add_argument("--watch", action="store_true", help="go on: a line, or a JSON object, for each change")
    add("monitor", _monitor, "show live what a running daemon hears, does and costs")
    turns = _json_too(add("turns", _turns, "show the last finished turns of a running daemon, with their time lines"))
    turns.add_argument("--last", type=int, default=10, metavar="N", help="how many, 1 to 100; default 10")
    turns.add_argument("--html", type=Path, metavar="FILE", help="write a page with a picture of each")
    _add_mqtt(add("mqtt", None, "show the MQTT contract or Home Assistant blueprints, or remove the device"))
    simulate = add("simulate", _simulate, "run the simulator of the Realtime service alone")
    simulate.add_argument("--port", type=int, default=8765, metavar="N", help="where it listens, default 8765")
    simulate.add_argument("--scenario", type=Path, metavar="FILE", help="what it says, TOML or JSON")
    models = _json_too(add("models", _models, "list wake models, or fetch those that are missing"))
    models.add_argument("fetch", nargs="?", choices=["fetch"], help="download openWakeWord's first")
    _add_wake(add("wake", None, "watch wake words live, tune them on recordings, or have them heed one voice alone"))
    show = add("config", _show_config, "show the configuration that holds")
    show.add_argument("--schema", action="store_true", help="show its JSON Schema instead")
    return parser


def _add_mqtt(mqtt: argparse.ArgumentParser) -> None:
    add = partial(_add, mqtt.add_subparsers(metavar="WHAT", required=True))
    add("schema", _mqtt, "print the contract with the JSON Schema of every payload and command")
    blueprints = add("blueprints", _mqtt, "list automations for Home Assistant, or print one")
    blueprints.add_argument("blueprint", nargs="?", metavar="NAME", help="which one to print")
    add("remove", _mqtt, "take the device out of Home Assistant and clear its topics")


def _add_wake(wake: argparse.ArgumentParser) -> None:
    add = partial(_add, wake.add_subparsers(metavar="WHAT", required=True))
    add("test", _wake_test, "show level, voice gate and scores of the microphone, live")
    tune = _json_too(add("tune", _wake_tune, "propose thresholds from recordings: misses against false accepts"))
    tune.add_argument("--svg", type=Path, metavar="FILE", help="where to write the plot")
    verify = _json_too(add("verify", _wake_verify, "train verifiers from recordings: only one person's voice wakes"))
    for made in (tune, verify):
        made.add_argument("directory", type=Path, metavar="DIR", help="has positive/WORD/*.wav and negative/*.wav")


def _add(commands: Any, name: str, command: Any, meaning: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=meaning, description=meaning[0].upper() + meaning[1:] + "."
    )
    made.set_defaults(command=command, name=name)
    # Without a default, which would win over `voiced wake -c FILE tune`.
    made.add_argument("-c", dest="config", metavar="FILE", default=argparse.SUPPRESS, help="configuration file")
    return made


def _json_too(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    made.add_argument("--json", action="store_true", help="print JSON instead")
    return made


def _config(options: argparse.Namespace) -> Config:
    return configfile.load(configfile.find(os.environ, options.config), os.environ)
