"""The house around the code: plan, locks, package, scripts."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = (ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")

LONG_FILES: dict[str, str] = {}
"""Files of the package with more than 400 lines: path to reason."""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked(*patterns: str) -> list[Path]:
    """Files under version control that are there."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", *patterns], check=True, capture_output=True, text=True
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def pins(lock: Path) -> Iterator[tuple[Requirement, list[str]]]:
    """Every pinned package of a lock with its hashes."""
    text = lock.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith(("#", "-")):
            pin, *hashes = line.split("--hash=")
            yield Requirement(pin.strip()), [value.strip() for value in hashes]


def locked(lock: Path, python: str, machine: str) -> dict[str, str]:
    """What the lock installs there: name to version."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
        "platform_system": "Linux",
    }
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin, _ in pins(lock)
        if pin.marker is None or pin.marker.evaluate(environment)
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_pin_has_hashes_and_no_index_is_named(lock: Path) -> None:
    for pin, hashes in pins(lock):
        assert str(pin.specifier).startswith("=="), pin
        assert hashes, pin
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", value) for value in hashes), pin
    options = [line for line in lock.read_text().splitlines() if line.startswith("-")]
    assert options == ["--only-binary :all:"]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_locks_cover_what_the_project_asks_for(python: str, machine: str) -> None:
    told = project()
    groups = told["dependency-groups"]
    run_time = [*told["project"]["dependencies"], *groups["build"], "openwakeword==0.5.1"]
    for lock, wanted in zip(LOCKS, (run_time, [*run_time, *groups["test"]]), strict=True):
        versions = locked(lock, python, machine)
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement
    assert locked(LOCKS[0], python, machine).items() <= locked(LOCKS[1], python, machine).items()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_the_locks_are_closed(lock: Path) -> None:
    """What a locked package requires here is locked as well: nothing is left to a resolver."""
    versions = locked(lock, f"{sys.version_info.major}.{sys.version_info.minor}", os.uname().machine)
    for name, version in versions.items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # an environment made by hand may lack some
        if installed.version != version or name == "openwakeword":  # its Python is never imported
            continue
        for requirement in map(Requirement, installed.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in versions, f"{name} requires {requirement}"


def test_the_heavy_and_the_unbuildable_stay_out() -> None:
    for lock in LOCKS:
        names = {canonicalize_name(pin.name) for pin, _ in pins(lock)}
        assert not names & {"scikit-learn", "scipy", "tflite-runtime", "webrtcvad"}


def test_scripts_and_package_agree_on_python() -> None:
    script = (ROOT / "systemd" / "environment.sh").read_text()
    ((low, high),) = re.findall(r"not \(3, (\d+)\) <= sys\.version_info < \(3, (\d+)\)", script)
    assert SpecifierSet(project()["project"]["requires-python"]) == SpecifierSet(f">=3.{low},<3.{high}")
    assert [f"3.{minor}" for minor in range(int(low), int(high))] == list(PYTHONS)


def test_the_licence_is_told_and_shipped() -> None:
    told = project()["project"]
    assert told["license"] == "Apache-2.0"
    assert told["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n" in text
    assert "END OF TERMS AND CONDITIONS" in text


def wheel_of(folder: Path, copy: Callable[[Path, Path], object]) -> Path:
    """Build the wheel from a copy of what is under version control."""
    source = folder / "source"
    for path in tracked():
        there = source / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        copy(path, there)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_whole_package_and_is_the_same_wherever_it_is_built(tmp_path: Path) -> None:
    built = wheel_of(tmp_path / "one", shutil.copy2)
    assert wheel_of(tmp_path / "at another time", shutil.copy).read_bytes() == built.read_bytes()
    with zipfile.ZipFile(built) as wheel:
        names = set(wheel.namelist())
    assert {str(path.relative_to(ROOT)) for path in tracked("voiced")} <= names
    version = project()["project"]["version"]
    assert f"voiced-{version}.dist-info/licenses/LICENSE" in names
    assert not [name for name in names if not name.startswith(("voiced/", "voiced-"))]


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## {project()['project']['version']}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_plan_of_the_house_holds() -> None:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_file_of_the_package_is_long_without_a_reason() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in tracked("voiced/*.py")}
    assert {name for name, count in lines.items() if count > 400} == set(LONG_FILES)


def test_nothing_belongs_to_one_machine() -> None:
    """No path of somebody's machine and no host of a package registry in any file."""
    # Put together here, so that this file does not find itself.
    traces = [
        *(f"/{name}/" for name in ("root", "work", "home/[a-z]+")),
        *(re.escape(f"{site}.org") for site in ("pypi", "pythonhosted", "npmjs", "deb.debian")),
    ]
    found = [
        f"{path.relative_to(ROOT)}: {match}"
        for path in tracked()
        for match in re.findall(rf"(?<![\w.$}}-])(?:{'|'.join(traces)})", path.read_text(errors="replace"))
    ]
    assert not found


@pytest.mark.parametrize(
    "script",
    [".ci/run", "systemd/install.sh", "tests/run.sh", "tests/lock.sh", "tests/bare.sh", "tests/homeassistant.sh"],
)
def test_scripts_can_be_started(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", path], check=True)


def test_two_commands_set_everything_up() -> None:
    blocks = re.findall(r"(?ms)^```\w*\n(.*?)^```", (ROOT / "README.md").read_text())
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    scripts = {command for command in commands if command.startswith(("./", "sudo ./"))}
    assert {"./systemd/install.sh --demo", "./tests/run.sh"} <= scripts
    for command in scripts:
        assert (ROOT / command.removeprefix("sudo ").split()[0]).is_file(), command
