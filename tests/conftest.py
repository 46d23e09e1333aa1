"""What all tests share: no network, no surroundings that count, small corpora with the real column names.

Corpora are drawn, never committed. Tests of real files ask for the fixture `real_data` and are skipped without it.
"""

import ipaddress
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hypothesis import settings
from omegaconf import DictConfig
from tests.faults.table import table

from genregrid.cli.start import start
from genregrid.config import register_schemas
from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.data.table import FeatureTable, table_from_frame
from genregrid.errors import UserError

# Compiling librosa's functions takes longer than running them once; numba reads this when it is imported.
os.environ.setdefault("NUMBA_OPT", "0")

# One seed, so that a red run is about the change that it tests; `--hypothesis-profile=search` looks further.
settings.register_profile("genregrid", deadline=None, database=None, derandomize=True, max_examples=40)
settings.register_profile("search", deadline=None, database=None, max_examples=1500)
settings.load_profile("genregrid")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many faults were tried in each area of the fault matrix, survived and lost (tests/faults)."""
    tried: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", []) if getattr(report, "when", "") == "call" else []:
                if name == "fault":
                    tried[value[0]] += 1
                    lost[value[0]] += not value[1]
    if tried:
        terminalreporter.section("faults: tried, survived, lost")
        terminalreporter.write_line(table(tried, lost))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, so that several processes end at nearly the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


# As it was at the start: tests see it only through `real_data`.
_REAL_DATA = os.environ.get("GENREGRID_DATA")
_WEIGHTS = os.environ.get("GENREGRID_WEIGHTS")


class NetworkRefused(Exception):  # noqa: N818  # no `OSError`, so that no code takes it for a machine without network
    """A test asked for the network."""


def _refuse_unless_local(address: Any, family: int = socket.AF_INET) -> None:
    if family == getattr(socket, "AF_UNIX", None):
        return
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host == "localhost":
        return
    try:
        local = ipaddress.ip_address(host) in {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    except ValueError:
        local = False
    if not local:
        raise NetworkRefused(f"tests run without a network, but this one asked for {host}: serve it from 127.0.0.1")


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        _refuse_unless_local(address, self.family)
        return connect(self, address)

    return guarded


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse sockets and name look-ups, except to 127.0.0.1, ::1 and local (AF_UNIX) sockets."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))
    send = socket.socket.sendto

    def guarded_send(self: socket.socket, data: Any, *flags_and_address: Any) -> int:
        _refuse_unless_local(flags_and_address[-1], self.family)
        return send(self, data, *flags_and_address)

    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_unless_local(host)
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "sendto", guarded_send)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture(autouse=True)
def own_hydra() -> Iterator[None]:
    """Forget the configuration of a command that ran in this process; code asks Hydra whether there is one."""
    yield
    HydraConfig.instance().cfg = None


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Work in `tmp_path`, with no user's corpora, no W&B account and no W&B output."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("WANDB_", "GENREGRID_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))  # where offline artifacts wait for their upload


@pytest.fixture
def real_data(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that GENREGRID_DATA names, set again for the length of the test; skips where it is not set."""
    if not _REAL_DATA or not Path(_REAL_DATA).is_dir():
        pytest.skip("set GENREGRID_DATA to a folder with real corpora (data/README.md) to run tests on real files")
    folder = Path(_REAL_DATA).absolute()
    monkeypatch.setenv("GENREGRID_DATA", str(folder))
    return folder


@pytest.fixture
def musicnn_wheel() -> Path:
    """The wheel of musicnn with its weights, in the folder that GENREGRID_WEIGHTS names; skips without it."""
    path = Path(_WEIGHTS or "") / "musicnn-0.1.0-py3-none-any.whl"
    if not _WEIGHTS or not path.is_file():
        pytest.skip(f"GENREGRID_WEIGHTS names no folder with {path.name}")
    return path


