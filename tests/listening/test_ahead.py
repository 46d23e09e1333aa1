"""A recording that was described ahead has the rows of one that was not, and a mistake is found here."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genregrid.features.known_recipe import recipe_named
from genregrid.features.recipe import TableKey
from genregrid.listening.ahead import DescribedAhead

CODE = """
import sys
import numpy as np
from pathlib import Path
from genregrid.features.description import describe_recording
from genregrid.features.known_recipe import recipe_named
from genregrid.features.recipe import TableKey
from genregrid.listening.ahead import DescribedAhead

source = TableKey(recipe_named("kaggle-constant"), 0.5)
ahead = DescribedAhead(Path(sys.argv[1]), source)
print(DescribedAhead(Path("nothere.wav"), source).result())
found = ahead.result()
if found is None:  # one core, or another system
    print("here")
else:
    here = describe_recording(Path(sys.argv[1]), [source])
    print(np.array_equal(np.concatenate(found.rows[source]), np.concatenate(here.rows[source])))
"""


@pytest.mark.slow
def test_another_process_makes_the_same_rows(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    soundfile.write(tmp_path / "song.wav", 0.1 * random.standard_normal(2 * 22_050), 22_050)
    words = [sys.executable, "-c", CODE, str(tmp_path / "song.wav")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.splitlines() in (["None", "True"], ["None", "here"])
    assert done.stderr == ""


def test_with_torch_in_the_process_nothing_is_described_ahead(tmp_path: Path) -> None:
    import torch  # noqa: F401

    recipe = recipe_named("kaggle-constant")
    assert recipe is not None
    assert DescribedAhead(tmp_path / "song.wav", TableKey(recipe, 3.0)).result() is None
