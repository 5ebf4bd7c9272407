"""A checkpoint in OpenAI's format as a folder that faster-whisper loads: CTranslate2's own model file, and a tokenizer.

``python -m benchmarks.ct2 CHECKPOINT FOLDER``, in the environment of the peers. Nothing is fetched: the tokenizer is
made of the vocabulary that openai-whisper ships.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
from ctranslate2.converters.utils import fuse_linear
from ctranslate2.specs import common_spec, whisper_spec
from whisper.tokenizer import Tokenizer, get_tokenizer

State = Mapping[str, Any]
SENTENCE = " It's 12:30 in São Paulo, isn't it? ♪ [Überraschung]"
"""Both tokenizers have to cut it into the same tokens."""


def convert(checkpoint: Path, folder: Path) -> None:
    """Write the float32 model and its tokenizer into `folder`; CTranslate2 makes int8 of it where it is asked to."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    dims = content["dims"]
    state = {name: value.float().numpy() for name, value in content["model_state_dict"].items()}
    multilingual = dims["n_vocab"] >= 51865
    languages = dims["n_vocab"] - 51765 - int(multilingual)
    tokenizer = get_tokenizer(multilingual, num_languages=languages if multilingual else 99)
    spec = _spec(state, dims)
    vocabulary = _vocabulary(tokenizer, dims["n_vocab"])
    spec.register_vocabulary(vocabulary)
    layers, heads = dims["n_text_layer"], dims["n_text_head"]
    spec.config.suppress_ids = sorted({*tokenizer.non_speech_tokens, *_never(tokenizer)})
    spec.config.suppress_ids_begin = [*tokenizer.encode(" "), tokenizer.eot]
    spec.config.lang_ids = list(tokenizer.all_language_tokens) if multilingual else []
    spec.config.alignment_heads = [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]
    spec.validate()
    spec.optimize(quantization=None)
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    made = _byte_level(tokenizer, vocabulary)
    if made.encode(SENTENCE, add_special_tokens=False).ids != tokenizer.encode(SENTENCE):
        raise ValueError("the tokenizers disagree")
    made.save(str(folder / "tokenizer.json"))


def _spec(state: State, dims: Mapping[str, int]) -> Any:
    layers = (dims["n_audio_layer"], dims["n_audio_head"], dims["n_text_layer"], dims["n_text_head"])
    spec = whisper_spec.WhisperSpec(*layers)
    encoder, decoder = spec.encoder, spec.decoder
    for name in ("conv1", "conv2"):
        _linear(getattr(encoder, name), state, f"encoder.{name}")
    encoder.position_encodings.encodings = state["encoder.positional_embedding"]
    _norm(encoder.layer_norm, state, "encoder.ln_post")
    decoder.embeddings.weight = state["decoder.token_embedding.weight"]
    decoder.projection.weight = state["decoder.token_embedding.weight"]
    decoder.position_encodings.encodings = state["decoder.positional_embedding"]
    _norm(decoder.layer_norm, state, "decoder.ln")
    for part, blocks in (("encoder", encoder.layer), ("decoder", decoder.layer)):
        for index, layer in enumerate(blocks):
            block = f"{part}.blocks.{index}"
            _self_attention(layer.self_attention, state, block)
            if part == "decoder":
                _cross_attention(layer.attention, state, block)
            _linear(layer.ffn.linear_0, state, f"{block}.mlp.0")
            _linear(layer.ffn.linear_1, state, f"{block}.mlp.2")
            _norm(layer.ffn.layer_norm, state, f"{block}.mlp_ln")
    return spec


def _self_attention(spec: Any, state: State, block: str) -> None:
    fuse_linear(spec.linear[0], _projections(state, f"{block}.attn", ("query", "key", "value")))
    _linear(spec.linear[-1], state, f"{block}.attn.out")
    _norm(spec.layer_norm, state, f"{block}.attn_ln")


def _cross_attention(spec: Any, state: State, block: str) -> None:
    fuse_linear(spec.linear[0], _projections(state, f"{block}.cross_attn", ("query",)))
    fuse_linear(spec.linear[1], _projections(state, f"{block}.cross_attn", ("key", "value")))
    _linear(spec.linear[-1], state, f"{block}.cross_attn.out")
    _norm(spec.layer_norm, state, f"{block}.cross_attn_ln")


def _projections(state: State, attention: str, names: Sequence[str]) -> list[Any]:
    specs = [common_spec.LinearSpec() for _ in names]
    for spec, name in zip(specs, names, strict=True):
        _linear(spec, state, f"{attention}.{name}")
    return specs


def _linear(spec: Any, state: State, name: str) -> None:
    spec.weight = state[f"{name}.weight"]
    if f"{name}.bias" in state:
        spec.bias = state[f"{name}.bias"]


def _norm(spec: Any, state: State, name: str) -> None:
    spec.gamma, spec.beta = state[f"{name}.weight"], state[f"{name}.bias"]


def _never(tokenizer: Tokenizer) -> list[int]:
    """Tokens that openai-whisper never lets win."""
    names = ("transcribe", "translate", "sot", "sot_prev", "sot_lm", "no_speech")
    return [getattr(tokenizer, name) for name in names]


def _vocabulary(tokenizer: Tokenizer, size: int) -> list[str]:
    """Every token's text in byte-level BPE's alphabet, where each of the 256 bytes is one printable character."""
    alphabet = _byte_characters()
    special = {number: name for name, number in tokenizer.encoding._special_tokens.items()}
    texts = []
    for number in range(size):
        if number in special:
            texts.append(special[number])
        elif number < tokenizer.encoding.n_vocab - len(special):
            data = tokenizer.encoding.decode_single_token_bytes(number)
            texts.append("".join(alphabet[byte] for byte in data))
        else:
            texts.append(f"<|unused{number}|>")
    return texts


def _byte_characters() -> list[str]:
    """GPT-2's printable character for each byte: itself where it prints, otherwise the next one from U+0100 on."""
    printing = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printing else next(others)) for byte in range(256)]


def _byte_level(tokenizer: Tokenizer, vocabulary: Sequence[str]) -> tokenizers.Tokenizer:
    """The same byte-pair encoding in the library that faster-whisper reads text with."""
    ranks = tokenizer.encoding._mergeable_ranks
    alphabet = _byte_characters()

    def text(data: bytes) -> str:
        return "".join(alphabet[byte] for byte in data)

    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = _parts(token, ranks, rank)
            merges.append((text(left), text(right)))
    words = {text(token): rank for token, rank in ranks.items()}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=words, merges=merges))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens([tokenizers.AddedToken(name, special=True) for name in vocabulary[len(ranks) :]])
    return made


def _parts(token: bytes, ranks: Mapping[bytes, int], rank: int) -> tuple[bytes, bytes]:
    """The two tokens that the merge of `rank` joins: what is left when only earlier merges are done."""
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        found = [(ranks.get(parts[index] + parts[index + 1], rank), index) for index in range(len(parts) - 1)]
        best, index = min(found)
        if best >= rank:
            raise ValueError(f"no merge makes token {rank}")
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
