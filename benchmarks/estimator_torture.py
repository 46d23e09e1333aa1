"""Change the bytes of fitted estimators at random, load and use them, and count what is not refused in one sentence.

Each estimator that a checkpoint may hold is fitted to a small table. Its arrays, shapes, types, schema, booster text
and raw bits are changed, with right checksums. A worker process loads the bytes and predicts. Counted are signals,
hangs, memory above 2 GB and exceptions other than `UserError`; all four should be 0.

    python benchmarks/estimator_torture.py --tries 1000
    python benchmarks/estimator_torture.py --tries 300 --only SVC
"""

import argparse
import io
import json
import os
import resource
import select
import subprocess
import sys
import time
import traceback
import warnings
import zipfile
from collections import Counter
from typing import Any

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorHead, build_estimator

_HANG = 20.0  # seconds
_MOST_MEMORY = 2 * 2**20  # KiB
ESTIMATORS: dict[str, dict[str, Any]] = {
    "genregrid.models.boosting.BoostedTrees": {"num_rounds": 3},
    "genregrid.models.gmm.MixturePerGenre": {},
    "genregrid.models.kernel.KernelRidgeClassifier": {},
    "genregrid.models.kernel.SetKernelClassifier": {"num_features": 2, "whitening": 0.2},
    "genregrid.models.kmeans.GenresOfClusters": {"num_clusters": 10},
    "genregrid.models.scikit_learn.GaussianPerGenre": {},
    "genregrid.models.scikit_learn.NearestNeighbours": {},
    "genregrid.models.scikit_learn.RadialSVM": {},
    "genregrid.models.scikit_learn.ShrunkenLDA": {},
    "lightgbm.LGBMClassifier": {"n_estimators": 3, "verbose": -1},
    "sklearn.discriminant_analysis.LinearDiscriminantAnalysis": {},
    "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis": {},
    "sklearn.dummy.DummyClassifier": {},
    "sklearn.ensemble.AdaBoostClassifier": {"n_estimators": 3},
    "sklearn.ensemble.BaggingClassifier": {"n_estimators": 3},
    "sklearn.ensemble.ExtraTreesClassifier": {"n_estimators": 3},
    "sklearn.ensemble.GradientBoostingClassifier": {"n_estimators": 3},
    "sklearn.ensemble.HistGradientBoostingClassifier": {"max_iter": 3, "min_samples_leaf": 3},
    "sklearn.ensemble.RandomForestClassifier": {"n_estimators": 3},
    "sklearn.linear_model.LogisticRegression": {},
    "sklearn.linear_model.LogisticRegressionCV": {"Cs": 2, "cv": 2},
    "sklearn.linear_model.PassiveAggressiveClassifier": {},
    "sklearn.linear_model.Perceptron": {},
    "sklearn.linear_model.RidgeClassifier": {},
    "sklearn.linear_model.RidgeClassifierCV": {},
    "sklearn.linear_model.SGDClassifier": {},
    "sklearn.naive_bayes.BernoulliNB": {},
    "sklearn.naive_bayes.GaussianNB": {},
    "sklearn.neighbors.KNeighborsClassifier": {},
    "sklearn.neighbors.NearestCentroid": {},
    "sklearn.neighbors.RadiusNeighborsClassifier": {"radius": 20.0},
    "sklearn.neural_network.MLPClassifier": {"max_iter": 5},
    "sklearn.svm.LinearSVC": {},
    "sklearn.svm.NuSVC": {},
    "sklearn.svm.SVC": {},
    "sklearn.tree.DecisionTreeClassifier": {},
    "sklearn.tree.ExtraTreeClassifier": {},
}
_NUMBERS = [0, 1, -1, 2, 3, 7, 59, 60, 61, 255, 2**15, 2**31 - 1, -(2**31), 2**31, 2**32, 2**40, 2**62, -(2**62)]
_SCALARS = [
    *map(str, _NUMBERS),
    *("null", "true", "false", "NaN", "Infinity", "-1e308", "1e308", "1e-320", "0.5", '""', '"precomputed"', "[]"),
    *('"kd_tree"', '"brute"', '"rbf"', '"linear"', '"poly"', '"zero"', '"auto"', '"distance"', '"c_svc"', '"nu_svr"'),
    *("[" * 5000, '"' + "x" * 5000 + '"', "9" * 5000, "{}", '"\\u001b[31m"'),
]
_NAMES = [
    "classes_",
    "n_features_in_",
    "predict_proba",
    "__class__",
    "_sparse",
    "_impl",
    "n_jobs",
    "_n_threads",
    "_tree",
]


