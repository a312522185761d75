import hashlib
import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recordings import ROOT
from voiced.edge import models
from voiced.edge.models import EMBEDDING, MEL, Model, Models, fetch, find_models
from voiced.errors import ModelError

WAKE_WORDS = {"alexa", "hey_jarvis", "hey_mycroft", "hey_rhasspy"}


@pytest.fixture
def installed() -> Models:
    return find_models()


# --- finding ----------------------------------------------------------------------------------------------------------


def test_the_models_of_openwakeword_are_found_and_whole(installed: Models) -> None:
    assert set(installed.words) >= WAKE_WORDS
    assert set(installed.features) == {MEL, EMBEDDING}
    assert installed.word("hey_jarvis").path.name == "hey_jarvis_v0.1.onnx"
    for name in WAKE_WORDS:
        assert installed.word(name).check() == installed.word(name).path
        assert installed.word(name).licence == "CC BY-NC-SA 4.0"
    assert installed.feature(MEL).licence == installed.feature(EMBEDDING).licence == "Apache-2.0"


def test_a_missing_word_names_those_that_exist(installed: Models) -> None:
    with pytest.raises(ModelError, match='no wake model "hey_marvin"; there are: alexa, hey_jarvis, hey_mycroft'):
        installed.word("hey_marvin")


def test_with_nothing_installed_the_remedy_is_named() -> None:
    nothing = Models({}, {}, {})
    with pytest.raises(ModelError, match="voiced models fetch"):
        nothing.word("alexa")
    with pytest.raises(ModelError, match=r"melspectrogram model .* not installed; run \"voiced models fetch"):
        nothing.feature(MEL)


def test_a_persons_own_models_go_by_their_file_names(tmp_path: Path) -> None:
    (tmp_path / "computer_v2.onnx").write_bytes(b"a model")
    (tmp_path / "computer_v2.tflite").write_bytes(b"the same")
    (tmp_path / "stop.tflite").write_bytes(b"a model")
    found = find_models(tmp_path)
    mine = found.word("computer_v2")
    assert (mine.licence, mine.source, mine.ok) == ("unknown", str(tmp_path), True)
    assert found.word("alexa").ok
    with pytest.raises(ModelError, match=r"stop\.tflite .* put stop\.onnx beside it"):
        found.word("stop")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"wake\.models_dir: there is no folder .*/nowhere"):
        find_models(tmp_path / "nowhere")


def test_a_wrong_file_is_refused_by_its_sum(tmp_path: Path, installed: Models) -> None:
    right = installed.word("alexa")
    wrong = Model("alexa", tmp_path / "alexa_v0.1.onnx", right.source, right.licence, right.expected)
    wrong.path.write_bytes(right.path.read_bytes()[:-1] + b"?")
    assert not wrong.ok
    with pytest.raises(ModelError, match=r"alexa_v0\.1\.onnx is not the file of openwakeword==0\.5\.1"):
        wrong.check()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be read: No such file"):
        Model("gone", tmp_path / "gone.onnx", "", "").check()