@pytest.fixture
def real_file(real_data: Path) -> Callable[[str], Path]:
    """`real_file("gtzan/features_30_sec.csv")` is that file of the real corpora; skips where it is missing."""

    def find(name: str) -> Path:
        if not (real_data / name).exists():
            pytest.skip(f"GENREGRID_DATA lacks {name}")
        return real_data / name

    return find


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds conf/, src/ and tests/."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def composed(project_root: Path) -> Callable[..., DictConfig]:
    """`composed("model=mlp", "slice=3")` is conf/train.yaml with these overrides; `config="evaluate"` the other one.

    `hydra=True` keeps Hydra's own settings.
    """
    register_schemas()

    def make(*overrides: str, config: str = "train", hydra: bool = False) -> DictConfig:
        with initialize_config_dir(str(project_root / "conf"), version_base="1.3"):
            return compose(config, list(overrides), return_hydra_config=hydra)

    return make


@pytest.fixture
def script(project_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`script("train", *arguments)` runs a script in this process and returns its exit code."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the script sets it

    def run(name: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            start(name, project_root / "conf")
        return int(str(ended.value.code))

    return run


@pytest.fixture(scope="session")
def config_loader(project_root: Path) -> ConfigLoader:
    """What Hydra gives to a sweeper, which composes configurations from conf/ with it."""
    register_schemas()
    with initialize_config_dir(str(project_root / "conf"), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


@pytest.fixture
def user_error() -> Callable[..., AbstractContextManager[None]]:
    """Expect a `UserError` in one line about a key, and a value if one is given.

    Usage: ``with user_error("split.fold", 9): ...``. `problem` and `hint` are parts of those fields; only tests that
    are about them give them.
    """

    @contextmanager
    def expected(
        key: object = None, value: object = ..., *, problem: str = "", hint: str | None = None
    ) -> Iterator[None]:
        with pytest.raises(UserError) as caught:
            yield
        error = caught.value
        assert "\n" not in str(error)
        assert error.key == (None if key is None else str(key)), str(error)
        assert value is ... or error.value == value, str(error)
        assert problem in error.problem, str(error)
        assert hint is None or hint in (error.hint or ""), str(error)

    return expected


def draw_frame(
    *,
    genres: Sequence[str] = ("blues", "classical", "metal"),
    tracks: int | Mapping[str, int] = 6,
    slices: int = 10,
    short: Mapping[str, int] | None = None,
    seed: int = 0,
    separation: float = 1.0,
    slice_seconds: float = 3.0,
    whole_clips: bool = False,
) -> pd.DataFrame:
    """Draw a small frame of the CSV contract: filename, length, the 57 descriptors, label.

    Rows are sorted by genre, track and slice. A descriptor is a genre's centre, plus what its track and its slice add
    (standard deviations 0.7 and 0.5); variances, energies and tempo are positive, shares are below 1.

    Args:
        genres: genre names; tracks are called ``genre.00000``, ``genre.00001``, ...
        tracks: tracks of every genre, or of each by name.
        slices: slices of a track.
        short: slices of the tracks that differ, by track name; 0 leaves the track out.
        seed: of the draw; another seed draws other tracks of the same genres.
        separation: standard deviation of the genres' centres in every descriptor. With 1 a small model is right
            nearly always, with 0 no model beats chance.
        slice_seconds: length of a slice in seconds.
        whole_clips: one row per track, called ``genre.00000.wav``, with lengths that vary from track to track.
    """
    short = short or {}
    names, labels, first = [], [], []
    for genre in genres:
        for number in range(tracks if isinstance(tracks, int) else tracks[genre]):
            track = f"{genre}.{number:05d}"
            for index in range(1 if whole_clips else short.get(track, slices)):
                names.append(f"{track}.wav" if whole_clips else f"{track}.{index}.wav")
                labels.append(genre)
                first.append(index == 0)
    num_features = len(FEATURE_NAMES)
    centres = {
        genre: separation * np.random.default_rng([7, *genre.encode()]).standard_normal(num_features)
        for genre in genres
    }
    random = np.random.default_rng(seed)
    track_index = np.cumsum(first) - 1
    z = (
        np.array([centres[genre] for genre in labels]).reshape(-1, num_features)
        + 0.7 * random.standard_normal((int(np.sum(first)), num_features))[track_index]
        + 0.5 * random.standard_normal((len(names), num_features))
    )
    positive = np.array(
        [not name.startswith(("mfcc", "harmony", "perceptr")) or "_var" in name for name in FEATURE_NAMES]
    )
    # rounded to what float32 keeps: a frame in memory and its CSV read back make equal tables
    values = np.where(positive, 3 * np.exp(0.3 * z), 5 * z)
    shares = np.isin(FEATURE_NAMES, ("chroma_stft_mean", "zero_crossing_rate_mean"))
    values = np.round(np.where(shares, values / (3 + values), values), 4)
    frame = pd.DataFrame(values, columns=list(FEATURE_NAMES))
    num_samples = round(slice_seconds * SAMPLE_RATE_HZ)
    length = num_samples + 13 * (track_index % 5) if whole_clips else np.full(len(names), num_samples - 1)
    frame.insert(0, "filename", np.array(names, dtype=str))
    frame.insert(1, "length", length.astype(np.int64))
    frame["label"] = np.array(labels, dtype=str)
    return frame


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., pd.DataFrame]:
    """The function `draw_frame`: `make_frame(genres=("blues", "rock"), tracks=4, short={"blues.00001": 9})`."""
    return draw_frame


@pytest.fixture(scope="session")
def make_table() -> Callable[..., FeatureTable]:
    """`make_table(...)` is the validated table of `make_frame(...)`, with the same arguments."""

    def make(**kwargs: Any) -> FeatureTable:
        return table_from_frame(draw_frame(**kwargs), source="drawn")

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """`write_csv(frame, "mine.csv")` writes a frame below `tmp_path`; without a frame, that of `make_frame(...)`.

    `write_csv(name="mine.csv", tracks=4)` draws and writes at once.
    """

    def write(frame: pd.DataFrame | None = None, name: str = "features.csv", **kwargs: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (draw_frame(**kwargs) if frame is None else frame).to_csv(path, index=False)
        return path

    return write


# The columns of FMA's tracks.csv, in its order.
_FMA_COLUMNS = {
    "album": "comments date_created date_released engineer favorites id information listens producer tags title tracks "
    "type",
    "artist": "active_year_begin active_year_end associated_labels bio comments date_created favorites id latitude "
    "location longitude members name related_projects tags website wikipedia_page",
    "set": "split subset",
    "track": "bit_rate comments composer date_created date_recorded duration favorites genre_top genres genres_all "
    "information interest language_code license listens lyricist number publisher tags title",
}


@pytest.fixture
def write_fma_tracks(tmp_path: Path) -> Callable[..., Path]:
    """`write_fma_tracks({2: ("Hip-Hop", 1, "AWOL", "training")})` writes a table with the header of FMA's tracks.csv.

    Each track has its top genre, the number and the name of its artist, and its part.
    """

    def write(tracks: Mapping[int, tuple[str, int | str, str, str]], name: str = "fma_metadata/tracks.csv") -> Path:
        columns = [(group, column) for group, names in _FMA_COLUMNS.items() for column in names.split()]
        frame = pd.DataFrame("", index=pd.Index(tracks, name="track_id"), columns=pd.MultiIndex.from_tuples(columns))
        for number, (genre, artist_id, artist, part) in tracks.items():
            known = [("artist", "id"), ("artist", "name"), ("set", "split"), ("track", "genre_top")]
            frame.loc[number, known] = [str(artist_id), artist, part, genre]
            frame.loc[number, [("set", "subset")]] = "small"
            frame.loc[number, [("track", "genres")]] = "[21, 12]"
            frame.loc[number, [("artist", "bio")]] = '<p>A "Way",\nof\r\n\nLife</p>\n1,2,3\n'
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_csv(path)
        return path

    return write
