"""The page as one document: a file of results that needs no server, and the data in it."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genregrid.errors import UserError
from genregrid.exhibit.colour import genre_colours
from genregrid.exhibit.mark import Mark
from genregrid.listening.contribution import Contribution
from genregrid.listening.timeline import ScoredRecording
from genregrid.page import document
from genregrid.page.answer import answer
from genregrid.page.document import write_page

GENRES = ["classical", "jazz", "rock"]


def scored(file: str, num_slices: int = 4) -> ScoredRecording:
    log_probs = np.log(np.tile(np.array([0.3, 0.6, 0.1], np.float32), (num_slices, 1)))
    return ScoredRecording(file, GENRES, 3.0, log_probs, log_probs[0], 3.0 * num_slices, threshold=0.75)


def data_of(path: Path) -> dict[str, Any]:
    found = re.search('<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_file_of_results_has_every_recording_and_links_to_it(tmp_path: Path) -> None:
    files = [tmp_path / "music" / "a b" / "1.wav", tmp_path / "music" / "</script><b>.wav"]
    write_page([scored(str(file)) for file in files], tmp_path / "page.html", "a model")
    data = data_of(tmp_path / "page.html")
    assert [one["audio"] for one in data["recordings"]] == ["music/a%20b/1.wav", "music/%3C/script%3E%3Cb%3E.wav"]
    assert [one["name"] for one in data["recordings"]] == ["a b/1.wav", "</script><b>.wav"]
    assert data["recordings"][0]["answer"]["verdict"] == "unsure: jazz or classical"
    assert [genre[:2] for genre in data["genres"]] == [[name, colour] for name, colour in genre_colours(GENRES).items()]
    assert not data["served"]
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "connect-src 'none'" in unescape(text)
    assert 'id="give"' not in text
    assert text.count("</script>") == 2


def test_no_recording_and_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no recording"):
        write_page([], tmp_path / "page.html")
    monkeypatch.setattr(document, "MOST_RECORDINGS", 1)
    with pytest.raises(UserError, match="more than"):
        write_page([scored("a.wav"), scored("b.wav")], tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_is_small_however_long_the_recording(tmp_path: Path) -> None:
    timeline = answer(scored("a.wav", num_slices=1201), "a.wav")["timeline"]
    assert len(timeline["edges"]) == len(timeline["probs"]) + 1 == 242  # 5 slices a step
    assert timeline["edges"][-1] == 3603
    assert np.allclose(timeline["probs"], [0.3, 0.6, 0.1], atol=1e-3)


def test_an_answer_has_the_set_the_marks_and_the_contributions_of_both_genres() -> None:
    found = [Contribution("rms_mean", 0.5, -1.26), Contribution("tempo", -0.2, None), Contribution("x", 0.001, 1.0)]
    content = answer(replace(scored("a.wav"), marks=(Mark.SYNTHETIC,)), "a\x1b.wav", contributions=found)
    assert content["name"] == "a\\x1b.wav"
    assert (content["possible"], content["level"], content["marks"]) == (["jazz", "classical"], 90, ["SYNTHETIC"])
    assert (content["first"], content["second"], content["decades"]) == ("jazz", "classical", 0.301)
    rows = content["contributions"]
    assert rows["first"] == [{"name": "loudness (rms), mean", "decades": 0.5, "about": "1.3 deviations below the mean"}]
    assert [row["name"] for row in rows["second"]] == ["tempo"]
    assert json.loads(json.dumps(content)) == content


def test_a_model_without_a_card_has_no_set() -> None:
    content = answer(replace(scored("a.wav"), threshold=None), "a.wav")
    assert (content["verdict"], content["level"], content["contributions"]) == ("jazz", None, None)
