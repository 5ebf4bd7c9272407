"""A checkpoint in OpenAI's format as the pipeline of Hugging Face's transformers, its windows decoded in batches.

In the environment of the peers. Nothing is fetched: the weights are renamed as transformers' own conversion renames
them (``convert_openai_to_hf.py``), the tokenizer is the one that `benchmarks.ct2` made.
"""

from __future__ import annotations

import re
import wave
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from whisper.tokenizer import get_tokenizer

_RENAMED = (
    ("blocks", "layers"),
    (r"mlp\.0", "fc1"),
    (r"mlp\.2", "fc2"),
    ("mlp_ln", "final_layer_norm"),
    (r"\.cross_attn_ln", ".encoder_attn_layer_norm"),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.attn_ln", ".self_attn_layer_norm"),
    (r"\.attn\.", ".self_attn."),
    (r"\.query\.", ".q_proj."),
    (r"\.key\.", ".k_proj."),
    (r"\.value\.", ".v_proj."),
    (r"attn\.out\.", "attn.out_proj."),
    (r"ln_post", "layer_norm"),
    (r"decoder\.ln\.", "decoder.layer_norm."),
    ("token_embedding", "embed_tokens"),
    ("positional_embedding", "embed_positions.weight"),
)

WINDOW_SECONDS = 30
Decode = Callable[[Sequence[str]], list[tuple[str, list[list[int]]]]]
"""Of WAV files: each one's text, and the tokens of each of its windows, special tokens left out."""


def load(checkpoint: Path, device: str, batch: int, language: str, timestamps: bool, beam: int | None) -> Decode:
    """The pipeline on `device`, in float16 on a GPU; windows of 30 s, whichever file's, `batch` at a time."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    model = _model(content).to(device=device, dtype=dtype).eval()
    told: list[Any] = []
    generate = model.generate

    def listening(*given: Any, **options: Any) -> Any:
        told.append(generate(*given, **options))
        return told[-1]

    model.generate = listening
    tokenizer = transformers.WhisperTokenizerFast(tokenizer_file=str(checkpoint.with_suffix("") / "tokenizer.json"))
    tokenizer.pad_token_id = model.config.eos_token_id
    mels = transformers.WhisperFeatureExtractor(feature_size=content["dims"]["n_mels"])
    pipeline = transformers.pipeline(
        "automatic-speech-recognition",
        model=model,
        tokenizer=tokenizer,
        feature_extractor=mels,
        device=device,
        chunk_length_s=WINDOW_SECONDS,
        stride_length_s=0,
        batch_size=batch,
        return_timestamps=timestamps,
        generate_kwargs={"language": language, "task": "transcribe", "num_beams": beam or 1, "do_sample": False},
    )

    def decode(paths: Sequence[str]) -> list[tuple[str, list[list[int]]]]:
        told.clear()
        texts = [heard["text"] for heard in pipeline(list(paths))]
        windows = iter([_sampled(row) for given in told for row in _rows(given)])
        return [(text, list(islice(windows, _windows(path)))) for text, path in zip(texts, paths, strict=True)]

    return decode


def _windows(path: str) -> int:
    with wave.open(path) as file:
        return -(-file.getnframes() // (file.getframerate() * WINDOW_SECONDS))


def _rows(given: Any) -> Sequence[Sequence[int]]:
    rows = given["sequences"] if isinstance(given, dict) else given
    return [[int(token) for token in row] for row in rows]


def _sampled(row: Sequence[int]) -> list[int]:
    """Without the prompt and what follows the text."""
    return [token for token in row if token < 50257 or token >= 50364]


def _model(content: dict[str, Any]) -> Any:
    dims = content["dims"]
    multilingual = dims["n_vocab"] >= 51865
    tokenizer = get_tokenizer(multilingual, num_languages=dims["n_vocab"] - 51765 - int(multilingual))
    width = dims["n_text_state"]
    config = transformers.WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        d_model=width,
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        decoder_layers=dims["n_text_layer"],
        decoder_attention_heads=dims["n_text_head"],
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
        decoder_start_token_id=tokenizer.sot,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), tokenizer.eot),
    )
    model = transformers.WhisperForConditionalGeneration(config)
    state = {f"model.{_renamed(name)}": value.float() for name, value in content["model_state_dict"].items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state, strict=True)
    codes = zip(tokenizer.all_language_codes, tokenizer.all_language_tokens, strict=True)
    settings = {
        "is_multilingual": multilingual,
        "lang_to_id": {f"<|{code}|>": token for code, token in codes},
        "task_to_id": {"transcribe": tokenizer.transcribe, "translate": tokenizer.translate},
        "no_timestamps_token_id": tokenizer.no_timestamps,
        "max_initial_timestamp_index": 50,
        "begin_suppress_tokens": [*tokenizer.encode(" "), tokenizer.eot],
        "suppress_tokens": sorted({*tokenizer.non_speech_tokens, tokenizer.sot, tokenizer.sot_lm, tokenizer.sot_prev}),
        "return_timestamps": False,
        "max_length": dims["n_text_ctx"],
    }
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    return model


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name
