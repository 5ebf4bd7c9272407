"""From a model's name to files on disk: names, plans, hashes, ways out."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.publisher import Publisher, checkpoint_bytes, serving
from wat_cli import checkpoints
from wat_cli.checkpoints import Patience, hashes, plan, pull, registry, resolve, trust_changed
from wat_cli.checkpoints.registry import FULL_MODE, NARROW_MODE, Head, Model, Remote
from wat_cli.errors import CheckpointError, ExitCode, UsageError, WeightsMissing
from wat_cli.options import ModelOptions

QUICK = Patience(first_answer=2.0, next_answer=2.0, silence=2.0, pauses=(0.0,))
SPEECH = checkpoint_bytes(50_000, seed=1)
FULL_HEAD = checkpoint_bytes(20_000, seed=2)
NARROW_HEAD = checkpoint_bytes(10_000, seed=3)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A publisher of ``small`` and its two heads, in place of the real one."""
    with serving() as running:
        speech = Remote(running.offer("/small.pt", SPEECH), "small.pt", sha256(SPEECH))
        full = Remote(running.offer("/small_ori.pth", FULL_HEAD), "small_ori.pth", None)
        narrow = Remote(running.offer("/small_low.pth", NARROW_HEAD), "small_low.pth", None)
        heads = {"full": Head(FULL_MODE, "", 0.0, full), "512": Head(NARROW_MODE, "", 0.0, narrow)}
        monkeypatch.setitem(registry.MODELS, "small", Model("small", "244 M", 484, speech, heads, ()))
        tiny = Remote(running.offer("/tiny.pt", SPEECH), "tiny.pt", sha256(SPEECH))
        tiny_head = Remote(running.offer("/tiny_ori.pth", FULL_HEAD), "tiny_ori.pth", None)
        published = Model("tiny", "39 M", 76, tiny, {"full": Head(FULL_MODE, "", 0.0, tiny_head)}, ())
        monkeypatch.setitem(registry.MODELS, "tiny", published)
        yield running


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the package's data folder, with the two files of ``mini``."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "mini.pt").write_bytes(SPEECH)
    (folder / "mini_head.pt").write_bytes(FULL_HEAD)
    monkeypatch.setattr(checkpoints, "DATA_FOLDER", folder)
    return folder


def resolve_small(**options: object) -> checkpoints.ResolvedWeights:
    return resolve(ModelOptions(**options), tags=True, patience=QUICK)  # type: ignore[arg-type]


class TestRegistry:
    def test_names_addresses_and_hashes_are_those_of_openai_whisper(self) -> None:
        whisper = pytest.importorskip("whisper")
        ours = {}
        for name in set(registry.names()) - {registry.MINI}:
            model = registry.find(name)
            assert model is not None
            ours[name] = model.file.url
            assert model.file.url.split("/")[-2:] == [model.file.sha256, model.file.filename]
        assert ours == whisper._MODELS

    def test_large_is_large_v3(self) -> None:
        assert registry.find("large") is registry.MODELS["large-v3"]
        assert registry.find("turbo") is registry.MODELS["large-v3-turbo"]

    def test_heads_are_published_for_all_but_the_newest_and_narrow_ones_for_the_wide(self) -> None:
        """The table of whisper-at 0.5: `_low` files from small up."""
        for name, model in registry.MODELS.items():
            widths = set() if "large-v3" in name else {"full"} if name[:4] in ("tiny", "base") else {"full", "512"}
            assert set(model.heads) == widths
            for width, head in model.heads.items():
                assert head.file.filename == f"{name}_{'low' if width == '512' else 'ori'}.pth"
                assert re.fullmatch(
                    r"https://www\.dropbox\.com/s/[0-9a-z]{15}/" + head.file.filename + r"\?dl=1", head.file.url
                )
                assert head.file.sha256 is None

    def test_no_two_files_share_an_address_or_a_name(self) -> None:
        files = [
            file for model in registry.MODELS.values() for file in (model.file, *(h.file for h in model.heads.values()))
        ]
        assert len({file.url for file in files}) == len({file.filename for file in files}) == len(files)


