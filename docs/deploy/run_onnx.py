"""Print the genre of each track in a feature CSV: `python run_onnx.py MODEL.onnx FEATURES.csv` (NumPy, onnxruntime)."""

import csv
import json
import re
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
tracks: dict[str, dict[int, list[float]]] = {}
with open(sys.argv[2], newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        track, number = re.fullmatch(r"(.+?)(?:\.(\d{1,4}))?\.\w+", row["filename"]).groups()  # blues.00000.3.wav
        tracks.setdefault(track, {})[int(number or 0)] = [float(row[name]) for name in about["feature_names"]]
for track, slices in tracks.items():
    features = np.array([slices[number] for number in sorted(slices)], np.float32)
    size = min(about["window_slices"], len(features))
    starts = range(0, len(features) - size + 1, about["hop_slices"])
    windows = np.stack([features[start : start + size] for start in starts])  # (window, slice, feature)
    length = np.full(len(windows), size)
    log_probs = session.run(["log_probs"], {"features": windows, "length": length})[0].mean(axis=0)
    probs = np.exp(log_probs) / np.exp(log_probs).sum()
    print(f"{track},{about['genres'][probs.argmax()]},{probs.max():.4f}")
