import csv
import dataclasses
import json
from pathlib import Path

import pytest

from wat_cli.errors import UsageError
from wat_cli.options import TagOptions
from wat_cli.tagging.labels import load_labels
from wat_cli.tagging.policy import RIVALS, WORDLESS, load_policy, resolve

SHARED = Path(__file__).parents[2] / "shared" / "data"
POLICY = load_policy()


def test_labels_are_audiosets_in_order() -> None:
    labels = load_labels()
    assert [label.index for label in labels] == list(range(527))
    assert (labels[137].name, labels[137].mid) == ("Music", "/m/04rlf")
    assert labels[526].name == "Field recording"
    if not SHARED.exists():
        pytest.skip("../shared/data is not here")
    with (SHARED / "class_labels_indices.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(label.mid, label.name) for label in labels] == [(row["mid"], row["display_name"]) for row in rows]


def test_parents_are_the_ontologys() -> None:
    if not SHARED.exists():
        pytest.skip("../shared/data is not here")
    nodes = {node["id"]: node["child_ids"] for node in json.loads((SHARED / "ontology.json").read_text())}
    by_mid = {c.mid: c for c in POLICY.classes}

    def below(mid: str) -> set[str]:
        """Nearest labelled classes below a node, past those without a label."""
        return {m for child in nodes[mid] for m in ({child} if child in by_mid else below(child))}

    for parent in POLICY.classes:
        assert {c.mid for c in POLICY.classes if parent.index in c.parents} == below(parent.mid), parent.name


def test_the_first_tier_is_small() -> None:
    assert len({POLICY.classes[index].caption for index in POLICY.enabled}) == 32
    assert all(POLICY.classes[index].tier == 1 for index in POLICY.enabled)
    assert not {"Speech", "Silence", "Television", "White noise", "Inside, small room", "Animal"} & {
        POLICY.classes[index].name for index in POLICY.enabled
    }


def test_every_group_is_sound() -> None:
    for name in POLICY.groups:
        members = [POLICY.classes[index] for index in POLICY.members(name)]
        captions = {m.caption: m for m in members}
        assert all(m.tier and m.caption and m.caption_sdh and m.kind in ("sustained", "abrupt") for m in members), name
        # one caption is the general one, and every other leads up to it
        assert len([caption for caption, sound in captions.items() if not sound.general]) == 1, name
        for sound in members:
            assert sound.general == "" or sound.general in captions
            assert sound.general != sound.caption
        assert len({(m.caption, m.tier, m.general, m.caption_sdh) for m in members}) == len(
            {(m.caption, m.tier) for m in members}
        ), f"{name}: one caption, two stories"


def test_no_caption_belongs_to_two_groups_and_all_fit_a_line() -> None:
    groups: dict[str, set[str]] = {}
    for sound in POLICY.classes:
        if sound.caption:
            groups.setdefault(sound.caption, set()).add(sound.group)
            assert max(len(sound.caption), len(sound.caption_sdh)) <= 40
    assert {caption: names for caption, names in groups.items() if len(names) > 1} == {}


def test_the_rules_name_groups_that_exist() -> None:
    named = {name for rule in RIVALS.items() for name in (rule[0], *rule[1])} | set(WORDLESS)
    assert named <= set(POLICY.groups)
    assert all(group not in rivals for group, rivals in RIVALS.items())
    # two groups that beat each other would both be left out
    assert not [(a, b) for a, rivals in RIVALS.items() for b in rivals if a in RIVALS.get(b, ())]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("dog", {"Dog", "Bark", "Yip", "Howl", "Bow-wow", "Whimper (dog)"}),
        ("Dog barking", {"Dog", "Bark", "Yip", "Bow-wow"}),
        ("BARK", {"Bark"}),
        ("/m/05tny_", {"Bark"}),
        ("Whoosh, swoosh, swish", {"Whoosh, swoosh, swish"}),
        ("rain, glass_shattering", {"Rain", "Raindrop", "Rain on surface", "Shatter"}),
        ("cow,Chink, clink,Slam", {"Cattle, bovinae", "Moo", "Chink, clink", "Slam"}),
    ],
)
def test_a_sound_has_many_names(name: str, labels: set[str]) -> None:
    policy = resolve(TagOptions(sounds="none", include_sounds=name))
    assert {policy.classes[index].name for index in policy.enabled} == labels


def test_an_unknown_name_is_an_error_with_its_neighbours() -> None:
    with pytest.raises(UsageError, match=r"--include-sounds: no sound is called 'musik'; did you mean .*[Mm]usic"):
        resolve(TagOptions(include_sounds="rain,musik"))
    with pytest.raises(UsageError, match="--exclude-sounds: no sound is called '7&!'$"):
        resolve(TagOptions(exclude_sounds="7&!"))
    with pytest.raises(UsageError, match="Speech has no caption"):
        resolve(TagOptions(include_sounds="Speech"))
    assert resolve(TagOptions(exclude_sounds="Speech")).enabled == POLICY.enabled
    assert resolve(TagOptions(include_sounds=" , ")).enabled == POLICY.enabled


def test_levels_only_add() -> None:
    levels = [resolve(TagOptions(sounds=level)) for level in ("none", "default", "more", "all")]
    assert [len(policy.enabled) for policy in levels] == sorted(len(policy.enabled) for policy in levels)
    for less, more in zip(levels, levels[1:], strict=False):
        assert less.enabled < more.enabled
    assert not levels[0].enabled
    captioned = {c.index for c in POLICY.classes if c.tier}
    for policy in levels:
        assert policy.enabled | set(policy.hidden) == captioned


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("captions = 3", "captions holds"),
        ('[captions]\nmusic = ""', "is empty"),
        ('[captions]\nmusik = "Musik"', "did you mean"),
        ("[thresholds]\nmusic = 1.5", "between 0 and 1"),
        ("[thresholds]\nmusic = true", "thresholds holds"),
        ("[colour]\nx = 1", "colour"),
        ("include = ['nothing like it']", "no sound is called"),
        ("][", "sounds.toml"),
    ],
)
def test_a_table_that_is_wrong_is_a_usage_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "sounds.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as error:
        resolve(TagOptions(sounds_file=path))
    assert "sounds.toml" in str(error.value)


def test_a_table_that_was_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "sounds.toml"
    for exclude, shown in (("[]", True), ("['thunder']", False)):
        path.write_text(f"suppress = {exclude}", encoding="utf-8")
        thunder = resolve(TagOptions(sounds_file=path)).members("thunder")
        assert bool(resolve(TagOptions(sounds_file=path)).enabled & set(thunder)) is shown


def test_a_missing_table_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere.toml"):
        resolve(TagOptions(sounds_file=tmp_path / "nowhere.toml"))


def test_a_translated_table_keeps_the_hierarchy(tmp_path: Path) -> None:
    path = tmp_path / "de.toml"
    captions = {c.caption for c in POLICY.classes if c.caption}
    path.write_text("[captions]\n" + "".join(f'"{c}" = "{c.upper()}"\n' for c in sorted(captions)), encoding="utf-8")
    translated = resolve(TagOptions(sounds_file=path))
    for old, new in zip(POLICY.classes, translated.classes, strict=True):
        assert (new.caption, new.general) == (old.caption.upper(), old.general.upper())
        assert dataclasses.replace(new, caption=old.caption, caption_sdh=old.caption_sdh, general=old.general) == old
