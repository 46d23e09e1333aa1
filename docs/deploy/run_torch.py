"""Print the genre of each track in a feature CSV: `python run_torch.py MODEL.pt2 FEATURES.csv` (torch only)."""

import csv
import json
import re
import sys

import torch

extra = {"genregrid.json": ""}
model = torch.export.load(sys.argv[1], extra_files=extra).module()
about = json.loads(extra["genregrid.json"])
tracks: dict[str, dict[int, list[float]]] = {}
with open(sys.argv[2], newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        track, number = re.fullmatch(r"(.+?)(?:\.(\d{1,4}))?\.\w+", row["filename"]).groups()  # blues.00000.3.wav
        tracks.setdefault(track, {})[int(number or 0)] = [float(row[name]) for name in about["feature_names"]]
for track, slices in tracks.items():
    features = torch.tensor([slices[number] for number in sorted(slices)])
    size = min(about["window_slices"], len(features))
    windows = features.unfold(0, size, about["hop_slices"]).transpose(1, 2)  # (window, slice, feature)
    with torch.no_grad():
        log_probs = model(windows, torch.full((len(windows),), size)).mean(dim=0)
    prob, genre = log_probs.softmax(dim=0).max(dim=0)
    print(f"{track},{about['genres'][genre]},{prob:.4f}")
