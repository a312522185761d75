"""Sound to embeddings: openWakeWord's melspectrogram and embedding network, evaluated incrementally.

openWakeWord computes the embedding of the last 76 mel frames at every step, although only 8 of them are new. The
network is convolutional without padding in time, so each layer here keeps the two columns it will need again and sees
only what is new: the same embeddings for an eighth of the work. The weights are read from openWakeWord's own files.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from voiced.core.frames import STEP, Samples
from voiced.edge.onnxfile import Graph, Node
from voiced.errors import ModelError

Floats: TypeAlias = NDArray[np.float32]

EMBEDDING = 96
"""Numbers in an embedding."""
COLD_EMBEDDINGS = 9
"""Steps after a reset whose embeddings mean nothing: the network sees 76 mel frames, a step brings 8."""

_FFT, _HOP, _BANDS = 512, 160, 32
_FRAMES = STEP // _HOP
_OVERLAP = _FFT - _HOP + 128
"""480 samples of the step before, as openWakeWord takes them: its 1,760 samples give 8 mel frames of 512."""


class Mel:
    """The melspectrogram: a Fourier transform, a filter bank and a logarithm.

    Raises:
        ModelError: If the file computes something else.

    """

    def __init__(self, graph: Graph) -> None:
        stft = [value for value in graph.constants.values() if value.shape == (_FFT // 2 + 1, 1, _FFT)]
        filters = [value for value in graph.constants.values() if value.shape == (_FFT // 2 + 1, _BANDS)]
        if len(stft) != 2 or len(filters) != 1:
            raise ModelError(
                "the melspectrogram model is not openWakeWord's: it lacks the Fourier transform or filters"
            )
        self._window = stft[0][0, 0].astype(np.float64)  # the cosine of frequency 0 is 1, so the window remains
        self._check(stft[0][:, 0], stft[1][:, 0])
        self._filters = filters[0].astype(np.float32)
        self._lay_out()

    def twin(self) -> Self:
        """Return another with the same weights and a memory of its own."""
        twin = copy(self)
        twin._lay_out()  # noqa: SLF001 - of its own kind
        return twin

    def _lay_out(self) -> None:
        self._sound = np.zeros(_OVERLAP + STEP)
        item = self._sound.itemsize
        self._windows = as_strided(self._sound, (_FRAMES, _FFT), (_HOP * item, item))

    def reset(self) -> None:
        """Forget the sound before the next step."""
        self._sound[:] = 0

    def __call__(self, samples: Samples) -> Floats:
        """Take the next step; return its mel frames, shape (8, 32)."""
        self._sound[:_OVERLAP] = self._sound[-_OVERLAP:]
        self._sound[_OVERLAP:] = samples
        spectrum = np.fft.rfft(self._windows * self._window)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        decibels = 10 * np.log10(np.maximum(power @ self._filters, 1e-10))
        # The model clips 80 dB below the loudest value of one call, and openWakeWord calls it step by step.
        scaled: Floats = np.maximum(decibels, decibels.max() - 80) / 10 + 2
        return scaled

    def _check(self, real: Floats, imaginary: Floats) -> None:
        """Hold the file's transform against ours on a test signal."""
        signal = np.cos(0.003 * np.arange(_FFT) ** 2)  # a chirp through all frequencies; numpy.random costs 3 MB
        ours = np.fft.rfft(signal * self._window)
        theirs = np.hypot(real @ signal, imaginary @ signal)
        if not np.allclose(np.abs(ours), theirs, atol=1e-3):
            raise ModelError("the melspectrogram model is not openWakeWord's: its Fourier transform is another")


@dataclass(frozen=True, slots=True)
class _Convolution:
    """One layer: convolution, activation and the pooling behind it. Axes: time, mel band, channel."""

    weights: Floats
    """Shape (time x mel x input channels + 1, output channels); the last row is the bias."""
    kernel: tuple[int, int]
    pool: tuple[int, int]
    active: bool
    """Whether the activation follows: the last layer has none."""


class Embedding:
    """The embedding network with the state of its layers.

    Raises:
        ModelError: If the file holds another network than openWakeWord's.

    """

    def __init__(self, graph: Graph) -> None:
        self._layers, slope, floor = _layers(graph)
        self._activation = slope, floor
        self._lay_out()

    def twin(self) -> Self:
        """Return another with the same weights and a memory of its own."""
        twin = copy(self)
        twin._lay_out()  # noqa: SLF001 - of its own kind
        return twin

    def _lay_out(self) -> None:
        self._one = self._two = self._last = _Chain(self._layers, 1, self._activation)
        self._steps = 0

    def reset(self) -> None:
        """Forget the mel frames so far."""
        self._steps = 0
        self._last.forget()

    def __call__(self, mel: Floats) -> Floats:
        """Take the mel frames of the next step or two, 8 each; return their embeddings, good until the next call.

        The first :data:`COLD_EMBEDDINGS` after a reset mean nothing. Two at once cost a quarter less.

        Returns:
            Shape (1, 96) or (2, 96).

        """
        chain = self._one if len(mel) == _FRAMES else self._pair()
        if chain is not self._last:
            chain.take_over(self._last)
            self._last = chain
        self._steps += len(mel) // _FRAMES
        return chain(mel, self._steps)

    def _pair(self) -> "_Chain":
        if self._two is self._one:
            self._two = _Chain(self._layers, 2, self._activation)
        return self._two


