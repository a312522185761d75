"""``python -m tests.bench NAME [--json] [--quick]``: prints one JSON object, or a table."""

import argparse
import importlib
import json
from pathlib import Path

BENCHES = (
    "arbitration",
    "dialogues",
    "ears",
    "echo",
    "faults",
    "fleet",
    "fuzz",
    "latency",
    "ledger",
    "outbox",
    "replug",
    "sessions",
    "room",
    "soak",
    "start",
    "wakes",
    "wire",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("name", choices=BENCHES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a shorter version, under 45 s, with the same keys")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw it, where the bench has a picture (latency)")
    options = parser.parse_args()
    result = importlib.import_module(f"tests.bench.{options.name}").measure(quick=options.quick)
    picture = result.pop("picture", None)
    if options.svg and picture:
        options.svg.write_text(picture)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for key, value in result.items():
        print(f"{key:<24} {value}")


if __name__ == "__main__":
    main()
