"""Where the wake models are, whose they are, and how to get them.

openWakeWord 0.5.1 is their source. Its Python is never imported: the files of the installed package are read, or those
that ``voiced models fetch`` took from the same wheel.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from voiced.errors import ModelError

SOURCE = "openwakeword==0.5.1"
LICENCE_NOTE = (
    "The pre-trained wake words of openWakeWord are licensed CC BY-NC-SA 4.0: not for commercial use. "
    "The melspectrogram and embedding models are Google's, Apache-2.0."
)
FETCH = 'run "voiced models fetch"'

MEL, EMBEDDING = "melspectrogram", "embedding_model"

_NONCOMMERCIAL, _APACHE = "CC BY-NC-SA 4.0", "Apache-2.0"
_SUMS = {
    "melspectrogram.onnx": "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
    "embedding_model.onnx": "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f",
    "alexa_v0.1.onnx": "6ff566a01d12670e8d9e3c59da32651db1575d17272a601b7f8a39283dfbae3e",
    "hey_jarvis_v0.1.onnx": "94a13cfe60075b132f6a472e7e462e8123ee70861bc3fb58434a73712ee0d2cb",
    "hey_mycroft_v0.1.onnx": "c2a311e8fa1338de89c31b3b46dc4dffd4af2f9a8d6ddead48893c2d301b1f18",
    "hey_rhasspy_v0.1.onnx": "5a9b3ed3be2910e35780e097905aa9f35a9c10038df47914cf2b3ec4d670f6ea",
    "timer_v0.1.onnx": "371e44535470a29248b3b8f1bbbbaf2525c86417fd8f75c67fcf02ae0b9626df",
    "weather_v0.1.onnx": "8441da8e746899e8d969528d5bad5651cdd563079c05962788f77753041f60e7",
}
"""SHA-256 of the files in the wheel of openwakeword 0.5.1. Those of 0.4.0 are others, and wake three times as often
where they should not."""


@dataclass(frozen=True)
class Model:
    """One model file."""

    name: str
    path: Path
    source: str
    licence: str
    expected: str | None = None
    """SHA-256 it must have; ``None`` for a person's own model."""

    @cached_property
    def sha256(self) -> str:
        """The sum it has.

        Raises:
            ModelError: If it cannot be read.

        """
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as exc:
            raise ModelError(f"wake model {self.path} cannot be read: {exc.strerror}") from exc

    @property
    def ok(self) -> bool:
        """Whether it is what it says it is."""
        return self.expected in {None, self.sha256}

    def check(self) -> Path:
        """Return the path of a file that is ok.

        Raises:
            ModelError: If it cannot be read, or has another sum.

        """
        if not self.ok:
            raise ModelError(
                f"wake model {self.path} is not the file of {SOURCE} (SHA-256 {self.sha256[:16]}..., not "
                f"{(self.expected or '')[:16]}...); {FETCH} and remove this one"
            )
        return self.path


@dataclass(frozen=True)
class Models:
    """What was found."""

    words: Mapping[str, Model]
    """Wake words by name."""
    features: Mapping[str, Model]
    """:data:`MEL` and :data:`EMBEDDING`, where found."""
    unusable: Mapping[str, Path]
    """Models that exist as ``.tflite`` only, by name."""

    def word(self, name: str) -> Model:
        """Return the model of a wake word.

        Raises:
            ModelError: If there is none; says which there are.

        """
        if name in self.words:
            return self.words[name]
        if name in self.unusable:
            raise ModelError(
                f"wake model {self.unusable[name]} is a .tflite file, which voiced does not read; put {name}.onnx "
                "beside it (openWakeWord's training writes both)"
            )
        if not self.words:
            raise ModelError(f'there is no wake model "{name}", nor any other; {FETCH}')
        raise ModelError(f'there is no wake model "{name}"; there are: {", ".join(sorted(self.words))}')

    def feature(self, name: str) -> Model:
        """Return the melspectrogram or embedding model.

        Raises:
            ModelError: If it is missing.

        """
        if name not in self.features:
            raise ModelError(f"the {name} model of {SOURCE} is not installed; {FETCH}")
        return self.features[name]

    def as_json(self) -> dict[str, Any]:
        """Return the list for ``voiced models --json``."""
        models = [*self.features.values(), *sorted(self.words.values(), key=lambda model: model.name)]
        return {
            "models": [
                {
                    "name": model.name,
                    "word": model.name in self.words,
                    "path": str(model.path),
                    "source": model.source,
                    "licence": model.licence,
                    "sha256": model.sha256,
                    "ok": model.ok,
                }
                for model in models
            ],
            "unusable": {name: str(path) for name, path in self.unusable.items()},
            "licence": LICENCE_NOTE,
        }


