"""Verifiers in files: numbers alone, in numpy's format without pickles, since a pickle may run anything."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from voiced.config import WakeConfig
from voiced.core.verifier import Verifier
from voiced.edge.features import EMBEDDING
from voiced.errors import ModelError

_AGAIN = "train it again: voiced wake verify DIR"


def save(path: Path, word: str, verifier: Verifier, threshold: float) -> None:
    """Write the verifier of a word, with the probability proposed as threshold.

    Raises:
        ModelError: If it cannot be written.

    """
    try:
        with path.open("wb") as file:
            np.savez(
                file,
                word=np.array(word),
                weights=verifier.weights,
                bias=np.array(verifier.bias),
                threshold=np.array(threshold),
            )
    except OSError as exc:
        raise ModelError(f"{path} cannot be written: {exc.strerror}") from exc


def load(path: Path, word: str) -> tuple[Verifier, float]:
    """Return the verifier of a word, and the threshold that its training proposed.

    Raises:
        ModelError: If it cannot be read, or is another word's.

    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            its_word, weights = str(content["word"]), content["weights"].astype(np.float64)
            bias, threshold = float(content["bias"]), float(content["threshold"])
    except OSError as exc:
        raise ModelError(f"verifier {path} cannot be read: {exc.strerror or exc}") from exc
    except (ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as exc:
        raise ModelError(f"verifier {path} is none of `voiced wake verify`, or damaged; {_AGAIN}") from exc
    if its_word != word:
        raise ModelError(f'verifier {path} was trained for "{its_word}", not "{word}"; {_AGAIN}')
    sound = weights.ndim == 2 and weights.shape[1] == EMBEDDING and np.isfinite(weights).all() and np.isfinite(bias)
    if not sound or not 0 <= threshold <= 1:
        raise ModelError(f"verifier {path} holds no usable weights; {_AGAIN}")
    return Verifier(weights, bias), threshold


def configured(wake: WakeConfig) -> Mapping[str, tuple[Verifier, float]]:
    """Return the verifiers of the words that have one, each with its threshold.

    Raises:
        ModelError: If one cannot be used.

    """
    found = {}
    for word in wake.words:
        if word.verifier:
            verifier, proposed = load(Path(word.verifier).expanduser(), word.model)
            limit = word.verifier_threshold
            found[word.model] = verifier, proposed if limit is None else limit
    return found
