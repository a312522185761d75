"""openWakeWord's own loop, which ours must equal."""

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiced.core.frames import STEP, Samples

# openwakeword imports its speaker verifier, and with it scikit-learn and scipy, which nothing else needs.
_VERIFIER = types.ModuleType("openwakeword.custom_verifier_model")
_VERIFIER.train_custom_verifier = None  # type: ignore[attr-defined] # a module made here has no declared names
sys.modules.setdefault(_VERIFIER.__name__, _VERIFIER)

from openwakeword.model import Model  # noqa: E402 - must come after the stand-in

__all__ = ["Model", "scores"]


def scores(paths: Sequence[Path], sound: Samples) -> NDArray[np.float64]:
    """Return openWakeWord's scores, shape (steps, words), 80 ms at a time on onnxruntime.

    Of a model with several classes the best counts, except for the first, which is none of them.
    """
    model = Model(wakeword_models=[str(path) for path in paths], inference_framework="onnx")
    classes = [model.class_mapping[path.stem] for path in paths]
    rows: list[list[float]] = []
    for start in range(0, len(sound) - STEP + 1, STEP):
        found: dict[str, Any] = model.predict(sound[start : start + STEP])
        rows.append([_best(found, path.stem, names) for path, names in zip(paths, classes, strict=True)])
    return np.array(rows)


def _best(found: dict[str, Any], name: str, classes: dict[str, str]) -> float:
    if name in found:
        return float(found[name])
    return max(float(found[label]) for number, label in classes.items() if number != "0")
