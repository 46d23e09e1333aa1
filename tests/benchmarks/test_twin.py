"""`benchmarks/twin.py`, which made the tables of docs/twin.md."""

import re

import numpy as np
from benchmarks.twin import interval, units


def test_intervals_under_artist_are_by_artist() -> None:
    tracks = np.array([f"rock.{number:05d}" for number in range(400)])
    artists = {track: f"artist {number // 20}" for number, track in enumerate(tracks)}
    right = np.arange(400) // 20 % 2 == 0  # an artist's tracks are all right or all wrong
    widths = {}
    for protocol in ("row", "track", "artist"):
        figures = re.findall(r"\d+\.\d", interval(right, units(tracks, artists, protocol)))
        widths[protocol] = float(figures[2]) - float(figures[1])
    assert widths["row"] == widths["track"] < 11
    assert widths["artist"] > 35  # a bootstrap of 20 artists, not of 400 tracks


def test_a_track_without_an_artist_is_drawn_by_itself() -> None:
    tracks = np.array(["a", "a", "b", "c", "d"])
    assert units(tracks, {"a": "x", "b": "x", "c": ""}, "artist").tolist() == ["x", "x", "x", "c", "d"]
