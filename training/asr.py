"""Train the embedded model's speech half: ``python -m training.asr STAGE --speech DIR --out FILE [--init FILE]``.

openai-whisper's own modules, in four stages (`STAGES`): the encoder learns letters by CTC on short clips; the decoder
joins; then full 30 s windows with sounds, silence and prompts; at last harder noise, codecs and, beside the text, a
loss on what sounds: 50 hours of clean voices do not teach an encoder what Whisper's 680,000 hours do. Short clips sit
at random positions of the 30 s, so that every position of the encoder and every timestamp is learned at a short clip's
price. Token-embedding rows that no training text uses are one learned row, whose weight in the softmax is their number.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from whisper.model import ModelDimensions, Whisper

from training.sounds import SoundBank
from training.windows import (
    CLASSES,
    CTC_CLASSES,
    IGNORE,
    N_VOCAB,
    TOKENIZER,
    Background,
    Batch,
    Mixture,
    SpeechPool,
    Windows,
    coloured_noise,
    text_tokens,
)
from wat_cli.model.whisper_at import POOLING

DIMENSIONS = ModelDimensions(
    n_mels=80, n_audio_ctx=1500, n_audio_state=256, n_audio_head=4, n_audio_layer=4,
    n_vocab=N_VOCAB, n_text_ctx=448, n_text_state=256, n_text_head=4, n_text_layer=3,
)  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """One part of the training."""

    mixture: Mixture
    steps: int
    learning_rate: float
    final_rate: float
    """Share of `learning_rate` that is left at the end (cosine in between)."""
    ctc_weight: float
    sound_weight: float = 0.0
    """Of the sound loss: which AudioSet classes sound in each 0.4 s, read off all layers by one matrix."""
    warmup: int = 60


STAGES = {
    "ctc": Stage(
        Mixture((2.5, 3.5, 5.0), 130, noise=0.1, snr=(20, 40), long_gaps=0.0, decoder=False),
        1500, 2e-3, 0.9, 1.0,
    ),
    "short": Stage(
        Mixture((3.0, 4.0, 6.0), 130, noise=0.2, snr=(12, 30), silence=0.03, long_gaps=0.05),
        3200, 1.3e-3, 0.6, 1.0,
    ),
    "full": Stage(
        Mixture((30.0, 8.0, 30.0, 5.0), 150, noise=0.4, snr=(5, 30), silence=0.08, partial=0.35, prompt=0.35),
        2600, 1e-3, 0.01, 0.5,
    ),
    "polish": Stage(
        Mixture(
            (30.0, 8.0, 30.0, 5.0), 150, noise=0.5, snr=(3, 25), silence=0.08, partial=0.35, prompt=0.35, lone=0.1,
            events=0.45, codec=0.15,
        ),
        1900, 6e-4, 0.01, 0.5, sound_weight=0.2,
    ),
}  # fmt: skip


class SmallWhisper(nn.Module):
    """A `whisper.model.Whisper` in training: its embedding cut to the tokens in use, a CTC layer on its encoder."""

    def __init__(self, vocabulary: list[int]) -> None:
        super().__init__()
        self.whisper = Whisper(DIMENSIONS)
        width = DIMENSIONS.n_text_state
        nn.init.normal_(self.whisper.decoder.positional_embedding, std=0.01)
        self.register_buffer("vocabulary", torch.tensor(vocabulary))
        row = torch.full((N_VOCAB,), len(vocabulary))  # every other token: the shared last row
        row[self.vocabulary] = torch.arange(len(vocabulary))
        self.register_buffer("row", row)
        self.embedding = nn.Parameter(torch.randn(len(vocabulary) + 1, width) * 0.02)
        self.ctc = nn.Linear(width, len(CTC_CLASSES) + 1)
        self.sounds = nn.Linear(width * DIMENSIONS.n_audio_layer, CLASSES)
        nn.init.normal_(self.sounds.weight, std=0.01)
        nn.init.constant_(self.sounds.bias, -5.0)

    def trained(self) -> list[nn.Parameter]:
        """Parameters to optimise: all but the full embedding, which `full_state` writes."""
        full = self.whisper.decoder.token_embedding.weight
        return [p for p in self.parameters() if p is not full and p.requires_grad]

    def matrices(self) -> list[nn.Parameter]:
        """The weight matrices inside the Transformer blocks: what Muon is made for."""
        blocks = [*self.whisper.encoder.blocks, *self.whisper.decoder.blocks]
        return [p for block in blocks for p in block.parameters() if p.ndim == 2]

    def encode(self, mel: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Audio features of windows that start at encoder position `offsets` of the 30 s, and all layers' side by side.

        The second is what a Whisper-AT head reads, in 0.4 s steps: [rows, steps, layers x width].
        """
        encoder = self.whisper.encoder
        x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).permute(0, 2, 1)
        places = offsets[:, None] + torch.arange(x.shape[1])
        x = x + encoder.positional_embedding[places]
        layers = []
        for block in encoder.blocks:
            x = block(x)
            layers.append(F.avg_pool1d(x.transpose(1, 2), POOLING).transpose(1, 2))
        return encoder.ln_post(x), torch.cat(layers, dim=-1)

    def sound_loss(self, layers: Tensor, batch: Batch) -> Tensor:
        """Binary cross-entropy, summed over the classes, of the rows whose sounds are known."""
        if not len(batch.labelled):
            return torch.zeros(())
        logits = self.sounds(layers[batch.labelled]).float()
        return F.binary_cross_entropy_with_logits(logits, batch.sounds, reduction="none").sum(-1).mean()

    def token_loss(self, features: Tensor, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy over all labels, and over text alone."""
        decoder = self.whisper.decoder
        x = F.embedding(self.row[tokens], self.embedding) + decoder.positional_embedding[: tokens.shape[1]]
        for block in decoder.blocks:
            x = block(x, features, mask=decoder.mask)
        wanted = labels != IGNORE
        logits = (decoder.ln(x)[wanted] @ self.embedding.T).float()
        shared = math.log(N_VOCAB - len(self.vocabulary))
        logits = torch.cat([logits[:, :-1], logits[:, -1:] + shared], dim=-1)
        loss = F.cross_entropy(logits, self.row[labels[wanted]], reduction="none")
        return loss.mean(), loss[labels[wanted] < TOKENIZER.eot].mean()

    def ctc_loss(self, features: Tensor, letters: list[Tensor]) -> Tensor:
        """CTC over letters, per letter, of the rows that have any."""
        rows = [i for i, row in enumerate(letters) if len(row)]
        if not rows:
            return torch.zeros(())
        log_probs = self.ctc(features[rows]).float().log_softmax(-1).transpose(0, 1)
        lengths = torch.tensor([len(letters[i]) for i in rows])
        frames = torch.full((len(rows),), log_probs.shape[0])
        return F.ctc_loss(log_probs, torch.cat([letters[i] for i in rows]), frames, lengths, zero_infinity=True)

    def full_state(self) -> dict[str, Tensor]:
        """The state dict that `whisper.load_model` reads, with all 51,864 embedding rows."""
        state = {name: value.detach().clone() for name, value in self.whisper.state_dict().items()}
        state["decoder.token_embedding.weight"] = self.embedding.detach()[self.row].clone()
        return state


class Backgrounds:
    """Draws what lies under speech: mostly sounds of the bank, now and then plain noise."""

    def __init__(self, folder: Path) -> None:
        self.bank = SoundBank(folder)

    def __call__(self, rng: random.Random, n: int) -> np.ndarray:
        return coloured_noise(rng, n) if rng.random() < 0.25 else self.bank.background(rng, n)


def vocabulary(pool: SpeechPool) -> list[int]:
    """Tokens that the training may write: those of its texts, and every special token."""
    used = {token for text in pool.texts() for token in text_tokens(text)}
    return sorted(used) + list(range(TOKENIZER.eot, N_VOCAB))


def save(model: SmallWhisper, path: Path) -> None:
    """An OpenAI-format checkpoint with what training needs to go on beside it; whole or not at all."""
    extra = {"embedding": model.embedding.detach(), "vocabulary": model.vocabulary, "ctc": model.ctc.state_dict()}
    extra["sounds"] = model.sounds.state_dict()
    partial = path.with_suffix(".part")
    torch.save({"dims": asdict(DIMENSIONS), "model_state_dict": model.full_state(), "training": extra}, partial)
    partial.replace(path)


def resume(path: Path) -> SmallWhisper:
    """The model that `save` wrote."""
    checkpoint = torch.load(path, weights_only=True)
    extra = checkpoint["training"]
    model = SmallWhisper(extra["vocabulary"].tolist())
    model.whisper.load_state_dict(checkpoint["model_state_dict"])
    model.embedding.data.copy_(extra["embedding"])
    model.ctc.load_state_dict(extra["ctc"])
    if "sounds" in extra:
        model.sounds.load_state_dict(extra["sounds"])
    return model


def letter_error(model: SmallWhisper, batch: Batch) -> float:
    """Letter error rate of the CTC layer's best path."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        best = model.ctc(model.encode(batch.mel, batch.offsets)[0]).argmax(-1)
    errors = total = 0
    for row, target in zip(best, batch.letters, strict=True):
        heard = [k for k, _ in itertools.groupby(row.tolist()) if k]
        errors += edit_distance(heard, target.tolist())
        total += len(target)
    return errors / max(1, total)


def edit_distance(heard: list, wanted: list) -> int:
    """Levenshtein distance."""
    previous = list(range(len(wanted) + 1))
    for i, a in enumerate(heard, 1):
        current = [i]
        for j, b in enumerate(wanted, 1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (a != b)))
        previous = current
    return previous[-1]


