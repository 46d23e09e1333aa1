"""`genregrid export` reports a missing package, and a wrong argument, in one sentence."""

import sys

import pytest

from genregrid.cli.export import main


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["missing.ckpt", "onnx"]) == 2
    assert "[export]" in capsys.readouterr().err


def test_a_wrong_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["missing.ckpt", "onxn"]) == 2
    assert "'onnx', 'torch'" in capsys.readouterr().err
