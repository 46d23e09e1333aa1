"""Dependencies have bounds, and the pinned versions and hashes agree with them and name no address."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUILDS_OF_TORCH = ("cpu.txt", "cuda.txt")


@pytest.fixture
def project(project_root: Path) -> dict[str, Any]:
    return tomllib.loads((project_root / "pyproject.toml").read_text())


@pytest.fixture
def dependencies(project: dict[str, Any]) -> list[Requirement]:
    """Every requirement of pyproject.toml, but for genregrid's own extras."""
    extras = project["project"]["optional-dependencies"].values()
    lists = [project["build-system"]["requires"], project["project"]["dependencies"], *extras]
    found = [Requirement(text) for each in lists for text in each]
    return [requirement for requirement in found if requirement.name != "genregrid"]


def entries(path: Path) -> list[str]:
    """The requirements of a file, each with its hashes in one line, without comments."""
    text = path.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture
def pinned(project_root: Path) -> dict[str, Requirement]:
    found = [Requirement(line) for line in entries(project_root / "constraints.txt")]
    assert len({requirement.name for requirement in found}) == len(found)
    return {requirement.name: requirement for requirement in found}


def version_of(requirement: Requirement) -> str:
    [specifier] = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.fixture
def hash_files(project_root: Path) -> dict[str, list[str]]:
    paths = (project_root / "hashes").glob("*.txt")
    return {path.name: entries(path) for path in paths if path.name != "torch-cpu.txt"}


def test_every_dependency_has_a_lower_and_an_upper_bound(dependencies: list[Requirement]) -> None:
    for requirement in dependencies:
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators in ({"=="}, {">=", "<"}), requirement


def test_the_pinned_version_of_every_dependency_lies_inside_its_bounds(
    dependencies: list[Requirement], pinned: dict[str, Requirement]
) -> None:
    for requirement in dependencies:
        pin = pinned[canonicalize_name(requirement.name)]
        assert pin.marker is None, pin
        assert version_of(pin) in requirement.specifier, requirement


def test_every_hashed_version_is_the_pinned_one_and_every_pin_has_hashes(
    pinned: dict[str, Requirement], hash_files: dict[str, list[str]]
) -> None:
    hashed: dict[str, list[str]] = {}
    for name, lines in hash_files.items():
        for line in lines:
            text, *hashes = re.split(r"\s+--hash=", line)
            requirement = Requirement(text)
            hashed.setdefault(requirement.name, []).append(name)
            assert version_of(requirement).removesuffix("+cpu") == version_of(pinned[requirement.name])
            if requirement.name != "torch":
                assert requirement.marker == pinned[requirement.name].marker
            assert hashes
            assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in hashes), requirement
    assert hashed.keys() == pinned.keys()
    assert set(hashed["torch"]) == set(BUILDS_OF_TORCH)
    assert {name for name, files in hashed.items() if "cuda.txt" in files} <= {"torch", "triton"} | {
        name for name in pinned if name.startswith(("nvidia-", "cuda-"))
    }
    assert sorted(hashed["setuptools"]) == ["build.txt", "packages.txt"]


def test_cpu_builds_of_torch_are_hashed_for_every_supported_python(
    project_root: Path, pinned: dict[str, Requirement]
) -> None:
    listing = dict(line.split("  ")[::-1] for line in entries(project_root / "hashes" / "torch-cpu.txt"))
    for python in ("cp311", "cp312", "cp313"):
        for system in ("manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "win_amd64"):
            name = f"torch-{version_of(pinned['torch'])}+cpu-{python}-{python}-{system}.whl"
            assert listing[name] in (project_root / "hashes" / "cpu.txt").read_text()


def test_no_file_of_versions_or_hashes_names_an_address_or_an_option(project_root: Path) -> None:
    for path in (project_root / "constraints.txt", *(project_root / "hashes").glob("*.txt")):
        for line in entries(path):
            words = line.split()
            assert not re.search(r"[/@]|\.(org|com|net|io|dev)\b", line), (path, line[:80])
            assert all(word.startswith("--hash=sha256:") for word in words if word.startswith("-")), (path, line[:80])


def test_ci_installs_with_the_readmes_commands(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text()
    script = (project_root / ".ci" / "run").read_text().replace("hashes/cuda.txt", "hashes/cpu.txt")
    installs = re.findall(r"pip install (?!.*\$).*?(?= \|\||$)", script, re.MULTILINE)
    assert len(installs) >= 4
    for command in installs:
        assert f"    {command}\n" in readme
    commands = re.findall(r"^    python3 -m venv .* && pip .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert all(" -c constraints.txt && " in command for command in commands)


@pytest.mark.slow
def test_pip_refuses_a_file_of_the_pinned_version_with_another_hash(
    project_root: Path, pinned: dict[str, Requirement], tmp_path: Path
) -> None:
    version = version_of(pinned["setuptools"])
    with zipfile.ZipFile(tmp_path / f"setuptools-{version}-py3-none-any.whl", "w") as wheel:
        folder = f"setuptools-{version}.dist-info"
        wheel.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: setuptools\nVersion: {version}\n")
        wheel.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{folder}/RECORD", "")
    words = [sys.executable, "-m", "pip", "download", "--no-index", "--find-links", str(tmp_path), "--no-deps"]
    words += ["--dest", str(tmp_path / "taken"), "-r", str(project_root / "hashes" / "build.txt")]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, env={**variables, "PIP_CONFIG_FILE": os.devnull}
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not list(tmp_path.glob("taken/*"))