MUON_FACTOR = 2.0
"""Learning rate of the matrices against that of everything else; Muon's updates are scaled to AdamW's size."""


def make_optimizers(model: SmallWhisper, rate: float) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices inside the blocks, AdamW for embeddings, convolutions, norms and biases."""
    matrices = {id(p): p for p in model.matrices()}
    rest = [p for p in model.trained() if id(p) not in matrices]
    muon = torch.optim.Muon(
        matrices.values(), lr=rate * MUON_FACTOR, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    adamw = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    for group in (*muon.param_groups, *adamw.param_groups):
        group["initial_lr"] = group["lr"]
    return muon, adamw


def train(
    stage: Stage,
    model: SmallWhisper,
    pools: list[Path],
    dev: list[Path],
    out: Path,
    seed: int,
    background: Background,
    bank: SoundBank | None,
) -> None:
    """Run one stage and save the result (and every 250 steps on the way)."""
    windows = Windows(pools, stage.mixture, seed, background, bank)
    loader = iter(DataLoader(windows, batch_size=None, num_workers=1, prefetch_factor=6))
    quiet = replace(stage.mixture, noise=0.0, silence=0.0, partial=0.0, prompt=0.0, masking=0.0, events=0.0, codec=0.0)
    judged = next(iter(Windows(dev, quiet, 1, background)))
    optimizers = make_optimizers(model, stage.learning_rate)
    started, seen = time.monotonic(), []
    for step in range(1, stage.steps + 1):
        done = step / stage.steps
        rate = stage.final_rate + (1 - stage.final_rate) * 0.5 * (1 + math.cos(math.pi * done))
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = group["initial_lr"] * rate * min(1.0, step / stage.warmup)
        batch = next(loader)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features, layers = model.encode(batch.mel, batch.offsets)
            zero = torch.zeros(())
            tokens, text = (
                model.token_loss(features, batch.tokens, batch.labels) if stage.mixture.decoder else (zero, zero)
            )
            sounds = model.sound_loss(layers, batch) if stage.sound_weight else zero
        letters = model.ctc_loss(features.float(), batch.letters)
        model.zero_grad()
        (tokens + stage.ctc_weight * letters + stage.sound_weight * sounds).backward()
        nn.utils.clip_grad_norm_(model.trained(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seen.append((tokens.item(), text.item(), letters.item(), sounds.item() or np.nan))
        if step % 50 == 0:
            mean = np.nanmean(np.array(seen), axis=0)
            seen = []
            print(
                f"{step} {time.monotonic() - started:.0f}s tokens {mean[0]:.3f} text {mean[1]:.3f} ctc {mean[2]:.3f} "
                f"sounds {mean[3]:.2f}",
                flush=True,
            )
        if step % 250 == 0 or step == stage.steps:
            save(model, out)
            print(f"{step} letter error on new sentences {letter_error(model, judged):.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--speech", type=Path, required=True, help="folder of the pools that training.voices wrote")
    parser.add_argument("--sounds", type=Path, help="folder of the pool that training.sounds wrote (full stage)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    stage = STAGES[args.stage]
    stage = replace(stage, steps=args.steps or stage.steps, learning_rate=args.rate or stage.learning_rate)
    pools = [args.speech / "grammar", args.speech / "loose"]
    model = resume(args.init) if args.init else SmallWhisper(vocabulary(SpeechPool(pools)))
    dev = [args.speech / "dev-grammar", args.speech / "dev-loose"]
    background = Backgrounds(args.sounds) if args.sounds else coloured_noise
    # ESC-10 may lie under speech, but its labels are kept from the encoder: heads are judged on its folds
    bank = SoundBank(args.sounds, folds=()) if args.sounds else None
    train(stage, model, pools, dev, args.out, args.seed + 1000 * list(STAGES).index(args.stage), background, bank)


if __name__ == "__main__":
    main()
