"""Thresholds from recordings: the sweep, its picture, and the command."""

import json
import os
import subprocess
import sys
import tracemalloc
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.recordings import ROOT, SOUNDS
from voiced.config import Config, WakeConfig, WakeWordConfig
from voiced.core.chart import Line, chart
from voiced.core.frames import STEP
from voiced.core.tuning import PATIENCE, Point, proposed, sweep, wakes
from voiced.core.wake import WakeJudge, WakeRules, WordRule
from voiced.edge.soundfile import WavWriter, read_wav
from voiced.errors import VoicedError
from voiced.recordings import with_room
from voiced.tuning import tune

WORD = "hey_jarvis"
scores = st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.9, 1.0])


@example([1.0] * 60, 0.5, 1, 0)
@given(st.lists(scores, max_size=120), st.sampled_from([0.2, 0.5, 0.9]), st.integers(1, 4), st.integers(0, 3))
def test_the_sweep_wakes_where_the_judge_does(row: list[float], threshold: float, patience: int, more: int) -> None:
    rule = WordRule(WORD, threshold, patience, patience + more)
    judge = WakeJudge(WakeRules((rule,), cold_steps=0))
    expected = [step for step, score in enumerate(row) if judge.judge((score,), step * STEP)]
    assert wakes(np.array(row, np.float64), rule) == expected


@given(st.lists(st.lists(scores, min_size=1, max_size=60), max_size=5))
def test_a_higher_threshold_never_hears_more(recordings: list[list[float]]) -> None:
    positives = [np.array(row) for row in recordings]
    points = sweep(WORD, positives, [])
    for steps, window in PATIENCE:
        heard = [p.heard for p in points if (p.rule.patience, p.rule.steps) == (steps, window)]
        assert heard == sorted(heard, reverse=True)


def point(threshold: float, missed: int, false_accepts: int, patience: int = 1) -> Point:
    return Point(WordRule(WORD, threshold, patience), 10 - missed, 10, false_accepts, hours=2.0)


def test_the_proposal_misses_least_of_what_is_quiet_enough() -> None:
    points = [point(0.2, 0, 9), point(0.5, 1, 1), point(0.6, 1, 1), point(0.7, 1, 1), point(0.9, 4, 0)]
    assert proposed(points).rule.threshold == 0.6  # the middle of what is as good
    assert proposed(points, per_hour=0.0).rule.threshold == 0.9
    assert proposed(points, per_hour=9.0).rule.threshold == 0.2


def test_where_nothing_is_quiet_enough_the_quietest_is_proposed() -> None:
    points = [point(0.2, 0, 9), point(0.9, 4, 3), point(0.5, 2, 3, patience=2)]
    assert proposed(points).rule.threshold == 0.5


