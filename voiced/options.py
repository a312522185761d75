"""The command line: which commands there are, and what they take. :mod:`voiced.cli` does them."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from voiced import __version__


def parser() -> argparse.ArgumentParser:
    """Return what reads a command line; ``name`` of what it returns is the command's, ``None`` if there is none."""
    made = argparse.ArgumentParser(prog="voiced", description="A voice daemon with a wake word of its own.")
    made.add_argument("--version", action="version", version=f"voiced {__version__}")
    made.set_defaults(name=None, config=None)
    add = partial(_add, made.add_subparsers(metavar="COMMAND"))
    add("run", "run the daemon in the foreground")
    demo = _json_too(add("demo", "hold one whole conversation with nothing of yours"))
    demo.add_argument("--keep", type=Path, metavar="DIR", help="where to write what was played")
    check = _json_too(add("check", "try every part, and say what to do"))
    check.add_argument("subjects", nargs="*", metavar="SUBJECT", help="look at these alone, such as microphone")
    check.add_argument("--bundle", type=Path, metavar="FILE", help="write a support archive (.tar.gz) without secrets")
    check.add_argument("--as-service", action="store_true", help="check as the installed service would; needs root")
    _json_too(add("devices", "list microphones and speakers"))
    say = add("say", "have a running daemon read a text aloud")
    announce = add("announce", "have it read aloud behind a chime, once nothing else is going on")
    ask = _json_too(add("ask", "ask a running daemon, or else the service, a question"))
    question = add("question", "have it ask whoever is there, and print what they answer")
    what = announce.add_mutually_exclusive_group(required=True)
    what.add_argument("--media", metavar="PLACE", help="a sound file to play instead, or its http(s) address")
    what.add_argument("text", nargs="*", default=[], metavar="TEXT", help="as many words as you like")
    for one in (say, ask, question):
        one.add_argument("text", nargs="+", metavar="TEXT", help="as many words as you like")
    for one in (say, announce, question):
        one.add_argument("--voice", metavar="NAME", help="another one than the profile's")
        one.add_argument("--volume", type=int, metavar="N", help="percent of the volume that is set")
        one.add_argument("--interrupt", action="store_true", default=None, help="wait for nothing")
        _json_too(one)
    question.add_argument(
        *("-a", "--answer"),
        action="append",
        metavar="[ID=]SENTENCE",
        help='expected, like "yes=yes [please]"; repeatable',
    )
    question.add_argument("--timeout", type=float, metavar="S", help="seconds to wait for the first word, 1 to 60")
    ask.add_argument("--direct", action="store_true", help="ask the service without a daemon")
    add("listen", "have a running daemon listen, as if woken")
    add("stop", "have a running daemon fall silent")
    add("mute", "close the microphone of a running daemon")
    add("unmute", "open the microphone of a running daemon again")
    volume = add("volume", "set the volume of a running daemon")
    volume.add_argument("percent", type=int, metavar="N", help="percent, 0 to 100")
    status = _json_too(add("status", "say how a running daemon is"))
    status.add_argument("--watch", action="store_true", help="go on: a line, or a JSON object, for each change")
    add("monitor", "show live what a running daemon hears, does and costs")
    turns = _json_too(add("turns", "show the last finished turns of a running daemon, with their time lines"))
    turns.add_argument("--last", type=int, default=10, metavar="N", help="how many, 1 to 100; default 10")
    turns.add_argument("--html", type=Path, metavar="FILE", help="write a page with a picture of each")
    _add_mqtt(add("mqtt", "show the MQTT contract or Home Assistant blueprints, or remove the device"))
    simulate = add("simulate", "run the simulator of the Realtime service alone")
    simulate.add_argument("--port", type=int, default=8765, metavar="N", help="where it listens, default 8765")
    simulate.add_argument("--scenario", type=Path, metavar="FILE", help="what it says, TOML or JSON")
    models = _json_too(add("models", "list wake models, or fetch those that are missing"))
    models.add_argument("fetch", nargs="?", choices=["fetch"], help="download openWakeWord's first")
    _add_wake(add("wake", "watch wake words live, tune them on recordings, or have them heed one voice alone"))
    show = add("config", "show the configuration that holds")
    show.add_argument("--schema", action="store_true", help="show its JSON Schema instead")
    return made


def _add_mqtt(mqtt: argparse.ArgumentParser) -> None:
    add = partial(_add, mqtt.add_subparsers(metavar="WHAT", required=True))
    add("schema", "print the contract with the JSON Schema of every payload and command")
    blueprints = add("blueprints", "list automations for Home Assistant, or print one")
    blueprints.add_argument("blueprint", nargs="?", metavar="NAME", help="which one to print")
    add("remove", "take the device out of Home Assistant and clear its topics")


def _add_wake(wake: argparse.ArgumentParser) -> None:
    add = partial(_add, wake.add_subparsers(metavar="WHAT", required=True))
    add("test", "show level, voice gate and scores of the microphone, live")
    tune = _json_too(add("tune", "propose thresholds from recordings: misses against false accepts"))
    tune.add_argument("--svg", type=Path, metavar="FILE", help="where to write the plot")
    verify = _json_too(add("verify", "train verifiers from recordings: only one person's voice wakes"))
    for made in (tune, verify):
        made.add_argument("directory", type=Path, metavar="DIR", help="has positive/WORD/*.wav and negative/*.wav")


def _add(commands: Any, name: str, meaning: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=meaning, description=meaning[0].upper() + meaning[1:] + "."
    )
    made.set_defaults(name=name)
    # Without a default, which would win over `voiced wake -c FILE tune`.
    made.add_argument("-c", dest="config", metavar="FILE", default=argparse.SUPPRESS, help="configuration file")
    return made


def _json_too(made: argparse.ArgumentParser) -> argparse.ArgumentParser:
    made.add_argument("--json", action="store_true", help="print JSON instead")
    return made
