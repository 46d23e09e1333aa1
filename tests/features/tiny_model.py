"""Models of transformers with random weights, as small as tests need them, each in a folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
_CONVOLUTIONS = {
    "conv_dim": (8, 8),
    "conv_kernel": (400, 8),
    "conv_stride": (5, 64),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}


def _speech(name: str) -> Callable[[Any], tuple[Any, Any]]:
    def make(tf: Any) -> tuple[Any, Any]:
        config = getattr(tf, f"{name}Config")(**_SMALL, **_CONVOLUTIONS, vocab_size=4)
        return getattr(tf, f"{name}Model")(config), tf.Wav2Vec2FeatureExtractor(sampling_rate=16_000)

    return make


def _ast(tf: Any) -> tuple[Any, Any]:
    config = tf.ASTConfig(**_SMALL, max_length=128, num_mel_bins=16, patch_size=8, frequency_stride=8, time_stride=8)
    return tf.ASTModel(config), tf.ASTFeatureExtractor(max_length=128, num_mel_bins=16)


def _clap(is_fused: bool) -> Callable[[Any], tuple[Any, Any]]:
    def make(tf: Any) -> tuple[Any, Any]:
        audio = {"num_mel_bins": 16, "spec_size": 64, "patch_size": 4, "patch_stride": [4, 4], "window_size": 2}
        audio |= {"patch_embeds_hidden_size": 8, "hidden_size": 16, "depths": [1, 1], "num_attention_heads": [1, 2]}
        audio |= {"projection_dim": 8, "enable_fusion": is_fused, "num_classes": 4, "num_hidden_layers": 2}
        text = {**_SMALL, "vocab_size": 16, "max_position_embeddings": 16, "projection_dim": 8}
        model = tf.ClapModel(tf.ClapConfig(text_config=text, audio_config=audio, projection_dim=8))
        return model, tf.ClapFeatureExtractor(feature_size=16, sampling_rate=48_000, max_length_s=2)

    return make


def _whisper(tf: Any) -> tuple[Any, Any]:
    sizes = {f"{part}_{name}": 16 for part in ("encoder", "decoder") for name in ("ffn_dim",)}
    sizes |= {f"{part}_{name}": 2 for part in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "vocab_size": 20}
    config = tf.WhisperConfig(d_model=16, num_mel_bins=16, max_source_positions=100, **sizes, **tokens)
    return tf.WhisperModel(config), tf.WhisperFeatureExtractor(feature_size=16, chunk_length=2)


def _bert(tf: Any) -> tuple[Any, Any]:
    return tf.BertModel(tf.BertConfig(**_SMALL, vocab_size=16)), None


MODELS: Mapping[str, Callable[[Any], tuple[Any, Any]]] = {
    "wav2vec2": _speech("Wav2Vec2"),
    "hubert": _speech("Hubert"),
    "ast": _ast,
    "clap": _clap(is_fused=False),
    "clap-fused": _clap(is_fused=True),
    "whisper": _whisper,
    "bert": _bert,
}


def write_model(name: str, folder: Path, seed: int = 0) -> Path:
    """Write a model and its feature extractor into a folder, as their users do, and return the folder."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, extractor = MODELS[name](transformers)
    model.save_pretrained(folder)
    if extractor is not None:
        extractor.save_pretrained(folder)
    return folder
