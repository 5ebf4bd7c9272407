"""Training draws what its recipe says, aims at what sounds, learns, and goes on after a kill as if nothing had been."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from wat_cli.errors import UsageError
from wat_cli.model.deciding import Decider
from wat_cli.model.heads import KINDS, build_head
from wat_cli.training.datasets import Clip, Dataset, Event
from wat_cli.training.examples import Examples, Truth, clip_decisions
from wat_cli.training.loop import Epoch, batch_loss, predict, rate_at, train
from wat_cli.training.recipes import MIXED, RECIPES, Own, Recipe, find_recipe

LAYERS, WIDTH = 2, 16


class Steps:
    """Features of clips of different lengths."""

    layers, width = LAYERS, WIDTH

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays

    def steps(self, clip: int) -> int:
        return len(self.arrays[clip])

    def read(self, clip: int, start: int, stop: int) -> np.ndarray:
        return self.arrays[clip][start:stop]


def dataset(labels: list[str | None], classes: tuple[str, ...] = ("a", "b", "c")) -> Dataset:
    clips = []
    for number, label in enumerate(labels):
        events = () if label is None else (Event(0.0, math.inf, label),)
        clips.append(Clip(Path(f"{number}.wav"), events, fold=number % 4 + 1))
    return Dataset(tuple(clips), classes)


def separable(clips: int, seed: int = 0, longest: int = 30) -> tuple[Steps, Dataset]:
    """Clips whose class is a direction in the last layer."""
    random = np.random.default_rng(seed)
    labels = [["a", "b", "c"][i % 3] for i in range(clips)]
    arrays = []
    for label in labels:
        steps = random.standard_normal((int(random.integers(4, longest)), LAYERS, WIDTH))
        steps[:, -1, "abc".index(label)] += 2.0
        arrays.append(steps.astype(np.float16))
    return Steps(arrays), dataset(labels)


SMALL = Recipe(
    "small", 6, 3e-3, batch=8, lengths=(3, 5, 12), mixup=0.4, smoothing=0.1, time_mask=2, dropout=0.2, average_from=4
)


# --- targets --------------------------------------------------------------------------------------------------------


def test_targets_are_the_share_heard_of_what_could_be() -> None:
    events = (Event(2.0, 12.0, "a"), Event(3.0, 3.4, "b"), Event(0.0, 2.4, "a"))
    truth = Truth(Dataset((Clip(Path("x"), events),), ("a", "b", "c")))
    np.testing.assert_allclose(truth.target(0, 0, 5), [1, 0, 0])  # 0 to 2 s: the first sound throughout
    np.testing.assert_allclose(truth.target(0, 5, 10), [1, 1, 0])
    np.testing.assert_allclose(truth.target(0, 28, 33), [0.8 / 2, 0, 0], rtol=1e-5)  # 11.2 to 13.2 s: its last 0.8 s
    np.testing.assert_allclose(truth.target(0, 8, 11), [1, 0.2 / 0.4, 0], rtol=1e-4)  # 3.2 to 4.4 s
    np.testing.assert_allclose(truth.target(0, 5, 30), [1, 1, 0])  # ten seconds: two are enough
    np.testing.assert_allclose(truth.clip_targets(), [[1, 1, 0]])


def test_a_label_for_the_whole_clip_is_whole_in_any_decision() -> None:
    truth = Truth(dataset(["b", None]))
    for first, stop in ((0, 1), (3, 28), (70, 75)):
        assert truth.target(0, first, stop).tolist() == [0, 1, 0]
        assert truth.target(1, first, stop).tolist() == [0, 0, 0]


def test_balanced_weights_are_whisper_ats() -> None:
    clips = (Clip(Path("x"), (Event(0, 9, "a"), Event(0, 9, "b"))), Clip(Path("y"), (Event(0, 9, "a"),)))
    # gen_weight_file.py: the sum over a clip's labels of 1 / how many clips have it
    np.testing.assert_allclose(Truth(Dataset(clips, ("a", "b"))).weights(), [1 / 2 + 1, 1 / 2])


def test_the_share_of_time_in_which_a_class_sounds() -> None:
    clips = (
        Clip(Path("x"), (Event(-3.0, 2.0, "a"), Event(8.0, math.inf, "b"))),
        Clip(Path("y"), (Event(0.0, math.inf, "a"),)),
    )
    shares = Truth(Dataset(clips, ("a", "b", "c"))).shares([10.0, 30.0])
    np.testing.assert_allclose(shares, [32 / 40, 2 / 40, 0])


def test_classes_weigh_by_how_rare_they_are() -> None:
    truth = Truth(dataset(["a"] * 8 + ["b"] * 2, ("a", "b", "c")))
    np.testing.assert_allclose(truth.class_weights(1.0), [5 / 8, 5 / 2, 1])
    np.testing.assert_allclose(truth.class_weights(0.5), [(5 / 8) ** 0.5, (5 / 2) ** 0.5, 1], rtol=1e-6)
    rare = Truth(dataset(["a"] * 99 + ["b"], ("a", "b"))).class_weights(1.0)
    assert rare[1] == 5.0


# --- drawing --------------------------------------------------------------------------------------------------------


def test_the_same_seed_and_epoch_draw_the_same() -> None:
    examples = Examples(*separable(40), SMALL)
    assert list(examples.epoch(1, 2)) == list(examples.epoch(1, 2))
    assert list(examples.epoch(1, 2)) != list(examples.epoch(1, 3)) != list(examples.epoch(2, 3))


def test_draws_lie_inside_their_clips_and_hear_every_clip() -> None:
    features, data = separable(40)
    examples = Examples(features, data, SMALL)
    draws = [draw for batch in examples.epoch(0, 1) for draw in batch]
    assert sorted(draw.clip for draw in draws) == list(range(40))
    assert {draw.length for draw in draws} <= set(range(1, 13)) and any(draw.partner >= 0 for draw in draws)
    for draw in draws:
        assert 0 <= draw.first <= features.steps(draw.clip) - draw.length
        assert draw.mask[1] - draw.mask[0] < draw.length
        if draw.partner >= 0:
            assert 0 <= draw.partner_first <= features.steps(draw.partner) - draw.length


def test_an_epoch_is_a_share_of_the_data_and_no_less_than_the_recipes_least() -> None:
    features, data = separable(40)
    count = [sum(map(len, Examples(features, data, recipe).epoch(0, 1))) for recipe in (
        dataclasses.replace(SMALL, share=0.5), dataclasses.replace(SMALL, least=100),
        dataclasses.replace(SMALL, balanced=True), dataclasses.replace(SMALL, batch=64),
    )]  # fmt: skip
    assert count == [16, 96, 40, 40]


def test_captions_draws_by_the_second_and_fewer_of_the_long() -> None:
    features, data = separable(40)
    recipe = dataclasses.replace(RECIPES["captions"], least=0, batch=16)
    batches = list(Examples(features, data, recipe).epoch(0, 1))
    seconds = 0.4 * sum(features.steps(clip) for clip in range(40))
    assert len(batches) == int(seconds / 2 / 16)
    for length in (5, 10, 25):
        assert Examples(features, data, recipe)._size(length) == {5: 16, 10: 8, 25: 3}[length]
    assert {len(batch) for batch in batches} <= {16, 13, 10, 6, 4, 3}


def test_balanced_sampling_evens_the_classes() -> None:
    data = dataset(["a"] * 90 + ["b"] * 9 + ["c"])
    features = Steps([np.zeros((5, LAYERS, WIDTH), np.float16)] * 100)
    examples = Examples(features, data, Recipe("x", 1, 1e-3, least=3000, balanced=True, lengths=(5,)))
    drawn = [data.clips[draw.clip].labels[0] for batch in examples.epoch(0, 1) for draw in batch]
    for label in "abc":
        assert drawn.count(label) / len(drawn) == pytest.approx(1 / 3, abs=0.04)


def test_a_mixture_is_that_of_features_and_targets() -> None:
    features, data = separable(12, longest=5)
    examples = Examples(features, data, dataclasses.replace(SMALL, mixup=1.0, time_mask=0, smoothing=0.0))
    [draw, *_] = next(examples.epoch(0, 1))
    [group] = examples.groups([draw])
    one = features.read(draw.clip, draw.first, draw.first + draw.length).astype(float)
    other = features.read(draw.partner, draw.partner_first, draw.partner_first + draw.length).astype(float)
    mixed = (draw.share * one + (1 - draw.share) * other).transpose(1, 0, 2)
    np.testing.assert_allclose(group.features[0], mixed, atol=5e-3)
    assert group.targets.sum() == pytest.approx(1.0)
    assert group.features.shape == (1, LAYERS, draw.length, WIDTH)


@pytest.mark.parametrize("steps", [1, 5, 24, 25, 26, 50, 60, 75])
def test_a_clip_is_heard_whole(steps: int) -> None:
    spans = clip_decisions(steps, 25)
    assert {step for first, stop in spans for step in range(first, stop)} == set(range(steps))
    assert {stop - first for first, stop in spans} == {min(steps, 25)}
    assert len(spans) == -(-steps // 25)


# --- rates and losses -----------------------------------------------------------------------------------------------


def test_the_papers_numbers() -> None:
    numbers = {name: (r.batch, r.rate, round(r.epochs * r.share)) for name, r in RECIPES.items()}
    assert numbers["as20k"] == (48, 2e-4, 30)
    assert numbers["as2m"] == (48, 1e-4, 5)
    assert numbers["esc50"] == (48, 5e-4, 30) and RECIPES["esc50"].loss == "ce"
    assert RECIPES["captions"].lengths == MIXED
    with pytest.raises(UsageError, match="as20k, as2m, esc50, captions"):
        find_recipe("esc")
    assert find_recipe("esc50", Own(epochs=4)).average_from == 3


def test_a_persons_own_numbers_replace_the_recipes() -> None:
    own = Own(epochs=10, rate=1e-2, batch=7, mixup=0.0, dropout=0.1, weight_decay=0.0, class_weights=0.5, balanced=True)
    recipe = find_recipe("captions", own)
    for name, value in dataclasses.asdict(own).items():
        assert name == "average" or getattr(recipe, name) == value
    assert recipe.average_from == 0 and recipe.lengths == MIXED
    assert find_recipe("captions", Own(average=5)).average_from == 26
    assert find_recipe("as20k", Own(average=0)).average_from == 0
    assert find_recipe("as20k", Own()) == RECIPES["as20k"]


def test_the_rate_falls_as_multi_step_lr_does() -> None:
    recipe = find_recipe("as2m")
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], recipe.rate)
    # run.py: MultiStepLR(list(range(lrscheduler_start, 1000, lrscheduler_step)), gamma=lrscheduler_decay)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(range(15, 1000, 5)), gamma=0.75)
    for epoch in range(1, 51):
        assert rate_at(recipe, epoch, 3, 10) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_the_cosine_rises_and_falls() -> None:
    recipe = dataclasses.replace(RECIPES["captions"], warmup=20)
    rates = [rate_at(recipe, epoch, step, 20) for epoch in range(1, recipe.epochs + 1) for step in range(20)]
    assert rates[0] == pytest.approx(recipe.rate / 20) and max(rates) == pytest.approx(recipe.rate, rel=0.01)
    assert rates[19:] == sorted(rates[19:], reverse=True) and rates[-1] < 0.02 * recipe.rate


def test_losses_are_torchs() -> None:
    logits, targets = torch.randn(4, 3), torch.eye(3)[[0, 1, 2, 2]]
    plain = Recipe("x", 1, 1e-3)
    assert batch_loss(logits, targets, plain) == torch.nn.BCEWithLogitsLoss()(logits, targets)
    single = dataclasses.replace(plain, loss="ce")
    expected = torch.nn.CrossEntropyLoss()(logits, torch.tensor([0, 1, 2, 2]))
    torch.testing.assert_close(batch_loss(logits, targets, single), expected)
    weights = torch.tensor([2.0, 0.5, 1.0])
    weighted = torch.nn.BCEWithLogitsLoss(weight=weights)(logits, targets)
    torch.testing.assert_close(batch_loss(logits, targets, plain, weights), weighted)
    summed = dataclasses.replace(plain, summed=True)
    torch.testing.assert_close(batch_loss(logits, targets, summed, weights), 3 * weighted)


def test_a_head_begins_at_what_is_usual() -> None:
    features, data = separable(30)
    recipe = dataclasses.replace(RECIPES["captions"], epochs=1, rate=0.0, least=48)
    head = build_head("tl-tr", LAYERS, WIDTH, 3)
    train(head, features, data, recipe)
    shares = Truth(data).shares([0.4 * features.steps(clip) for clip in range(30)])
    np.testing.assert_allclose(head.mlp_layer[-1].bias.detach().sigmoid(), shares, rtol=1e-3)


def test_dropout_ends_with_the_training() -> None:
    features, data = separable(30)
    head = build_head("last-mlp", LAYERS, WIDTH, 3)
    plain, dropped = (
        train(head, features, data, dataclasses.replace(SMALL, epochs=1, dropout=dropout)) for dropout in (0.0, 0.5)
    )
    assert plain[0].loss != dropped[0].loss
    head.train()
    steps = torch.randn(1, LAYERS, 5, WIDTH)
    assert torch.equal(head(steps), head(steps))


# --- learning -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_head_learns_what_can_be_learned(kind: str) -> None:
    features, data = separable(90)
    recipe = Recipe("x", 12, 5e-3, loss="ce", batch=16, lengths=(3, 12), average_from=8)
    head = build_head(kind, LAYERS, WIDTH, 3)
    epochs = train(head, features, data, recipe)
    assert epochs[-1].loss < 0.6 * epochs[0].loss
    fresh, truth = separable(60, seed=1)
    scores = predict(head, fresh, 60, recipe)
    right = scores.argmax(axis=1) == Truth(truth).clip_targets().argmax(axis=1)
    assert right.mean() > 0.9
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_a_clip_of_several_decisions_is_their_mean() -> None:
    features, _ = separable(3, longest=60)
    recipe = Recipe("x", 1, 1e-3, lengths=(4,))
    head = build_head("tl-tr", LAYERS, WIDTH, 3).eval()
    scores = predict(head, features, 3, recipe, batch=2)
    for clip in range(3):
        spans = clip_decisions(features.steps(clip), 4)
        whole = torch.from_numpy(features.read(clip, 0, features.steps(clip))).transpose(0, 1)
        with torch.no_grad():
            expected = Decider(head).decide(whole, spans).sigmoid().mean(dim=0)
        np.testing.assert_allclose(scores[clip], expected, atol=1e-5)


class Killed(Exception):
    pass


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    features, data = separable(40)

    def run(folder: Path | None, kill_after: int | None = None) -> tuple[list[Epoch], dict[str, torch.Tensor]]:
        def tell(epoch: Epoch) -> None:
            if epoch.epoch == kill_after:
                raise Killed

        head = build_head("tl-tr", LAYERS, WIDTH, 3)
        torch.rand(3)  # the process's own random state decides nothing
        epochs = train(head, features, data, SMALL, seed=5, folder=folder, tell=tell)
        return epochs, head.state_dict()

    through, expected = run(None)
    for kill_after in (2, 5):  # before and within the epochs whose weights are averaged
        with pytest.raises(Killed):
            run(tmp_path, kill_after)
    resumed, weights = run(tmp_path)
    assert resumed == through
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name
    logged = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == [epoch.loss for epoch in through]


def test_another_trainings_state_is_not_gone_on_with(tmp_path: Path) -> None:
    features, data = separable(16)
    recipe = dataclasses.replace(SMALL, epochs=1)
    train(build_head("wa-mlp", LAYERS, WIDTH, 3), features, data, recipe, folder=tmp_path)
    for other in ({"seed": 1}, {"run": "another encoder"}):
        with pytest.raises(UsageError, match="another training"):
            train(build_head("wa-mlp", LAYERS, WIDTH, 3), features, data, recipe, folder=tmp_path, **other)
    with pytest.raises(UsageError, match="another training"):
        train(build_head("wa-tr", LAYERS, WIDTH, 3), features, data, recipe, folder=tmp_path)


def test_averaged_weights_are_the_mean_of_the_last_epochs() -> None:
    features, data = separable(24)
    kept: list[dict[str, torch.Tensor]] = []

    def measure(head: torch.nn.Module) -> dict[str, float]:
        kept.append({name: value.clone() for name, value in head.state_dict().items()})
        return {"x": 1.0}

    head = build_head("tl-tr", LAYERS, WIDTH, 3)
    epochs = train(head, features, data, SMALL, measure=measure)
    assert epochs[0].measured == {"x": 1.0}
    for name, value in head.state_dict().items():
        expected = torch.stack([state[name] for state in kept[3:]]).mean(dim=0)
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