class _Chain:
    """The layers laid out for so many steps at once."""

    def __init__(self, layers: Sequence[_Convolution], steps: int, activation: tuple[float, float]) -> None:
        self._output = np.zeros((steps, 1, EMBEDDING), np.float32)
        self._embeddings: Floats = self._output[:, 0]
        self._stages: list[_Stage] = []
        target = self._output
        scratch = _Scratch()
        for layer, (times, bands) in reversed(list(zip(layers, _sizes(layers, steps), strict=True))):
            stage = _Stage(layer, times, bands, target, activation, scratch)
            self._stages.insert(0, stage)
            target = stage.new
        self._input = self._stages[0].new[:, :, 0]
        self._ages = [stage.age for stage in self._stages if stage.past]
        self._runs = [stage.compiled() for stage in self._stages]
        self._needed = _needed(self._stages, steps)

    def forget(self) -> None:
        self._output[:] = 0
        for stage in self._stages:
            stage.forget()

    def take_over(self, other: "_Chain") -> None:
        """Go on where ``other`` is."""
        for (_, mine), (_, theirs) in zip(self._ages, other._ages, strict=True):  # noqa: SLF001 - of its own kind
            mine[:] = theirs

    def __call__(self, mel: Floats, steps: int) -> Floats:
        """Take the next mel frames, with which it will be so many steps since the reset; return the embeddings."""
        for past, newest in self._ages:
            past[:] = newest
        self._input[:] = mel
        # The last layers need not see what the first cannot make sense of yet.
        runs = self._runs if steps > COLD_EMBEDDINGS else self._runs[: self._needed[steps - 1]]
        for run in runs:
            run()
        return self._embeddings


class _Scratch:
    """Memory that layers use one after the other: less of it, and the processor still has it at hand."""

    def __init__(self) -> None:
        self._patches: dict[int, Floats] = {}
        self._values: dict[tuple[str, tuple[int, ...]], Floats] = {}

    def patches(self, rows: int, size: int) -> Floats:
        """Return rows of which only the last column means something: ones, for the bias."""
        if len(self._patches.get(size, ())) < rows:
            self._patches[size] = np.ones((rows, size), np.float32)
        return self._patches[size][:rows]

    def values(self, use: str, shape: tuple[int, ...], fill: float = 0.0) -> Floats:
        """Return memory that means nothing between two layers, or the same number everywhere."""
        return self._values.setdefault((use, shape), np.full(shape, fill, np.float32))