def test_a_chart_is_well_formed_and_holds_its_points() -> None:
    text = chart("a < b & c", "x", "y", [Line("one", [(0, 0), (3, 40)], [(3, 40, "<here>")]), Line("none", [])])
    root = ET.fromstring(text)  # noqa: S314 - our own
    said = [element.text for element in root.iter() if element.text and element.text.strip()]
    assert {"a < b & c", "x", "y", "one", "none", "<here>", "0", "40"} <= set(said)
    lines = [element.attrib["points"] for element in root.iter() if element.tag.endswith("polyline")]
    assert len(lines[0].split()) == 2
    assert lines[1] == ""


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), max_size=20))
def test_nothing_is_drawn_outside(points: list[tuple[float, float]]) -> None:
    root = ET.fromstring(chart("t", "x", "y", [Line("l", points)]))  # noqa: S314 - our own
    (line,) = [element.attrib["points"] for element in root.iter() if element.tag.endswith("polyline")]
    for pair in line.split():
        x, y = (float(number) for number in pair.split(","))
        assert 0 <= x <= 760
        assert 0 <= y <= 440


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Return a folder as a person might fill it, with two files that are of no use."""
    for word in ("hey_jarvis", "alexa"):
        (tmp_path / "positive" / word).mkdir(parents=True)
        for path in sorted(SOUNDS.glob(f"{word}*.wav"))[1:]:
            (tmp_path / "positive" / word / path.name).symlink_to(path)
    (tmp_path / "positive" / "alexa_loose.wav").symlink_to(SOUNDS / "alexa_1.wav")
    (tmp_path / "positive" / "what.wav").symlink_to(SOUNDS / "alexa_1.wav")
    (tmp_path / "negative" / "deep").mkdir(parents=True)
    for path in SOUNDS.glob("negative*.wav"):
        (tmp_path / "negative" / "deep" / path.name).symlink_to(path)
    (tmp_path / "negative" / "bad.wav").write_text("this is no sound")
    return tmp_path


def test_recordings_become_a_proposal_and_bad_files_are_named(recordings: Path) -> None:
    words = (WakeWordConfig(model="hey_jarvis"), WakeWordConfig(model="alexa", threshold=0.99, patience=3))
    said: list[str] = []
    report = tune(Config(wake=WakeConfig(words=words)), recordings, say=said.append)
    assert [(tuned.word, tuned.best.tried, tuned.best.missed) for tuned in report.words] == [
        ("hey_jarvis", 2, 0),
        ("alexa", 2, 0),
    ]
    now = report.words[1].now.rule
    assert (now.threshold, now.patience, now.steps) == (0.99, 3, 3)
    assert report.words[1].now.missed > 0
    assert {Path(name).name for name in report.bad} == {"bad.wav", "what.wav"}
    assert len(said) == 7
    text = "\n".join(report.lines())
    assert "left out" in text
    assert "proposed" in text
    assert "say little" in text  # a quarter of a minute is no hour
    best = report.words[0].best.rule
    assert f"threshold = {best.threshold:g}\npatience = {best.patience}\nwindow = {best.steps}" in text
    ET.fromstring(report.svg())  # noqa: S314 - our own
    json.dumps(report.as_json())


def test_an_hour_of_recording_takes_no_more_memory_than_it_must(tmp_path: Path) -> None:
    """On a machine with 512 MB, as the models need it: 115 MB are one copy."""
    minute = np.random.default_rng(1).normal(0, 300, 60 * 16_000).astype(np.int16)
    with WavWriter(tmp_path / "long.wav", 16_000) as wav:
        wav.write(minute)
    tracemalloc.start()
    try:
        sound = with_room(read_wav(tmp_path / "long.wav"), 25)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(sound) > len(minute)
    assert most < 4 * minute.nbytes


def test_a_folder_with_nothing_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(VoicedError, match="positive/hey_jarvis"):
        tune(Config(), tmp_path)


def test_a_word_without_recordings_is_named_and_no_error(recordings: Path) -> None:
    words = (WakeWordConfig(model="hey_jarvis"), WakeWordConfig(model="hey_mycroft"))
    report = tune(Config(wake=WakeConfig(words=words)), recordings)
    assert [tuned.word for tuned in report.words] == ["hey_jarvis"]
    assert any("hey_mycroft" in name for name in report.bad)


def voiced(*arguments: str, config: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("VOICED", "AZURE", "OPENAI"))}
    return subprocess.run(
        [sys.executable, "-m", "voiced", *arguments, "-c", str(config)],
        cwd=ROOT, env=clean, capture_output=True, text=True, check=False, timeout=50,
    )  # fmt: skip


def test_the_command_prints_json_and_writes_the_plot(recordings: Path) -> None:
    config = recordings / "config.toml"
    config.write_text("")
    run = voiced("wake", "tune", str(recordings), "--json", "--svg", str(recordings / "plot.svg"), config=config)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["words"][0]["word"] == "hey_jarvis"
    assert 0 < told["words"][0]["proposed"]["threshold"] < 1
    assert (recordings / "plot.svg").read_text().startswith("<svg")
    refused = voiced("wake", "tune", str(recordings), "--svg", str(recordings / "no" / "x.svg"), config=config)
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr


def test_the_live_view_shows_a_recording(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[audio]\ninput = "file:{SOUNDS / "hey_jarvis_1.wav"}"\n')
    run = voiced("wake", "test", config=config)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.split("\x1b[2K")
    assert any("heard  hey_jarvis" in line for line in lines)
    assert any("shut" in line for line in lines)
    assert any("open" in line and "###" in line for line in lines)
    assert len(lines) > 40
