"""`tools/pin.py` writes versions and hashes, each file of torch where it can be installed."""

from pathlib import Path

import pytest
from tools.pin import main, read_builds, read_lock, write_files

CPU = "torch-2.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
BUILDS = f"# comment\n{'c' * 64}  {CPU}\n{'d' * 64}  {CPU.replace('2.0', '1.9')}\n"


def source(name: str, digit: str) -> dict[str, object]:
    return {"url": f"https://example.invalid/{digit}/{name}", "hashes": {"sha256": digit * 64}}


LOCK = {
    "packages": [
        {
            "name": "click",
            "version": "8.1",
            "wheels": [source("click-8.1-py3-none-any.whl", "1")],
            "sdist": source("click-8.1.tar.gz", "0"),
        },
        {
            "name": "nvidia-nvtx",
            "version": "13",
            "marker": "sys_platform == 'linux'",
            "wheels": [source("nvtx.whl", "2")],
        },
        {"name": "setuptools", "version": "84", "wheels": [source("setuptools-84-py3-none-any.whl", "3")]},
        {
            "name": "torch",
            "version": "2.0",
            "wheels": [
                source("torch-2.0-cp311-cp311-manylinux_2_28_x86_64.whl", "4"),
                source("torch-2.0-cp311-cp311-macosx_14_0_arm64.whl", "5"),
            ],
        },
        {"name": "transformers", "version": "5.0", "wheels": [source("transformers-5.0-py3-none-any.whl", "6")]},
    ]
}


def test_each_package_is_in_the_file_of_those_who_need_it(tmp_path: Path) -> None:
    (tmp_path / "hashes").mkdir()
    write_files(read_lock(LOCK), read_builds(BUILDS), tmp_path, {"embedding": ["transformers"]})

    def read(name: str) -> list[str]:
        return [line.strip(" \\") for line in (tmp_path / name).read_text().splitlines()[1:]]

    def digest(digit: str) -> str:
        return f"--hash=sha256:{digit * 64}"

    nvtx = "nvidia-nvtx==13 ; sys_platform == 'linux'"
    assert read("constraints.txt") == ["click==8.1", nvtx, "setuptools==84", "torch==2.0", "transformers==5.0"]
    assert read("hashes/build.txt") == ["setuptools==84", digest("3")]
    assert read("hashes/packages.txt") == ["click==8.1", digest("0"), digest("1"), "setuptools==84", digest("3")]
    assert read("hashes/embedding.txt") == ["transformers==5.0", digest("6")]
    assert read("hashes/cuda.txt") == ["torch==2.0", digest("4"), nvtx, digest("2")]
    without = [
        "torch==2.0+cpu ; sys_platform == 'linux'",
        digest("c"),
        "torch==2.0 ; sys_platform != 'linux'",
        digest("5"),
    ]
    assert read("hashes/cpu.txt") == without
    assert not any("example" in path.read_text() for path in tmp_path.rglob("*.txt"))


def test_a_version_of_torch_without_hashes_of_its_cpu_builds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "hashes").mkdir()
    with pytest.raises(SystemExit, match="no build of torch"):
        write_files(read_lock(LOCK), {}, tmp_path)
    assert not list(tmp_path.rglob("*.txt"))


def test_uv_that_is_not_installed_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "pyproject.toml").write_text("[project.optional-dependencies]\nembedding = []\n")
    assert main([], tmp_path) == 2
    assert "uv: not installed" in capsys.readouterr().err
