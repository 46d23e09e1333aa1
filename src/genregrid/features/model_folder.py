"""Folders of transformers' models: what they may hold, and the hash by which a model is recognised."""

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from genregrid.errors import UserError
from genregrid.features.weights import FOLDER_VARIABLE, weights_folder
from genregrid.files import check_regular, read_json, sha256_of

_CONFIG = "config.json"
# of the feature extractor; transformers writes the second for models with several inputs
_EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"[\w.-]+\.safetensors")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_HOW_TO_SAVE = "save model and feature extractor by save_pretrained(FOLDER) of transformers"


class ModelFolder(NamedTuple):
    """A folder whose files were checked.

    Attributes:
        kind: the type of the model: ``wav2vec2``.
        digest: the first eight hexadecimal digits of a SHA-256 of weights and configuration.
    """

    kind: str
    digest: str


def read_model_folder(folder: Path) -> ModelFolder:
    """Check the files of a model, and hash those that decide its values.

    Raises:
        UserError: it is no folder of such a model, has code or pickles, or a file cannot be read.
    """
    if not folder.is_dir():
        raise UserError("it is no folder of a model", key=folder, hint=_HOW_TO_SAVE)
    documents = {_CONFIG: read_json(folder / _CONFIG, hint=_HOW_TO_SAVE)}
    documents |= {name: read_json(folder / name) for name in _EXTRACTORS if (folder / name).exists()}
    code = sorted(path.name for path in folder.glob("*.py"))
    if code or any(_has_key(document, "auto_map") for document in documents.values()):
        problem = f"the model needs code of its own ({code[0] if code else 'auto_map'}), which genregrid does not run"
        raise UserError(problem, key=folder, hint="choose a model whose code is in transformers")
    if (folder / "adapter_config.json").exists():
        raise UserError("it is an adapter, not a whole model", key=folder, hint="merge both, and save the model")
    kind = documents[_CONFIG].get("model_type")
    if not isinstance(kind, str) or not re.fullmatch(r"[\w-]{1,60}", kind, re.ASCII):
        raise UserError("it names no model_type", key=folder / _CONFIG, hint=_HOW_TO_SAVE)
    if len(documents) == 1:
        problem = f"it has no {_EXTRACTORS[0]}, so it is no model of audio"
        raise UserError(problem, key=folder, hint=_HOW_TO_SAVE)
    hashed = hashlib.sha256()
    for name in sorted([*documents, *_weight_files(folder)]):
        check_regular(folder / name, key=folder / name)
        try:
            hashed.update(f"{sha256_of(folder / name)}  {name}\n".encode())
        except OSError as error:
            raise UserError(f"it cannot be read ({error.strerror})", key=folder / name) from None
    return ModelFolder(kind, hashed.hexdigest()[:8])


def find_model_folder(wanted: ModelFolder) -> Path:
    """Return the folder of a model: the folder of weights, or one in it.

    Raises:
        UserError: there is none.
    """
    root = weights_folder()
    for folder in (root, *sorted(path.parent for path in root.glob(f"*/{_CONFIG}"))):
        try:
            if read_json(folder / _CONFIG).get("model_type") == wanted.kind and read_model_folder(folder) == wanted:
                return folder
        except UserError:  # another file or model
            continue
    problem = f"neither it nor a folder in it has the model of the recipe ({wanted.kind}, hash {wanted.digest})"
    hint = f"set {FOLDER_VARIABLE} to the model's folder, or to the folder that holds it"
    raise UserError(problem, key=root, hint=hint)


def _weight_files(folder: Path) -> list[str]:
    """Return the names of the files of weights, as transformers chooses them."""
    if (folder / _WEIGHTS).exists():
        return [_WEIGHTS]
    if (folder / _INDEX).exists():
        index = read_json(folder / _INDEX).get("weight_map")
        names = list(index.values()) if isinstance(index, dict) else []
        if not names or not all(isinstance(name, str) and _SHARD.fullmatch(name) for name in names):
            raise UserError("it is no index of safetensors", key=folder / _INDEX, hint=_HOW_TO_SAVE)
        return [_INDEX, *set(names)]
    if pickle := next((name for name in _PICKLES if (folder / name).exists()), None):
        problem = f"its weights are a pickle ({pickle}), and pickles can run code when they are read"
        hint = "get the model's safetensors, or write them by save_pretrained on a machine that may run the pickle"
        raise UserError(problem, key=folder, hint=hint)
    raise UserError(f"it has no weights ({_WEIGHTS})", key=folder, hint=_HOW_TO_SAVE)


def _has_key(content: Any, key: str) -> bool:
    """Return whether a mapping in nested dicts and lists has a key; `read_json` limits their levels."""
    if isinstance(content, dict):
        return key in content or any(_has_key(value, key) for value in content.values())
    return isinstance(content, list) and any(_has_key(value, key) for value in content)
