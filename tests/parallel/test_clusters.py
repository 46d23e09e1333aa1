"""Claims about clusters: the real commands on a Ray cluster of two nodes, submitit's local executor and a mock SLURM.

Every server binds to 127.0.0.1, is stopped by its own handle, and ends with these tests if they are killed.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from genregrid.data.columns import SAMPLE_RATE_HZ

pytestmark = pytest.mark.slow  # each test starts processes

Run = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("dataset.num_tracks=100", "trainer.max_epochs=1", "trainer.accelerator=cpu", "logger=none")
RUN_FILES = {"run.json", "config.yaml", "checkpoint.ckpt", "metrics.json", "predictions.csv", "split.csv"}
SOMETHING_SKIPPED = 3  # the exit code
LOOPBACK = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # otherwise Ray may take 127.0.0.1 as the address of a single machine
    "RAY_usage_stats_enabled": "0",
}


@pytest.fixture
def run(project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("train.py", *arguments)` runs a script, `run("-m", MODULE, ...)` a module, from an empty folder."""
    for name, value in {**LOOPBACK, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)

    def start(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        parts = [sys.executable, str(project_root / name) if name == "train.py" else name, *arguments]
        return subprocess.run(parts, capture_output=True, text=True, timeout=240, cwd=tmp_path)

    return start


def runs_below(folder: Path) -> list[Path]:
    """Run folders; each must be complete."""
    folders = sorted(path.parent for path in folder.glob("outputs/multirun/*/*/*/run.json"))
    for run_folder in folders:
        assert {path.name for path in run_folder.iterdir()} >= RUN_FILES
    return folders


# SLURM --------------------------------------------------------------------------------------------------------------

SLURM = {  # the commands of SLURM that submitit calls, for one machine
    "sbatch": """
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
for i in $(seq 0 "$last"); do
    SLURM_JOB_ID=$((8 + i)) SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$i SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 \\
        SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 timeout 200 bash "$1" >/dev/null 2>&1 &
done
echo Submitted batch job 7
""",
    "srun": """
while true; do case "$1" in --output|--error) shift 2;; -*) shift;; *) break;; esac; done
exec "$@"
""",
    "sacct": 'echo "JobID|State|NodeList"; echo "7_[0-1]|RUNNING|here"',
}


@pytest.fixture
def mock_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put `sbatch`, `srun` and `sacct` on the path, which run jobs in processes of this machine."""
    for name, lines in SLURM.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{lines}")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_submitits_local_executor_runs_the_jobs_of_a_slurm_cluster(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    grid = ("model=gaussian", "seed=0,1", "launcher=slurm", "hydra/launcher=submitit_local")
    done = run("train.py", *grid, *QUICK)
    assert done.returncode == 0, done.stderr
    assert len(runs_below(tmp_path)) == 2
    assert len(list(tmp_path.glob("outputs/multirun/*/.submitit/*/*_result.pkl"))) == 2


@pytest.mark.usefixtures("mock_slurm")
@pytest.mark.torture
def test_the_jobs_go_to_sbatch_as_one_array_with_the_settings_of_the_launcher(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    grid = ("model=gaussian", "seed=0,1", "launcher=slurm", "hydra.launcher.partition=short")
    done = run("train.py", *grid, *QUICK)
    assert done.returncode == 0, done.stderr
    assert len(runs_below(tmp_path)) == 2
    (batch,) = tmp_path.glob("outputs/multirun/*/.submitit/7/*_submission.sh")
    asked = set(re.findall(r"#SBATCH --(.*)", batch.read_text()))
    assert asked >= {
        "array=0-1%2",
        "job-name=genregrid",
        "partition=short",
        "cpus-per-task=1",
        "mem=4GB",
        "time=240",
    }


@pytest.mark.usefixtures("mock_slurm")
def test_an_error_of_sbatch_is_reported_in_a_sentence(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "bin/sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition: gone' >&2; exit 1\n")
    done = run("train.py", "launcher=slurm", "hydra.launcher.partition=gone", *QUICK)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("launcher=slurm: ")
    assert "(sbatch: error: invalid partition" in line
    assert "Traceback" not in done.stderr


def test_without_slurm_a_hint_is_printed(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run("train.py", "launcher=slurm", *QUICK)
    assert done.returncode == 2
    assert "hydra/launcher=submitit_local" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


# Ray ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes with a CPU each, on loopback."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray") as short:
        patch.setenv(
            "RAY_TMPDIR", short
        )  # logs, and the note of what `auto` means; pytest's paths are too long for sockets
        for name, value in LOOPBACK.items():
            patch.setenv(name, value)
        pytest.importorskip("ray")
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        started = cluster_utils.Cluster()
        try:
            started.add_node(**NODE)
            started.add_node(**NODE)
            yield started
        finally:
            started.shutdown()


NODE = {
    "num_cpus": 1,
    "node_ip_address": "127.0.0.1",
    "object_store_memory": 100 << 20,
    "include_dashboard": False,
}


@pytest.mark.torture
def test_a_ray_cluster_of_two_nodes_runs_the_papers_grid(run: Run, cluster: Any, tmp_path: Path) -> None:
    pick = ("experiment=paper", "seed=0", "split.fold=0,1")
    done = run("train.py", *pick, "launcher=ray", f"hydra.launcher.address={cluster.address}", *QUICK)
    assert done.returncode == 0, done.stderr
    folders = runs_below(tmp_path)
    assert len(folders) == 10
    assert {folder.name.split("-split")[0].split("-track")[0] for folder in folders} == {
        f"{model}-slice{length}" for model, length in (("mlp", 30), ("mlp", 3), ("lstm", 3), ("lstm", 6), ("lstm", 9))
    }
    outputs = [path.read_text() for path in tmp_path.rglob("output.txt")]
    assert sum(text.count("accuracy ") for text in outputs) == 10
    nodes = re.findall(r"^on \S+ \(node (\w+)\)$", "\n".join(outputs), re.MULTILINE)
    assert len(nodes) == 10
    assert len(set(nodes)) == 2


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of seven short recordings and a file that is not audio."""
    for number in range(8):
        path = tmp_path / "music" / ("pop" if number % 2 else "rock") / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.random.default_rng(number).standard_normal(round((1 + 0.2 * number) * SAMPLE_RATE_HZ))
        soundfile.write(path, samples, SAMPLE_RATE_HZ)
    (tmp_path / "music/pop/7.wav").write_bytes(b"none")
    return tmp_path / "music"


@pytest.mark.torture
def test_a_cluster_writes_the_bytes_that_one_machine_writes(run: Run, cluster: Any, music: Path) -> None:
    command = ("-m", "genregrid.features", "music", "--slice", "0.5,1")
    here = run(*command, "--out", "here", "--workers", "1")
    there = run(*command, "--out", "there", "--ray", cluster.address)
    assert here.returncode == there.returncode == SOMETHING_SKIPPED, there.stderr
    assert "skipped music/pop/7.wav: " in there.stdout
    written = sorted(path.name for path in (music.parent / "here").iterdir())
    assert len(written) == 5
    for name in written:
        assert (music.parent / "here" / name).read_bytes() == (music.parent / "there" / name).read_bytes()


@pytest.mark.torture
def test_ctrl_c_ends_in_one_line_and_the_next_run_resumes(run: Run, cluster: Any, music: Path, tmp_path: Path) -> None:
    samples = 0.1 * np.random.default_rng(0).standard_normal(600 * SAMPLE_RATE_HZ)  # ten minutes: seconds of work
    for name in ("a", "b", "c"):
        soundfile.write(music / "rock" / f"{name}.wav", samples, SAMPLE_RATE_HZ)
    command = ["-m", "genregrid.features", "music", "--slice", "0.5", "--out", "f.csv"]
    process = subprocess.Popen(
        [sys.executable, *command, "--ray", cluster.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "f.partial-wal"  # of SQLite: a few kilobytes of settings, and then of tracks
    deadline = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size > 30_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "interrupted; run the same command again to resume.\n"
    for name in ("a", "b", "c"):
        (music / "rock" / f"{name}.wav").unlink()
    again = run(*command, "--ray", cluster.address)
    assert "resuming: " in again.stdout
    assert again.returncode == SOMETHING_SKIPPED, again.stderr


# Ends the process at the recording "deadly", and all that runs on the doomed node.
DEADLY = """
import os, signal, sys
from pathlib import Path
import ray
from genregrid.features import workers
from genregrid.features.extraction import extract
from genregrid.features.folder import find_tracks
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.recipe import TableKey

address, doomed = sys.argv[1:]

def describe(track, tables):
    name, node = track.path.stem, ray.get_runtime_context().get_node_id()
    with open(f"{name}.attempts", "a") as file:
        file.write(node + "\\n")
    if name == "deadly":
        os._exit(3)
    if node == doomed:
        os.kill(os.getppid(), signal.SIGKILL)  # the process of the node
        os._exit(3)  # with all that ran there
    return workers.describe_file(track, tables)

workers._describe_with_one_thread = describe
extract(find_tracks(Path("music")), {TableKey(HandmadeRecipe(), 0.5): Path("f.csv")}, ray_address=address)
"""


@pytest.mark.torture
def test_a_node_that_dies_costs_a_retry_and_a_deadly_recording_is_skipped(
    run: Run, cluster: Any, music: Path, tmp_path: Path
) -> None:
    (music / "rock/deadly.wav").write_bytes((music / "rock/0.wav").read_bytes())
    doomed = cluster.add_node(**NODE)
    try:
        done = run("-c", DEADLY, cluster.address, doomed.node_id)
    finally:
        cluster.remove_node(doomed)
    assert done.returncode == 0, done.stderr
    attempts = {path.stem: path.read_text().split() for path in tmp_path.glob("*.attempts")}
    assert any(doomed.node_id in nodes for nodes in attempts.values())
    assert len(attempts.pop("deadly")) == 3
    tracks = pd.read_csv("f.tracks.csv", dtype=str, keep_default_na=False).set_index("track")["skipped"]
    assert tracks.pop("rock.deadly").startswith("reading it ended the process")
    assert "pop.00007" in tracks.index
    assert [track for track, reason in tracks.items() if reason] == ["pop.00007"]


DEADLY_JOB = """
import os
from pathlib import Path
import hydra
from hydra.core.hydra_config import HydraConfig
from genregrid.config import register_schemas

register_schemas()

@hydra.main(version_base="1.3", config_path={conf!r}, config_name="train")
def main(cfg):
    if cfg.seed == 1:
        os._exit(3)
    Path(HydraConfig.get().runtime.output_dir, "seed").write_text(str(cfg.seed))

main()
"""


@pytest.mark.torture
def test_a_job_that_ends_its_process_has_an_error_file_and_the_others_run(
    run: Run, cluster: Any, tmp_path: Path, project_root: Path
) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY_JOB.format(conf=str(project_root / "conf")))
    done = run("deadly.py", "launcher=ray", f"hydra.launcher.address={cluster.address}", "seed=0,1,2")
    assert done.returncode == 0, done.stderr
    assert sorted(path.read_text() for path in tmp_path.rglob("seed")) == ["0", "2"]
    (error,) = tmp_path.glob("outputs/multirun/*/*/*/error.txt")
    assert error.parent.name == "lstm-slice3-track-fold0-seed1-job1"
    assert error.read_text().startswith("its process ended at every attempt")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nowhere"])
def test_no_cluster_at_the_address_is_reported_in_one_sentence(run: Run, music: Path, address: str) -> None:
    pytest.importorskip("ray")
    for command, key in (
        (("-m", "genregrid.features", "music", "--out", "f.csv", "--ray", address), "--ray="),
        (("train.py", "launcher=ray", f"hydra.launcher.address={address}", *QUICK), "hydra.launcher.address="),
    ):
        done = run(*command)
        assert done.returncode == 2
        assert f"{key}{address}" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


# without the extras ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("train.py", "-m", "launcher=slurm", "seed=0,1"), "slurm"),
        (("train.py", "-m", "launcher=slurm", "hydra/launcher=submitit_local", "seed=0,1"), "slurm"),
        (("train.py", "-m", "launcher=ray", "seed=0,1"), "ray"),
        (("-m", "genregrid.features", "music", "--out", "f.csv", "--ray", "auto"), "ray"),
    ],
)
def test_without_its_packages_a_cluster_command_prints_how_to_install_them(
    run: Run, music: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], extra: str
) -> None:
    (music.parent / "hide").mkdir()
    (music.parent / "hide/sitecustomize.py").write_text(
        "import sys\nsys.modules['ray'] = sys.modules['hydra_plugins.hydra_submitit_launcher'] = None\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(music.parent / "hide"))
    done = run(*command)
    assert done.returncode == 2
    assert f'pip install -e ".[{extra}]"' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
