"""`tools/estimate_twin.py` reports a wrong folder; tests/twin compares the figures that it wrote with real tables."""

from pathlib import Path

import pytest
from tools.estimate_twin import main


def test_a_folder_without_the_tables_is_reported_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["estimate_twin.py", str(tmp_path)])
    assert main() == 2
    assert str(tmp_path / "gtzan" / "features_30_sec.csv") in capsys.readouterr().err