def find_models(models_dir: str | Path = "") -> Models:
    """Return the models of openWakeWord, and those in ``models_dir`` (its own names win).

    Raises:
        ModelError: If ``models_dir`` is given and is no folder.

    """
    words: dict[str, Model] = {}
    features: dict[str, Model] = {}
    for file, expected in _SUMS.items():
        stem = Path(file).stem
        feature = stem in {MEL, EMBEDDING}
        name = stem if feature else re.sub(r"_v[0-9.]+$", "", stem)
        licence = _APACHE if feature else _NONCOMMERCIAL
        found = [
            Model(name, folder / file, SOURCE, licence, expected) for folder in _folders() if (folder / file).is_file()
        ]
        if found:
            # A wrong file is taken only where there is no right one; whoever uses it then hears what is wrong.
            best = found[0] if len(found) == 1 else next((model for model in found if model.ok), found[0])
            (features if feature else words)[name] = best
    unusable: dict[str, Path] = {}
    if models_dir:
        own, unusable = _own(Path(models_dir).expanduser())
        words |= own
    return Models(words, features, unusable)


def _own(folder: Path) -> tuple[dict[str, Model], dict[str, Path]]:
    """Return a person's own models, and those that are there as ``.tflite`` only."""
    if not folder.is_dir():
        raise ModelError(f"wake.models_dir: there is no folder {folder}")
    own = {
        path.stem: Model(path.stem, path, str(folder), "unknown")
        for path in sorted(folder.glob("*.onnx"))
        if path.name not in _SUMS
    }
    tflite = {path.stem: path for path in sorted(folder.glob("*.tflite")) if path.stem not in own}
    return own, tflite


def _folders() -> list[Path]:
    """Return where openWakeWord's files may be, the first that has one wins."""
    folders = [default_target(), Path("/var/lib/voiced/models")]
    spec = importlib.util.find_spec("openwakeword")  # finds a top-level package without importing it
    locations = spec.submodule_search_locations if spec is not None else None
    return [*(Path(location) / "resources" / "models" for location in locations or ()), *folders]


def default_target() -> Path:
    """Return where :func:`fetch` puts models.

    ``$VOICED_MODELS``, else below systemd's ``$STATE_DIRECTORY``, else ``/var/lib/voiced/models`` for root and
    ``~/.local/share/voiced/models`` for others.
    """
    if chosen := os.environ.get("VOICED_MODELS"):
        return Path(chosen)
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0]) / "models"
    if os.geteuid() == 0:
        return Path("/var/lib/voiced/models")
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "voiced" / "models"


def fetch(target: Path | None = None) -> list[Path]:
    """Download the wheel of openwakeword 0.5.1 with pip and put its models into ``target``; return their paths.

    May take minutes. Every file is checked before the first is put in place.

    Raises:
        ModelError: If pip is missing or fails, a file is not the right one, or the folder cannot be written.

    """
    folder = target or default_target()
    with tempfile.TemporaryDirectory(prefix="voiced-models-") as scratch:
        wheel = _download(Path(scratch))
        contents = _contents(wheel)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in contents.items():
            with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{file}.", delete=False) as part:
                part.write(data)
            Path(part.name).chmod(0o644)
            Path(part.name).replace(folder / file)
    except OSError as exc:
        raise ModelError(f"the models cannot be written to {folder}: {exc.strerror}") from exc
    return [folder / file for file in contents]


def _download(folder: Path) -> Path:
    """Let pip download the wheel into ``folder``."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), SOURCE]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - all words are ours
    wheels = list(folder.glob("*.whl"))
    if run.returncode == 0 and wheels:
        return wheels[0]
    if "No module named pip" in run.stderr:
        raise ModelError(f"pip is not there to download {SOURCE}; install it (Debian: apt install python3-pip)")
    errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR")] or run.stderr.splitlines()
    reason = errors[-1].removeprefix("ERROR: ") if errors else f"exit status {run.returncode}"
    raise ModelError(f"pip could not download {SOURCE}: {reason}; is there a network?")


def _contents(wheel: Path) -> dict[str, bytes]:
    """Return the model files in a wheel, all checked."""
    contents: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for file in _SUMS:
                contents[file] = archive.read(f"openwakeword/resources/models/{file}")
    except (zipfile.BadZipFile, KeyError) as exc:
        raise ModelError(f"{wheel.name} is not the wheel of {SOURCE}: {exc}") from exc
    for file, data in contents.items():
        if hashlib.sha256(data).hexdigest() != _SUMS[file]:
            raise ModelError(f"{file} in {wheel.name} is not the file of {SOURCE}: its SHA-256 is another")
    return contents