def test_a_right_file_elsewhere_wins_over_a_wrong_one(
    tmp_path: Path, installed: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of openWakeWord may be installed beside the models that were fetched."""
    package = tmp_path / "site" / "openwakeword"
    wrong = package / "resources" / "models"
    wrong.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    for file in ("alexa_v0.1.onnx", "hey_mycroft_v0.1.onnx"):
        (wrong / file).write_bytes(b"of another version")
    (fetched / "alexa_v0.1.onnx").write_bytes(installed.word("alexa").path.read_bytes())
    program = (
        "from voiced.edge.models import find_models; found = find_models(); "
        "print(found.word('alexa').path, found.word('alexa').ok, found.word('hey_mycroft').ok)"
    )
    monkeypatch.setenv("VOICED_MODELS", str(fetched))
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{ROOT}")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout.split() == [str(fetched / "alexa_v0.1.onnx"), "True", "False"]


def test_the_list_is_json_and_shows_the_licence(installed: Models) -> None:
    listed = json.loads(json.dumps(installed.as_json()))
    assert "CC BY-NC-SA 4.0" in listed["licence"]
    by_name = {model["name"]: model for model in listed["models"]}
    assert by_name["hey_jarvis"]["word"]
    assert not by_name[MEL]["word"]
    for model in by_name.values():
        assert model["ok"]
        assert model["sha256"] == hashlib.sha256(Path(model["path"]).read_bytes()).hexdigest()


# --- where they go ----------------------------------------------------------------------------------------------------


def test_the_target_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VOICED_MODELS", "STATE_DIRECTORY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert models.default_target() == Path("/var/lib/voiced/models")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert models.default_target() == tmp_path / ".local/share/voiced/models"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert models.default_target() == tmp_path / "data/voiced/models"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/voiced:/var/lib/other")
    assert models.default_target() == Path("/var/lib/voiced/models")
    monkeypatch.setenv("VOICED_MODELS", "/opt/models")
    assert models.default_target() == Path("/opt/models")


# --- fetching, by the real pip from a folder of wheels ----------------------------------------------------------------

MakeWheel = Callable[..., Path]


@pytest.fixture
def wheel(tmp_path: Path, installed: Models, monkeypatch: pytest.MonkeyPatch) -> MakeWheel:
    """Return a function that makes pip find a wheel of openwakeword with the given files changed."""
    shop = tmp_path / "shop"
    shop.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    info = "openwakeword-0.5.1.dist-info"
    texts = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: openwakeword\nVersion: 0.5.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    folder = installed.feature(MEL).path.parent

    def make(changes: dict[str, bytes] | None = None, *, without: str = "") -> Path:
        path = shop / "openwakeword-0.5.1-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
            for file in sorted(folder.glob("*.onnx")):
                if file.name != without:
                    data = (changes or {}).get(file.name) or file.read_bytes()
                    archive.writestr(f"openwakeword/resources/models/{file.name}", data)
        return path

    return make


def test_fetch_puts_checked_models_in_place(tmp_path: Path, wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel()
    target = tmp_path / "state" / "models"
    monkeypatch.setenv("VOICED_MODELS", str(target))
    paths = fetch()
    assert sorted(target.iterdir()) == sorted(paths)
    for path in paths:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == models._SUMS[path.name]
        assert path.stat().st_mode & 0o777 == 0o644
    assert sorted(fetch()) == sorted(paths)  # twice is as good as once


def test_fetch_takes_no_changed_model(tmp_path: Path, wheel: MakeWheel) -> None:
    wheel({"weather_v0.1.onnx": b"something else"})
    with pytest.raises(ModelError, match=r"weather_v0\.1\.onnx in openwakeword-.* is not the file"):
        fetch(tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_fetch_takes_no_wheel_without_models(tmp_path: Path, wheel: MakeWheel) -> None:
    wheel(without="alexa_v0.1.onnx")
    with pytest.raises(ModelError, match=r"is not the wheel of openwakeword==0\.5\.1"):
        fetch(tmp_path / "target")


@pytest.mark.usefixtures("wheel")
def test_fetch_says_what_pip_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"pip could not download openwakeword==0\.5\.1: .*; is there a network"):
        fetch(tmp_path / "target")


def test_fetch_says_where_it_cannot_write(tmp_path: Path, wheel: MakeWheel) -> None:
    wheel()
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"cannot be written to .*/file/models"):
        fetch(tmp_path / "file" / "models")


def test_fetch_says_that_pip_is_missing(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    program = (
        "from voiced.edge.models import fetch\n"
        "from voiced.errors import ModelError\n"
        "try: fetch()\n"
        "except ModelError as exc: print(exc)"
    )
    command = [str(tmp_path / "bare" / "bin" / "python"), "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "pip is not there" in run.stdout