def fitted(name: str) -> tuple[EstimatorHead, torch.Tensor]:
    """Return a head with a fitted estimator, and vectors (row, feature) to predict."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    genre = np.arange(60) // 2 % 3
    vectors = (np.eye(3, 4)[genre] * 6 + random.standard_normal((60, 4))).astype(np.float32)
    blank = build_estimator(name, ESTIMATORS[name])
    head = EstimatorHead(3, 1e-6, blank, [] if getattr(blank, "takes_sets", False) else [StandardScaler()])
    head.estimator = head.fitted(vectors, genre, np.arange(60) // 2)
    return head, torch.from_numpy(vectors)


def entries_of(packed: bytes) -> dict[str, bytes]:
    """Return the entries of bytes in skops's format."""
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed_of(entries: dict[str, bytes]) -> bytes:
    """Return entries as bytes, with right checksums."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return out.getvalue()


def changed(entries: dict[str, bytes], packed: bytes, random: np.random.Generator) -> bytes:
    """Return the bytes after one to three changes."""
    entries = dict(entries)
    arrays = [name for name in entries if name.endswith(".npy")]
    for _ in range(int(random.integers(1, 4))):
        kind = random.random()
        if kind < 0.4 and arrays:
            name = str(random.choice(arrays))
            entries[name] = _changed_array(entries[name], random)
        elif kind < 0.85:
            entries["schema.json"] = _changed_schema(entries["schema.json"], random)
        elif kind < 0.95:
            name = str(random.choice(list(entries)))
            content = bytearray(entries[name])
            content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
            entries[name] = bytes(content)
        else:
            content = bytearray(packed)
            for _ in range(int(random.integers(1, 4))):
                content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
            return bytes(content[: int(random.integers(len(content)))] if random.random() < 0.2 else content)
    return packed_of(entries)


def _changed_array(content: bytes, random: np.random.Generator) -> bytes:
    try:
        array = np.load(io.BytesIO(content)).copy()
    except Exception:  # an earlier change
        return content
    kind = random.random()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind < 0.6 and array.size:
            values = array[str(random.choice(array.dtype.names))] if array.dtype.names else array
            flat = values.reshape(-1) if values.flags.c_contiguous else values
            for _ in range(int(random.integers(1, 4))):
                where = int(random.integers(len(flat))) if flat.ndim else ()
                if flat.dtype.kind == "f" and random.random() < 0.5:
                    flat[where] = random.choice([np.nan, np.inf, -np.inf, 1e30, 3.4e38, -1e300, 0.0, 1e-320])
                else:
                    number = int(random.choice(_NUMBERS))
                    flat[where] = np.array(number % 2**64, np.uint64).astype(flat.dtype)
        elif kind < 0.85 and array.ndim == 0:
            array = array[None]
        elif kind < 0.85:
            shapes = [array[:-1], array[:1], array[:0], array[None], array.T, np.repeat(array, 2, 0), array.reshape(-1)]
            array = shapes[int(random.integers(len(shapes)))]
        elif array.dtype.names is None:
            array = array.astype(random.choice(["f4", "f8", "i4", "i8", "u4", "u1", ">f8", "U3", "c16", "?"]))
    out = io.BytesIO()
    np.save(out, array)
    result = out.getvalue()
    if kind > 0.97:
        result = result.replace(b"(", b"(99999999, ", 1)
    return result


def _nodes(value: Any, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if "__loader__" in value:
            found.append(value)
        for child in value.values():
            _nodes(child, found)
    elif isinstance(value, list):
        for child in value:
            _nodes(child, found)
    return found


def _changed_schema(content: bytes, random: np.random.Generator) -> bytes:
    try:
        schema = json.loads(content)
    except ValueError:  # an earlier change
        return content
    nodes = _nodes(schema, [])
    node, other = (nodes[int(random.integers(len(nodes)))] for _ in range(2))
    plain = [each for each in nodes if each.get("__loader__") == "JsonNode"]
    boosters = [each for each in plain if str(each.get("content", "")).startswith('"tree\\n')]
    tables = [each for each in nodes if each.get("__loader__") == "DictNode" and each.get("content")]
    kind = random.random()
    if boosters and kind < 0.6:
        boosters[0]["content"] = json.dumps(_changed_text(json.loads(boosters[0]["content"]), random))
    elif kind < 0.45 and plain:
        plain[int(random.integers(len(plain)))]["content"] = str(random.choice(_SCALARS))
    elif kind < 0.6 and tables:
        table = tables[int(random.integers(len(tables)))]
        key = str(random.choice(list(table["content"])))
        value = table["content"].pop(key)
        if random.random() < 0.5:
            table["content"][str(random.choice(_NAMES))] = value
    elif kind < 0.75:
        copy = json.loads(json.dumps(other))
        node.clear()
        node.update(copy)
    elif kind < 0.85:
        node["__class__"], node["__module__"] = other.get("__class__"), other.get("__module__")
    elif kind < 0.9:
        node["__id__"] = other.get("__id__")
    elif kind < 0.95:
        node["__loader__"] = other.get("__loader__")
    elif node:
        key = str(random.choice(list(node)))
        node[key] = [None, 5, "x", [], {}, other][int(random.integers(6))]
        if random.random() < 0.3:
            del node[key]
    try:
        return json.dumps(schema, indent=2).encode()
    except ValueError:  # a node in itself
        return content


def _changed_text(text: str, random: np.random.Generator) -> str:
    lines = text.split("\n")
    at = int(random.integers(len(lines))) if random.random() < 0.3 else int(random.integers(min(60, len(lines))))
    kind = random.random()
    if kind < 0.6 and "=" in lines[at]:
        name, _, rest = lines[at].partition("=")
        words = rest.split(" ")
        words[int(random.integers(len(words)))] = str(random.choice([*map(str, _NUMBERS), "nan", "inf", "1e400", "x"]))
        lines[at] = f"{name}={' '.join(words)}"
    elif kind < 0.7:
        del lines[at]
    elif kind < 0.8:
        lines.insert(at, lines[int(random.integers(len(lines)))])
    elif kind < 0.9 and "=" in lines[at]:
        lines[at] = lines[at].rpartition(" ")[0] or lines[at].partition("=")[0] + "="
    elif lines[at]:
        where = int(random.integers(len(lines[at])))
        lines[at] = lines[at][:where] + chr(int(random.integers(32, 127))) + lines[at][where + 1 :]
    return "\n".join(lines)


def work(name: str, first: int, last: int) -> None:
    """Try changes `first` to `last` of an estimator, and print one line for each."""
    warnings.simplefilter("ignore")
    head, vectors = fitted(name)
    packed = head.get_extra_state().numpy().tobytes()
    entries = entries_of(packed)
    far = torch.cat([vectors, vectors * 1e30, vectors * 0])
    for number in range(first, last):
        state = changed(entries, packed, np.random.default_rng(number))
        print("try", number, flush=True)
        result = "refused"
        try:
            head.set_extra_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
            result = "refused in use"
            head(vectors)
            result = "used"
            head(far)
        except UserError:
            pass
        except Exception:
            result = "traceback"
            traceback.print_exc()
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > _MOST_MEMORY:
            print("done memory", flush=True)
            return
        print("done", result, flush=True)


def torture(name: str, tries: int, first: int = 0) -> Counter[str]:
    """Return how many changes of an estimator had each result."""
    results: Counter[str] = Counter()
    end = first + tries
    while first < end:
        command = [sys.executable, __file__, "--worker", name, str(first), str(end)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert worker.stdout is not None
        os.set_blocking(worker.stdout.fileno(), True)
        number, buffer, last = first - 1, "", time.monotonic()
        while True:
            ready, _, _ = select.select([worker.stdout], [], [], 1)
            if ready:
                piece = os.read(worker.stdout.fileno(), 65536).decode()
                if not piece:
                    break
                *lines, buffer = (buffer + piece).split("\n")
                for line in lines:
                    if line.startswith("try "):
                        number = int(line[4:])
                    elif line.startswith("done "):  # LightGBM prints, too
                        result = line[5:]
                        results[result] += 1
                        if result in ("traceback", "memory"):
                            print(f"{name} {number}: {result}")
                last = time.monotonic()
            elif time.monotonic() - last > _HANG and number >= first:
                worker.kill()
                results["hang"] += 1
                print(f"{name} {number}: hang")
                break
        errors = worker.stderr.read() if worker.stderr is not None else ""
        code = worker.wait()
        if code not in (0, -9):
            results["signal" if code < 0 else "exit"] += 1
            print(f"{name} {number}: exit code {code}")
        if "Traceback" in errors:
            print(errors[-3000:])
        first = max(number, first) + 1
    return results


def main() -> None:
    """Run the torture that the command line describes."""
    parser = argparse.ArgumentParser(description="change bytes of fitted estimators at random")
    parser.add_argument("--tries", type=int, default=1000, help="changes of each estimator")
    parser.add_argument("--first", type=int, default=0, help="number of the first change, its seed")
    parser.add_argument("--only", default="", help="part of the names of estimators")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    for name in ESTIMATORS:
        if options.only in name:
            results = torture(name, options.tries, options.first)
            total += results
            print(f"{name}: {dict(results)}", flush=True)
    print(f"all: {dict(total)}")
    sys.exit(any(total[bad] for bad in ("signal", "exit", "hang", "memory", "traceback")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
