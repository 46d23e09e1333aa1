"""Renew constraints.txt and hashes/: the versions that are tested and installed, and the sha256 hashes of their files.

``python tools/pin.py`` takes the newest versions that ``pyproject.toml`` allows, one version for all supported Pythons
and systems. ``python tools/pin.py -c constraints.txt`` keeps the versions and adds what is missing. Arguments go to
``uv pip compile``, so uv must be installed (``pip install uv``). Run all tests with the new versions before you commit
them.

| file | holds |
|---|---|
| ``constraints.txt`` | the version of every package; no hashes, as pip refuses to install a folder beside hashes |
| ``hashes/build.txt`` | setuptools, which builds genregrid and packages without a wheel |
| ``hashes/packages.txt`` | every package but torch, what only its CUDA build needs, and those of the next lines |
| ``hashes/embedding.txt`` | what only the extra embedding needs |
| ``hashes/export.txt`` | what only the extra export needs |
| ``hashes/cpu.txt`` | torch without CUDA |
| ``hashes/cuda.txt`` | torch for Linux with CUDA, NVIDIA's libraries and Triton |

No file names an address: pip's own settings say where packages come from.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_COMPILE = (
    *("uv", "pip", "compile", "pyproject.toml", "--no-config", "--quiet", "--format=pylock.toml"),
    *("--universal", "--fork-strategy=fewest"),  # one version of a package for all Pythons and systems
)
_BUILD = ("setuptools",)
#: torchmetrics imports their packages where they are, which makes every start slower.
_APART = ("embedding", "export")
_CUDA = re.compile(r"nvidia-|cuda-|triton$")
_HEADER = "# Written by tools/pin.py."


class Pin(NamedTuple):
    """A package with one exact version.

    Attributes:
        name: normalised: lower case, dashes.
        version: without ``==``.
        marker: where it is needed, such as ``sys_platform == 'linux'``; empty for everywhere.
        files: sha256 of each file, 64 hexadecimal digits, by file name.
    """

    name: str
    version: str
    marker: str
    files: dict[str, str]

    def requirement(self) -> str:
        """Name, version and marker in pip's words."""
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")

    def hashed(self) -> str:
        """The requirement, and a line for each hash."""
        return " \\\n".join(
            [self.requirement(), *(f"    --hash=sha256:{each}" for each in sorted(self.files.values()))]
        )


def read_lock(lock: Mapping[str, Any]) -> list[Pin]:
    """Read the packages of a parsed pylock.toml (PEP 751)."""
    pins = []
    for package in lock["packages"]:
        sources = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        files = {source["url"].rsplit("/", 1)[-1]: source["hashes"]["sha256"] for source in sources}
        pins.append(Pin(package["name"], package["version"], package.get("marker", ""), files))
    return pins


def read_builds(listing: str) -> dict[str, str]:
    """Read lines of a hash, two blanks and a file name; return hashes by file name."""
    return {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", listing, re.MULTILINE)}


def split_torch(torch: Pin, builds: Mapping[str, str]) -> tuple[list[Pin], Pin]:
    """Separate torch without CUDA from torch for Linux with CUDA.

    For Linux the version names the CPU build, as pip prefers a file of the index to one in a folder.

    Args:
        torch: with all files of the package index. Only those for Linux have CUDA.
        builds: hashes of CPU builds by file name, also of other versions.
    """
    cpu = f"{torch.version}+cpu"
    builds = {name: digest for name, digest in builds.items() if name.startswith(f"torch-{cpu}-")}
    if not builds:
        raise SystemExit(f"hashes/torch-cpu.txt: no build of torch {torch.version}; add lines of hash and file name.")
    linux = {name: digest for name, digest in torch.files.items() if "linux" in name}
    elsewhere = {name: digest for name, digest in {**torch.files, **builds}.items() if "linux" not in name}
    without = [
        Pin(torch.name, cpu, "sys_platform == 'linux'", {name: builds[name] for name in builds if "linux" in name}),
        Pin(torch.name, torch.version, "sys_platform != 'linux'", elsewhere),
    ]
    return without, torch._replace(files=linux)


def write_files(
    pins: Sequence[Pin], builds: Mapping[str, str], root: Path, apart: Mapping[str, Iterable[str]] | None = None
) -> None:
    """Write constraints.txt and the files of hashes/ below a folder; `apart` has packages by their extra."""

    def write(name: str, entries: Iterable[str]) -> None:
        (root / name).write_text("\n".join([_HEADER, *entries]) + "\n", encoding="utf-8")

    [torch] = (pin for pin in pins if pin.name == "torch")
    without, with_cuda = split_torch(torch, builds)
    cuda = [with_cuda, *(pin for pin in pins if _CUDA.match(pin.name))]
    files = {extra: [pin for pin in pins if pin.name in set(names)] for extra, names in (apart or {}).items()}
    others = [torch, *cuda, *(pin for some in files.values() for pin in some)]
    write("constraints.txt", (pin.requirement() for pin in pins))
    write("hashes/build.txt", (pin.hashed() for pin in pins if pin.name in _BUILD))
    write("hashes/packages.txt", (pin.hashed() for pin in pins if pin not in others))
    for extra, some in files.items():
        write(f"hashes/{extra}.txt", (pin.hashed() for pin in some))
    write("hashes/cpu.txt", (pin.hashed() for pin in without))
    write("hashes/cuda.txt", (pin.hashed() for pin in cuda))


def main(arguments: Sequence[str], root: Path) -> int:
    """Resolve with uv, write the files, return the exit code."""
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    resolved = []
    base = [name for name in extras if name not in _APART]
    for names in (extras, base, *([*base, name] for name in _APART)):
        options = [f"--extra={name}" for name in names]
        try:
            done = subprocess.run([*_COMPILE, *options, *arguments], cwd=root, stdout=subprocess.PIPE, text=True)
        except FileNotFoundError:
            print("uv: not installed; run `pip install uv`.", file=sys.stderr)
            return 2
        if done.returncode:
            return done.returncode
        resolved.append(read_lock(tomllib.loads(done.stdout)))
    pins, *others = ({pin.name: pin for pin in some} for some in resolved)
    apart = {name: some.keys() - others[0].keys() for name, some in zip(_APART, others[1:], strict=True)}
    builds = read_builds((root / "hashes/torch-cpu.txt").read_text(encoding="utf-8"))
    write_files(list(pins.values()), builds, root, apart)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parents[1]))
