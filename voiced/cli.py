"""The front door: commands, and exit statuses."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voiced import configfile, console
from voiced.config import Config
from voiced.errors import CommandError, ConfigError, VoicedError
from voiced.options import parser

# Each command imports what it needs: `voiced status` must not load sound, models and the protocol.
# ruff: noqa: PLC0415

logger = logging.getLogger(__name__)

ANSWER_S = 330.0
"""An answer is told when all of it has been heard."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit status."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.name is None:
        reader.print_help(sys.stderr)
        return 2
    try:
        return COMMANDS[options.name](options)
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

    if unknown := [one for one in options.subjects if one not in check.SUBJECTS]:
        console.say(f"there is no subject {unknown[0]!r}; there are: {', '.join(check.SUBJECTS)}")
        return 2
    if options.as_service:
        # systemd starts it in another folder, and shows its output here.
        named = ["-c", str(Path(options.config).resolve())] if options.config else []
        words = [*named, *(["--json"] if options.json else []), *options.subjects]
        return as_service.run(words, options.bundle, os.environ)
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
    from voiced.edge import soundserver
    from voiced.edge.soundcard import list_devices

    found = [*list_devices(), *soundserver.nodes(os.environ)]
    if options.json:
        console.print_json([asdict(device) for device in found])
        return 0
    for device in found:
        ways = " and ".join(way for way, is_one in (("input", device.inputs), ("output", device.outputs)) if is_one)
        print(f"{device.name}  ({ways})" + (f"  {device.port}" if device.port else ""))
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


def _config(options: argparse.Namespace) -> Config:
    return configfile.load(configfile.find(os.environ, options.config), os.environ)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "demo": _demo,
    "check": _check,
    "devices": _devices,
    "say": _speak,
    "announce": _speak,
    "ask": _ask,
    "question": _speak,
    "listen": _bare,
    "stop": _bare,
    "mute": _mute,
    "unmute": _mute,
    "volume": _volume,
    "status": _status,
    "monitor": _monitor,
    "turns": _turns,
    "simulate": _simulate,
    "models": _models,
    "config": _show_config,
    "schema": _mqtt,
    "blueprints": _mqtt,
    "remove": _mqtt,
    "test": _wake_test,
    "tune": _wake_tune,
    "verify": _wake_verify,
}
