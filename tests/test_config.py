"""The configuration: its defaults are written down, and every mistake is named with a remedy."""

import contextlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from voiced import configfile
from voiced.config import Config, WakeWordConfig
from voiced.errors import ConfigError
from voiced.profileconfig import ProfileConfig, VoiceLiveConfig

EXAMPLE = Path(__file__).parents[1] / "config.toml.example"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        configfile.load(path, environ)
    assert caught.value.exit_status == 78
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def keys(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


def test_the_example_is_the_defaults() -> None:
    example = configfile.load(EXAMPLE, {})
    assert example == Config(device=example.device)
    assert example.device.id == Config().device.id


def test_the_example_names_every_key() -> None:
    everything = tomllib.loads(re.sub(r"(?m)^#(?=\w+ = )", "", EXAMPLE.read_text()))
    assert set(everything) == keys(Config)
    for section, values in everything.items():
        if section == "profiles":
            assert set(values["default"]) == keys(ProfileConfig)
            assert set(values["default"]["voice_live"]) == keys(VoiceLiveConfig)
        elif section == "wake":
            assert set(values["words"][0]) == keys(WakeWordConfig)
            assert set(values) == keys(Config.model_fields["wake"].annotation)  # type: ignore[arg-type]  # a model
        else:
            assert set(values) == keys(Config.model_fields[section].annotation)  # type: ignore[arg-type]  # a model


def test_all_problems_are_told_at_once_each_with_its_key(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        """
        [audio]
        volum = 3
        volume = 300
        [wake]
        sensitivity = 2
        [[wake.words]]
        model = "x"
        profil = "y"
        [profiles.kid]
        voic = 1
        [realtime]
        provider = "azure"
        [mqtt]
        port = "1883"
        """,
    )
    assert sorted(line.split(": ")[0] for line in told) == [
        "audio.volum",
        "audio.volume",
        "mqtt.port",
        "profiles.kid.voic",
        "realtime.endpoint",
        "wake.sensitivity",
        "wake.words[0].profil",
    ]
    assert 'audio.volum: unknown key; did you mean "volume"?' in told
    assert 'wake.words[0].profil: unknown key; did you mean "profile"?' in told
    assert 'profiles.kid.voic: unknown key; did you mean "voice"?' in told
    assert any("AZURE_OPENAI_ENDPOINT" in line for line in told)


def test_all_parts_that_disagree_are_told_at_once(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        """
        [[wake.words]]
        model = "alexa"
        profile = "kid"
        [[wake.words]]
        model = "alexa"
        [budget]
        cheap_profile = "cheap"
        [profiles.default]
        turn_detection = "azure_semantic_vad"
        """,
    )
    assert sorted(line.split(": ")[0] for line in told) == [
        "budget.cheap_profile",
        "profiles.default.turn_detection",
        "wake.words[0].profile",
        "wake.words[1].model",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[auido]\n", 'auido: unknown key; did you mean "audio"?'),
        ('[[wake.words]]\nmodel = "alexa"\nprofile = "kid"', 'there is no "kid"; there are: default'),
        ('[[wake.words]]\nmodel = "hush"\naction = "stop"\nprofile = "default"', "wake.words[0].action: a word has"),
        ('[[wake.words]]\nmodel = "hush"\naction = "dance"', "wake.words[0].action: "),
        ('[[wake.words]]\nmodel = "x"\nwindow = 3', "wake.words[0].window: needs a patience"),
        ('[[wake.words]]\nmodel = "x"\npatience = 3\nwindow = 2', "wake.words[0].window: "),
        ('[[wake.words]]\nmodel = "x"\n[[wake.words]]\nmodel = "x"', 'wake.words[1].model: "x" stands there twice'),
        ('[[wake.words]]\nmodel = "all"', 'wake.words[0].model: no word may be called "all"'),
        ("[wake]\nnear_miss = 0", "wake.near_miss: "),
        ('[profiles.default]\nhistory = "none"', "profiles.default.history: "),
        ("[profiles.default]\nvoice = 1", "profiles.default.voice: input should be a valid string"),
        ("[profiles.default]\nspeed = 2", "profiles.default.speed: "),
        (
            '[profiles.kid]\nturn_detection = "azure_semantic_vad"',
            'profiles.kid.turn_detection: only provider "voice-live"',
        ),
        ("[profiles.kid.voice_live]\nauto_truncat = true", 'unknown key; did you mean "auto_truncate"?'),
        ("[profiles.kid.voice_live]\ninput_rate = 8000", "profiles.kid.voice_live.input_rate: "),
        ("wake = 3", "wake: "),
        ("[wake]\nwords = []", "wake.words: "),
        ('[realtime]\nkey_file = "~nobody-here/key"', 'realtime.key_file: there is no home folder "~nobody-here"'),
        ('[wake]\nclips_dir = "~nobody-here"', "wake.clips_dir: there is no home folder"),
        ('[realtime]\nprovider = "custom"\nurl = "http://x"', "realtime.url: "),
        ('[realtime]\nprovider = "azure"\nendpoint = "my-resource"', "realtime.endpoint: must be a URL"),
        ('[profiles.default]\nmodalities = ["audio", "text"]', "profiles.default.modalities: must be"),
        ('[profiles.default]\ntools = ["timers"]', "'goodbye'"),
        ('[device]\nid = "Küche"', 'device.id: must be small letters, digits, "_" and "-", not "Küche"'),
        ('[device]\nid = "all"', "device.id: "),
        ('[device]\nid = "group"', "device.id: "),  # or the topics of groups would be below its own
        ("[conversation]\nfollow_up_s = nan", "conversation.follow_up_s: "),
        ("[audio]\nvolume = 60.5", "audio.volume: "),
        ('[audio]\nchime = "yes"', "audio.chime: "),
        ('[audio]\ninput = "file:"', "audio.input: "),
        ('[mqtt]\nhost = "my broker"', "mqtt.host: "),
        ('[[wake.words]]\nmodel = "alexa"\n[[wake.words]]\nmodel = "alexa"', "stands there twice"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert any(told in problem for problem in problems(tmp_path, text))


def test_what_is_no_toml_is_said_with_its_place(tmp_path: Path) -> None:
    assert "line 2" in problems(tmp_path, "[audio]\nvolume = = 3")[0]
    path = tmp_path / "config.toml"
    path.write_bytes(b"[audio]\nname = \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        configfile.load(path, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        configfile.load(tmp_path, {})


def test_the_environment_wins(tmp_path: Path) -> None:
    path = written(tmp_path, "[audio]\nvolume = 10")
    config = configfile.load(
        path,
        {
            "VOICED_AUDIO__VOLUME": "20",
            "VOICED_DEVICE__ID": "123",
            "VOICED_PROFILES__DEFAULT__MODALITIES": '["text"]',
            "VOICED_PROFILES__DEFAULT__VOICE": "cedar",
            "VOICED_WAKE__WORDS": '[{model = "alexa"}]',
            "VOICED_CONFIG": "/not/read/here",
        },
    )
    assert config.audio.volume == 20
    assert config.device.id == "123"
    assert config.profiles["default"].modalities == ("text",)
    assert config.profiles["default"].voice == "cedar"
    assert config.wake.words[0].model == "alexa"


def test_a_mistake_in_the_environment_is_named_too(tmp_path: Path) -> None:
    assert any("audio.volume" in line for line in problems(tmp_path, "", VOICED_AUDIO__VOLUME="loud"))
    assert any(
        "VOICED_AUDIO__VOLUME__X" in line
        for line in problems(tmp_path, "[audio]\nvolume=3", VOICED_AUDIO__VOLUME__X="1")
    )


def test_the_variables_of_microsofts_samples(tmp_path: Path) -> None:
    quickstart = {
        "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com",
        "AZURE_OPENAI_DEPLOYMENT_NAME": "kitchen",
    }
    realtime = configfile.load(None, quickstart).realtime
    assert (realtime.provider, realtime.endpoint, realtime.deployment) == (
        "azure",
        "https://r.openai.azure.com",
        "kitchen",
    )
    older = configfile.load(None, {**quickstart, "OPENAI_API_VERSION": "2024-10-01-preview"}).realtime
    assert (older.provider, older.api_version) == ("azure-preview", "2024-10-01-preview")
    untouched = written(tmp_path, '[realtime]\nprovider = "simulator"  # as the installed file says')
    assert configfile.load(untouched, quickstart).realtime.provider == "azure"


def test_a_key_never_goes_to_another_vendors_host(tmp_path: Path) -> None:
    """Who chose OpenAI keeps OpenAI's address and model, whatever Azure's samples left in the environment."""
    environ = {"AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com", "AZURE_OPENAI_DEPLOYMENT_NAME": "kitchen"}
    chosen = written(tmp_path, '[realtime]\nprovider = "openai"')
    realtime = configfile.load(chosen, environ).realtime
    assert (realtime.provider, realtime.endpoint, realtime.deployment) == ("openai", "", "gpt-realtime-2.1")
    simulated = configfile.load(None, {**environ, "VOICED_REALTIME__PROVIDER": "simulator"}).realtime
    assert simulated.provider == "simulator"


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    home = tmp_path / "voiced" / "config.toml"
    assert configfile.find({"XDG_CONFIG_HOME": str(tmp_path)}) in {None, Path("/etc/voiced/config.toml")}
    home.parent.mkdir()
    home.touch()
    assert configfile.find({"XDG_CONFIG_HOME": str(tmp_path)}) == home
    other = tmp_path / "other.toml"
    other.touch()
    assert configfile.find({"VOICED_CONFIG": str(other), "XDG_CONFIG_HOME": str(tmp_path)}) == other
    assert configfile.find({"VOICED_CONFIG": str(other)}, str(home)) == home
    with pytest.raises(ConfigError, match="VOICED_CONFIG"):
        configfile.find({"VOICED_CONFIG": str(tmp_path / "none")})


def test_wishes_that_cannot_be_fulfilled_are_said() -> None:
    config = configfile.load(None, {"VOICED_BUDGET__USD_PER_DAY": "1", "VOICED_CONVERSATION__CONNECT": "speech"})
    assert config.unmet() == []  # they hold
    assert Config().unmet() == []
    one = configfile.load(None, {"VOICED_PROFILES__DEFAULT__DEPLOYMENT": "small"})
    assert "deployment" in one.unmet()[0]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(keys(Config))), st.text(max_size=10), VALUES)
def test_anything_gives_a_configuration_or_names_the_trouble(section: str, key: str, value: Any) -> None:
    environ = {f"VOICED_{section.upper()}__{key.upper()}": str(value)}
    with contextlib.suppress(ConfigError):
        assert isinstance(configfile.load(None, environ), Config)