class _Stage:
    """One layer at work: reads ``new`` and the columns before it, writes into ``target``.

    The convolution is one matrix product over the neighbourhoods of all points, laid out in ``_patches``. All memory is
    laid out once; in a step as small as this, calls cost as much as the arithmetic.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - a layer's whole place
        self,
        layer: _Convolution,
        times: int,
        bands: int,
        target: Floats,
        activation: tuple[float, float],
        scratch: _Scratch,
    ) -> None:
        self._layer, self._target = layer, target
        slope, floor = activation
        height, width = layer.kernel
        size, channels_out = layer.weights.shape
        channels = (size - 1) // (height * width)
        border = width // 2
        self.times, self.past = times, height - 1
        self._input = np.zeros((times + self.past, bands + 2 * border, channels), np.float32)
        self.new = self._input[self.past :, border : border + bands]
        self.age = self._input[: self.past], self._input[times:]
        """Where the columns go that are needed again, and where they are."""
        self._patches = scratch.patches(times * bands, size)
        shape = (times, bands, height, width, channels)
        time, band, item = self._input.strides
        self._neighbours = as_strided(self._input, shape, (time, band, time, band, item))
        row = self._patches.strides[0]
        self._cells = as_strided(
            self._patches, shape, (row * bands, row, width * channels * item, channels * item, item)
        )
        product = scratch.values("product", (times, bands, channels_out))
        self._flat = product.reshape(times * bands, channels_out)
        self._pools: list[tuple[Floats, Floats, Floats]] = []
        self._values = product
        if layer.pool[0] == 2:
            self._pool(self._values[::2], self._values[1::2], scratch)
        if layer.pool[1] == 2:
            self._pool(self._values[:, ::2], self._values[:, 1::2], scratch)
        self._slope = np.float32(slope)
        self._floor = scratch.values("floor", target.shape, floor)  # numpy is slower with a single number
        self._low = scratch.values("low", target.shape)

    def _pool(self, one: Floats, other: Floats, scratch: _Scratch) -> None:
        self._values = scratch.values("pool", one.shape)
        self._pools.append((one, other, self._values))

    def forget(self) -> None:
        self._input[:] = 0

    def compiled(self) -> Callable[[], None]:
        """Return what runs the layer: names bound once, since looking them up costs as much as small sums do."""
        patches, cells, neighbours, weights = self._patches, self._cells, self._neighbours, self._layer.weights
        flat, pools, values, low, target = self._flat, self._pools, self._values, self._low, self._target
        slope, floor, active = self._slope, self._floor, self._layer.active
        copy, matmul, multiply, maximum = np.copyto, np.matmul, np.multiply, np.maximum

        def run() -> None:
            copy(cells, neighbours)
            matmul(patches, weights, flat)
            # Pooling first: the activation never decreases, so the greatest stays it, and there is less to do.
            for one, other, greater in pools:
                maximum(one, other, out=greater)
            if active:
                multiply(values, slope, out=low)
                maximum(low, floor, out=low)
                maximum(values, low, out=target)
            else:
                copy(target, values)

        return run


def _needed(stages: Sequence[_Stage], steps: int) -> list[int]:
    """Return how many of the first layers have to run in each of the cold steps, for the first warm one to be right.

    Args:
        stages: Laid out for ``steps`` at once.
        steps: See there; they run if any of the steps needs them, and the last of them is what counts here.

    """
    needed = [0] * COLD_EMBEDDINGS
    since = COLD_EMBEDDINGS
    for number, stage in reversed(list(enumerate(stages, 1))):
        for step in range(max(0, since), COLD_EMBEDDINGS):
            needed[step] = max(needed[step], number)
        since -= -(-stage.past * steps // stage.times)
    return needed


def _layers(graph: Graph) -> tuple[list[_Convolution], float, float]:
    """Return the layers of the embedding network, and slope and floor of its activation."""
    layers: list[_Convolution] = []
    slope, floor = 1.0, -np.inf
    for node in graph.nodes:
        match node.op:
            case "Conv":
                layers.append(_convolution(graph, node))
            case "LeakyRelu" if layers:
                slope = float(node.attributes["alpha"])
                layers[-1] = replace(layers[-1], active=True)
            case "Max" if layers:
                floor = float(np.max(graph.constants[node.inputs[1]]))
            case "MaxPool" if layers:
                layers[-1] = replace(layers[-1], pool=tuple(node.attributes["kernel_shape"]))
            case "Reshape":
                continue
            case _:
                raise ModelError(f"the embedding model is not openWakeWord's: it has the operator {node.op}")
    return layers, slope, floor


def _convolution(graph: Graph, node: Node) -> _Convolution:
    weights = graph.constants[node.inputs[1]]
    if weights.ndim != 4 or weights.shape[2] not in {1, 3} or weights.shape[3] not in {1, 3}:
        raise ModelError(f"the embedding model is not openWakeWord's: it convolves {weights.shape}")
    outputs, _, height, width = weights.shape
    bias = graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(outputs, np.float32)
    matrix = np.concatenate((weights.transpose(2, 3, 1, 0).reshape(-1, outputs), bias[None]))
    border = width // 2
    if tuple(node.attributes.get("pads", (0, 0, 0, 0))) != (0, border, 0, border):
        raise ModelError("the embedding model is not openWakeWord's: it pads in time, so it cannot go step by step")
    return _Convolution(np.ascontiguousarray(matrix, np.float32), (height, width), (1, 1), active=False)


def _sizes(layers: Sequence[_Convolution], steps: int) -> list[tuple[int, int]]:
    """Return the columns and bands that go into each layer; make sure that one embedding comes out."""
    sizes: list[tuple[int, int]] = []
    times, bands, channels = steps * _FRAMES, _BANDS, 1
    for layer in layers:
        size, channels_out = layer.weights.shape
        if size != layer.kernel[0] * layer.kernel[1] * channels + 1:
            raise ModelError("the embedding model is not openWakeWord's: its layers do not fit together")
        sizes.append((times, bands))
        times, bands, channels = times // layer.pool[0], bands // layer.pool[1], channels_out
    if (times, bands, channels) != (steps, 1, EMBEDDING):
        raise ModelError("the embedding model is not openWakeWord's: its layers give another embedding")
    return sizes