class TestPlan:
    def test_small_takes_its_512_wide_head(self, own_cache: Path) -> None:
        planned = plan(ModelOptions(), tags=True)
        assert planned.asr.path == own_cache / "whisper" / "small.pt"
        assert planned.head is not None
        assert planned.head.path == own_cache / "whisper" / "small_low.pth"
        assert planned.head.head_mode == NARROW_MODE
        assert planned.second_encoder is None
        assert planned.missing == planned.files == (planned.asr, planned.head)

    def test_the_full_head_can_be_asked_for(self) -> None:
        head = plan(ModelOptions(tagger_head="full"), tags=True).head
        assert head is not None
        assert (head.name, head.head_mode) == ("small_ori", FULL_MODE)

    def test_tiny_has_only_the_full_head(self) -> None:
        head = plan(ModelOptions(model="tiny"), tags=True).head
        assert head is not None
        assert head.head_mode == FULL_MODE
        with pytest.raises(UsageError, match="tiny has only the full head"):
            plan(ModelOptions(model="tiny", tagger_head="512"), tags=True)

    def test_without_tags_no_head_and_no_second_encoder(self) -> None:
        planned = plan(ModelOptions(model="large", tagger="tiny"), tags=False)
        assert planned.asr.name == "large-v3"
        assert planned.head is planned.second_encoder is None

    @pytest.mark.parametrize("name", ["large", "large-v3", "turbo", "large-v3-turbo"])
    def test_a_model_without_a_head_is_missing_weights_with_three_ways_out(self, name: str) -> None:
        with pytest.raises(WeightsMissing) as caught:
            plan(ModelOptions(model=name), tags=True)
        assert caught.value.exit_code is ExitCode.MISSING
        for way_out in ("--no-tags", "--tagger-checkpoint", "--tagger tiny|base|small"):
            assert way_out in str(caught.value)

    def test_so_is_a_checkpoint_by_path(self, tmp_path: Path) -> None:
        path = tmp_path / "own.pt"
        path.write_bytes(SPEECH)
        with pytest.raises(WeightsMissing, match="own.pt.*--tagger-checkpoint"):
            plan(ModelOptions(model=str(path)), tags=True)
        assert plan(ModelOptions(model=str(path)), tags=False).asr.path == path

    def test_a_second_encoder_brings_its_own_head(self) -> None:
        planned = plan(ModelOptions(model="turbo", tagger="small"), tags=True)
        assert planned.second_encoder is not None
        assert planned.head is not None
        assert (planned.asr.name, planned.second_encoder.name) == ("large-v3-turbo", "small")
        assert (planned.head.name, planned.head.head_mode) == ("small_low", NARROW_MODE)

    def test_the_same_encoder_is_not_run_twice(self) -> None:
        assert plan(ModelOptions(model="small", tagger="small"), tags=True).second_encoder is None

    def test_a_head_of_ones_own_goes_with_any_encoder(self, tmp_path: Path) -> None:
        head = tmp_path / "head.pth"
        head.write_bytes(FULL_HEAD)
        planned = plan(ModelOptions(model="turbo", tagger_checkpoint=head), tags=True)
        assert planned.head is not None
        assert (planned.head.path, planned.head.head_mode, planned.second_encoder) == (head, None, None)
        planned = plan(ModelOptions(model="turbo", tagger="base", tagger_checkpoint=head), tags=True)
        assert planned.second_encoder is not None
        assert planned.head is not None
        assert (planned.second_encoder.name, planned.head.path) == ("base", head)

    def test_another_folder_for_the_weights(self, tmp_path: Path) -> None:
        planned = plan(ModelOptions(model_dir=tmp_path / "models"), tags=True)
        assert {wanted.path.parent for wanted in planned.files} == {tmp_path / "models"}

    def test_openai_whispers_folder_is_used_where_no_cache_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert checkpoints.default_folder() == tmp_path / ".cache" / "whisper"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("smal", "Did you mean small?"),
            ("whisper", r"no such file\. `wat models list`"),
            ("weights/none.pt", "--model weights/none.pt: no such file"),
            ("none.pt", "--model none.pt: no such file"),
        ],
    )
    def test_an_unknown_model_is_a_usage_error(self, name: str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            plan(ModelOptions(model=name), tags=False)

    def test_paths_are_checked(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--tagger-checkpoint .*no such file"):
            plan(ModelOptions(tagger_checkpoint=tmp_path / "none.pth"), tags=True)
        with pytest.raises(CheckpointError, match="that is no file"):
            plan(ModelOptions(model=str(tmp_path)), tags=False)
        (tmp_path / "empty.pt").touch()
        with pytest.raises(CheckpointError, match="the file is empty"):
            plan(ModelOptions(model=str(tmp_path / "empty.pt")), tags=False)

    def test_a_published_name_goes_before_a_file_of_that_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in `whisper.load_model`."""
        monkeypatch.chdir(tmp_path)
        Path("small").write_bytes(SPEECH)
        assert plan(ModelOptions(model="small"), tags=False).asr.remote is not None


class TestResolve:
    def test_everything_is_fetched_hashed_and_found_again(self, publisher: Publisher, own_cache: Path) -> None:
        weights = resolve_small()
        assert weights.head is not None
        assert weights.second_encoder is None
        assert (weights.asr.name, weights.asr.sha256) == ("small", sha256(SPEECH))
        assert weights.asr.path.read_bytes() == SPEECH
        assert (weights.head.name, weights.head.sha256) == ("small_low", sha256(NARROW_HEAD))
        assert weights.head.head_mode == NARROW_MODE
        assert len(publisher.asked) == 2
        assert resolve_small(offline=True) == weights
        assert len(publisher.asked) == 2

    def test_a_second_encoder_is_fetched_too(self, publisher: Publisher) -> None:
        weights = resolve_small(tagger="tiny")
        assert weights.second_encoder is not None
        assert weights.head is not None
        assert weights.second_encoder.name == "tiny"
        assert weights.head.sha256 == sha256(FULL_HEAD)

    def test_mini_is_there_without_a_network(self, mini: Path) -> None:
        weights = resolve_small(model="mini", offline=True)
        assert weights.head is not None
        assert weights.asr.path == mini / "mini.pt"
        assert (weights.head.path, weights.head.head_mode) == (mini / "mini_head.pt", FULL_MODE)

    def test_an_installation_without_mini_says_so(self, mini: Path) -> None:
        (mini / "mini_head.pt").unlink()
        with pytest.raises(WeightsMissing, match="this installation of wat is incomplete"):
            resolve_small(model="mini")
        assert resolve(ModelOptions(model="mini"), tags=False).head is None

    @pytest.mark.skipif(not (checkpoints.DATA_FOLDER / "mini.pt").is_file(), reason="mini is not trained yet")
    def test_the_mini_that_ships_resolves(self) -> None:
        weights = resolve_small(model="mini", offline=True)
        assert weights.head is not None
        assert weights.asr.path.stat().st_size + weights.head.path.stat().st_size <= 20_000_000

    def test_offline_never_tries(self, publisher: Publisher) -> None:
        with pytest.raises(WeightsMissing, match="--offline forbids") as caught:
            resolve_small(offline=True)
        assert publisher.asked == []
        assert caught.value.exit_code is ExitCode.MISSING

    @pytest.mark.parametrize("offline", [True, False])
    def test_missing_weights_name_the_two_ways_out(self, publisher: Publisher, tmp_path: Path, offline: bool) -> None:
        publisher.offers.clear()
        with pytest.raises(WeightsMissing) as caught:
            resolve_small(offline=offline, model_dir=tmp_path / "my models")
        assert f"wat models pull small --model-dir '{tmp_path}/my models'" in str(caught.value)
        assert "--model mini" in str(caught.value)
        assert f"small.pt is not in {tmp_path}/my models" in str(caught.value)

    def test_a_missing_head_names_the_one_that_is_here(self, publisher: Publisher, own_cache: Path) -> None:
        resolve_small(tagger_head="full")
        with pytest.raises(WeightsMissing, match="`--tagger-head full` takes small_ori.pth, which is here"):
            resolve_small(offline=True)

    def test_a_missing_head_can_be_done_without(self, publisher: Publisher) -> None:
        resolve(ModelOptions(), tags=False, patience=QUICK)
        with pytest.raises(WeightsMissing, match="--no-tags"):
            resolve_small(offline=True)

    def test_a_model_without_a_head_is_said_before_anything_is_fetched(self, publisher: Publisher) -> None:
        with pytest.raises(WeightsMissing, match="--tagger tiny"):
            resolve_small(model="turbo")
        assert publisher.asked == []

    def test_no_checkpoint_is_ever_unpickled(self, tmp_path: Path) -> None:
        """A pickle that would make a file when opened: it is hashed and passed on, unopened."""
        trap = tmp_path / "trap.pt"
        sprung = tmp_path / "sprung"
        trap.write_bytes(pickle.dumps(_Trap(str(sprung))))
        assert resolve(ModelOptions(model=str(trap)), tags=False).asr.sha256 == sha256(trap.read_bytes())
        assert not sprung.exists()
        pickle.loads(trap.read_bytes())
        assert sprung.exists()


class _Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


class TestWrongFiles:
    def test_a_wrong_file_in_the_cache_is_said_and_kept(self, publisher: Publisher, own_cache: Path) -> None:
        cached = own_cache / "whisper" / "small.pt"
        cached.parent.mkdir(parents=True)
        cached.write_bytes(SPEECH[:20_000])
        with pytest.raises(CheckpointError, match="wat models pull small") as caught:
            resolve_small()
        assert str(cached) in str(caught.value)
        assert cached.read_bytes() == SPEECH[:20_000]
        assert publisher.asked == []

    def test_pulling_replaces_it(self, publisher: Publisher, own_cache: Path) -> None:
        cached = own_cache / "whisper" / "small.pt"
        cached.parent.mkdir(parents=True)
        cached.write_bytes(SPEECH[:20_000])
        files = pull(plan(ModelOptions(), tags=True), patience=QUICK)
        assert [file.sha256 for file in files] == [sha256(SPEECH), sha256(NARROW_HEAD)]
        assert cached.read_bytes() == SPEECH

    def test_pulling_without_the_publisher_leaves_it(self, publisher: Publisher, own_cache: Path) -> None:
        cached = own_cache / "whisper" / "small.pt"
        cached.parent.mkdir(parents=True)
        cached.write_bytes(b"wrong")
        publisher.offers.clear()
        with pytest.raises(WeightsMissing):
            pull(plan(ModelOptions(), tags=True), patience=QUICK)
        assert cached.read_bytes() == b"wrong"

    def test_a_wrong_file_from_the_publisher_is_refused(self, publisher: Publisher, own_cache: Path) -> None:
        publisher.offer("/small.pt", checkpoint_bytes(50_000, seed=9))
        with pytest.raises(WeightsMissing, match="not the published"):
            resolve_small()
        assert not (own_cache / "whisper" / "small.pt").exists()

    def test_a_file_changed_later_is_noticed(self, publisher: Publisher) -> None:
        path = resolve_small().asr.path
        path.write_bytes(SPEECH[::-1])
        os.utime(path, ns=(1, 1))
        with pytest.raises(CheckpointError, match="is not the published small"):
            resolve_small()


class TestHeadsFirstSeen:
    def test_a_head_that_changed_on_disk_is_said(self, publisher: Publisher) -> None:
        head = resolve_small().head
        assert head is not None
        head.path.write_bytes(FULL_HEAD)
        with pytest.raises(CheckpointError, match="--trust-changed small"):
            resolve_small()
        assert head.path.read_bytes() == FULL_HEAD

    def test_a_head_that_changed_at_its_publisher_is_refused(self, publisher: Publisher) -> None:
        head = resolve_small().head
        assert head is not None
        head.path.unlink()
        publisher.offer("/small_low.pth", FULL_HEAD)
        with pytest.raises(WeightsMissing, match="than when it was first seen"):
            resolve_small()
        assert not head.path.exists()

    def test_unless_it_is_trusted_anew(self, publisher: Publisher) -> None:
        head = resolve_small().head
        assert head is not None
        head.path.unlink()
        publisher.offer("/small_low.pth", FULL_HEAD)
        planned = plan(ModelOptions(), tags=True)
        trust_changed(planned)
        assert pull(planned, patience=QUICK)[1].sha256 == sha256(FULL_HEAD)
        assert resolve_small(offline=True).head is not None

    def test_a_head_that_was_here_before_wat_counts_as_seen(self, publisher: Publisher, own_cache: Path) -> None:
        """As left by whisper-at, which keeps its heads in the same folder."""
        cached = own_cache / "whisper" / "small_low.pth"
        cached.parent.mkdir(parents=True)
        cached.write_bytes(FULL_HEAD)
        assert resolve_small().head is not None
        cached.write_bytes(NARROW_HEAD)
        with pytest.raises(CheckpointError):
            resolve_small()

    def test_a_changed_head_can_be_fetched_as_it_was(self, publisher: Publisher) -> None:
        head = resolve_small().head
        assert head is not None
        head.path.write_bytes(b"changed")
        pull(plan(ModelOptions(), tags=True), patience=QUICK)
        assert head.path.read_bytes() == NARROW_HEAD

    @pytest.mark.parametrize("content", ["{", "[1]"])
    def test_a_broken_record_stops_the_run_instead_of_trusting(
        self, publisher: Publisher, own_cache: Path, content: str
    ) -> None:
        resolve_small()
        record = own_cache / "wat" / "first_seen.json"
        record.write_text(content)
        for attempt in (resolve_small, lambda: pull(plan(ModelOptions(), tags=True)), _trust_small):
            with pytest.raises(CheckpointError, match=str(record)):
                attempt()
        assert record.read_text() == content


def _trust_small() -> None:
    trust_changed(plan(ModelOptions(), tags=True))


class TestHashes:
    def test_a_file_is_hashed_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "own.pt"
        path.write_bytes(SPEECH)
        assert hashes.sha256_of(path) == sha256(SPEECH)
        monkeypatch.setattr(hashes, "hash_file", lambda path, reading: "hashed again")
        assert hashes.sha256_of(path) == sha256(SPEECH)
        assert hashes.sha256_of(path, afresh=True) == "hashed again"

    def test_and_again_when_it_changed(self, tmp_path: Path) -> None:
        path = tmp_path / "own.pt"
        path.write_bytes(SPEECH)
        hashes.sha256_of(path)
        stat = path.stat()
        path.write_bytes(SPEECH[::-1])
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        assert hashes.sha256_of(path) == sha256(SPEECH[::-1])

    @pytest.mark.parametrize("content", ["not json", "[]", '{"x": 3}'])
    def test_a_broken_cache_of_hashes_is_only_a_cache(self, tmp_path: Path, own_cache: Path, content: str) -> None:
        path = tmp_path / "own.pt"
        path.write_bytes(SPEECH)
        (own_cache / "wat").mkdir(parents=True)
        known = own_cache / "wat" / "verified.json"
        known.write_text(content.replace("x", str(path)))
        assert hashes.sha256_of(path) == sha256(SPEECH)
        assert json.loads(known.read_text())[str(path)]["sha256"] == sha256(SPEECH)

    def test_a_home_that_cannot_be_written_is_no_obstacle(self, tmp_path: Path, own_cache: Path) -> None:
        own_cache.write_text("a file where the folder should be")
        path = tmp_path / "own.pt"
        path.write_bytes(SPEECH)
        assert hashes.sha256_of(path) == sha256(SPEECH)

    def test_reading_is_reported(self, tmp_path: Path) -> None:
        path = tmp_path / "own.pt"
        path.write_bytes(bytes(3 << 20))
        steps: list[tuple[int, int]] = []
        hashes.hash_file(path, lambda done, size: steps.append((done, size)))
        assert steps == [(step << 20, 3 << 20) for step in (1, 2, 3)]
