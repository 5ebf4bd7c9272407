"""What the benchmark counts and disqualifies, on cases counted by hand; its weights really fix the number of tokens."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import whisper  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import wat_cli.engine  # noqa: E402
from benchmarks import processes, results, sections, tables, weights  # noqa: E402
from benchmarks.audio import joined, repeated, sound_files  # noqa: E402
from benchmarks.engines import Heard, Setup, Work, load, windows_of  # noqa: E402
from benchmarks.limits import Limits, encoder_operations, measured_limits, step_bytes  # noqa: E402
from benchmarks.measuring import Measured, Row, fault_of, measure, paired_ratio, same_windows  # noqa: E402
from benchmarks.processes import ProgramFailed, Run  # noqa: E402
from benchmarks.sections import PARTS, SECTIONS  # noqa: E402
from benchmarks.tables import Goal, goal_table, speed_table, verdict  # noqa: E402
from wat_cli.model.whisper_at import load_whisper  # noqa: E402

SMALL = weights.Size("mite", 320, 5, 1)
ROW = Row("a", "A", Setup("wat", "", 1), Work(("one.wav",)), windows=2, tokens=3)
WHOLE = Heard([[(0, [1, 2, 3]), (3000, [4, 5, 6])]], ["text"])


def measured(*seconds: float, row: Row = ROW, heard: Heard = WHOLE, fault: str = "") -> Measured:
    return Measured(row, [Run(one, 100.0, heard) for one in seconds], fault)


def test_windows_are_put_together_from_segments() -> None:
    assert windows_of([(3000, [7]), (0, [1, 2]), (3000, (8, 9))]) == [(0, [1, 2]), (3000, [7, 8, 9])]


def test_a_row_that_did_its_work_has_no_fault() -> None:
    assert fault_of(WHOLE, ROW) == ""


def test_a_missing_window_is_a_fault() -> None:
    assert fault_of(Heard([[(0, [1, 2, 3])]], [""]), ROW) == "1 of 2 windows"


@pytest.mark.parametrize("tokens", [[1, 2], [1, 2, 3, 4], []])
def test_a_window_of_another_length_is_a_fault(tokens: list[int]) -> None:
    fault = fault_of(Heard([[(0, [1, 2, 3]), (3000, tokens)]], [""]), ROW)
    assert "1 of 2 windows are not 3 tokens long" in fault and f"of them {len(tokens)}" in fault


def test_more_windows_than_asked_are_none() -> None:
    assert fault_of(Heard([[(0, [1, 2, 3]), (2900, [4, 5, 6]), (5900, [7, 8, 9])]], [""]), ROW) == ""


def test_ratios_are_medians_of_the_rounds() -> None:
    assert paired_ratio(measured(10.0, 12.0, 30.0), measured(5.0, 3.0, 10.0)) == 3.0


def test_what_is_disqualified_has_no_ratio() -> None:
    assert paired_ratio(measured(10.0, fault="1 of 2 windows"), measured(5.0)) is None
    assert paired_ratio(measured(10.0), measured()) is None


def test_same_windows_are_counted_across_files() -> None:
    split = Heard([[(0, [1, 2, 3])], [(0, [4, 5, 7])]], ["", ""])
    assert same_windows(measured(1.0, heard=split), measured(1.0)) == 0.5


class Pretended:
    """Stands for a program: takes seconds from a list, and drops a token where it is told to."""

    order: list[str] = []

    def __init__(self, setup: Setup) -> None:
        self.setup, self.works = setup, 0
        if setup.program == "missing":
            raise ProgramFailed("it ended")

    def __enter__(self) -> Pretended:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, work: Work) -> Run:
        self.works += 1
        if work.files == ("warm.wav",):
            return Run(9.0, 1.0, Heard([[]], [""]))
        self.order.append(self.setup.program)
        short = self.setup.program == "short" and self.works > 2
        return Run(float(self.works), 1.0, Heard([[(0, [1, 2] if short else [1, 2, 3]), (3000, [4, 5, 6])]], [""]))


def test_rows_take_turns_and_a_short_one_stops() -> None:
    Pretended.order = []
    rows = [replace(ROW, key=name, name=name, setup=Setup(name, "", 1)) for name in ("whole", "short", "missing")]
    whole, short, missing = measure(rows, "warm.wav", 3, start=Pretended, keep=True)  # type: ignore[arg-type]
    assert Pretended.order == ["whole", "short", "whole", "short", "whole"]
    assert whole.counts and whole.seconds == [2.0, 3.0, 4.0]  # heard the warm-up once, before the first
    assert not short.counts and "not 3 tokens long" in short.fault
    assert not missing.counts and missing.fault == "it ended"


def test_without_room_for_all_each_turn_has_a_program_of_its_own() -> None:
    (one,) = measure([ROW], "warm.wav", 3, start=Pretended, keep=False)  # type: ignore[arg-type]
    assert one.seconds == [2.0, 2.0, 2.0]


def test_after_the_deadline_only_the_first_round_runs() -> None:
    (one,) = measure([ROW], "warm.wav", 3, deadline=0.0, start=Pretended, keep=True)  # type: ignore[arg-type]
    assert len(one.runs) == 1


@pytest.mark.parametrize(
    ("goal", "ratio", "expected"),
    [
        (Goal("a", "b", 3, 4), 4.1, "aim reached"),
        (Goal("a", "b", 3, 4), 3.2, "reached"),
        (Goal("a", "b", 3, 4), 2.9, "missed"),
        (Goal("a", "b", None, 1.8), 1.7, "below the aim"),
        (Goal("a", "b", most=1.08), 1.08, "reached"),
        (Goal("a", "b", most=1.08), 1.09, "missed"),
    ],
)
def test_verdicts(goal: Goal, ratio: float, expected: str) -> None:
    assert verdict(goal, ratio) == expected


def test_tables_show_ratios_and_disqualifications() -> None:
    rows = [
        measured(12.0, row=replace(ROW, key="openai", name="openai-whisper")),
        measured(4.0, row=replace(ROW, key="wat", name="wat exact")),
        measured(1.0, row=replace(ROW, key="fw", name="short one"), fault="1 of 2 windows"),
    ]
    lines = speed_table(rows, "openai").splitlines()
    assert lines[3] == "| wat exact | 4.00 | 0.50 | 15 | 2 x 3 | 100 % | 3.00 |"
    assert lines[4].startswith("| short one | disqualified: 1 of 2 windows |")
    goals = goal_table(
        rows, [Goal("openai", "wat", 3, 4), Goal("fw", "wat", 2, 3), Goal("gone", "wat", 2)]
    ).splitlines()
    assert goals[2:] == [
        "| openai-whisper / wat exact | 3.00 | at least 3 | 4 | reached |",
        "| short one / wat exact | - | at least 2 | 3 | - |",
    ]
    assert tables.seconds_of(measured(3.0, 1.0, 2.0)) == "2.00 (1.00-3.00)"


def test_results_keep_what_was_found_by_other_sections_and_on_other_machines(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    found = [("text", "0.1", "AMD EPYC"), ("speed-tiny", "3.0", "AMD EPYC"), ("text", "0.2", "AMD EPYC")]
    for key, busy, cpu in [*found, ("text", "0.3", "Some Xeon")]:
        facts = {"command": "python -m benchmarks", "date": "2026-01-01 00:00 UTC", "machine": f"{cpu}, 4 of 4 cores"}
        title, text = SECTIONS[key].title, f"body of {key}, {busy}"
        results.keep(results.Part(title, text, load=busy, threads=4, seconds=1.0, versions=f"of {cpu}", **facts), file)
    text = file.read_text(encoding="utf-8")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## Speed: tiny, 4 threads, AMD EPYC",
        "## Real text, 4 threads, AMD EPYC",
        "## Real text, 4 threads, Some Xeon",
    ]
    assert "body of text, 0.2" in text and "body of text, 0.1" not in text and "body of text, 0.3" in text
    assert text.count(results.SHARED) == 1
    assert text.count("# Results of the benchmark\n") == 1
    assert text.count("Versions: ") == 2


def test_files_are_joined_and_repeated(tmp_path: Path) -> None:
    files = sound_files(tmp_path, [1, 1])
    assert len({file.read_bytes() for file in files}) == 2
    sizes = [whisper.load_audio(str(path)).shape[0] / 16000 for path in (joined(tmp_path, files), files[0])]
    assert sizes == [60.0, 30.0]
    assert whisper.load_audio(str(repeated(tmp_path, files[0], 3))).shape[0] == 90 * 16000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the recipe, but narrow, and its head."""
    return weights.prepare(tmp_path_factory.mktemp("models"), SMALL, 6)


def test_weights_fix_the_tokens_of_every_window_in_whisper_and_in_wat(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy and with beams; both decode the same text in the same windows."""
    monkeypatch.setattr(wat_cli.engine, "load_engine", wat_cli.engine.load_engine)  # what the benchmark replaces
    files = tuple(str(path) for path in sound_files(tmp_path, [2, 1]))
    ours, theirs = (
        load(Setup(name, str(prepared), 1, batch=2, tags=name == "wat")) for name in ("wat", "openai-whisper")
    )
    for beam in (None, 3):
        expected = theirs(Work(files, beam=beam))
        found = ours(Work(files, beam=beam))
        assert found.files == expected.files
        assert [[seek for seek, _ in windows] for windows in found.files] == [[0, 3000], [0]]
        assert all(len(tokens) == 6 for windows in found.files for _, tokens in windows)
    assert found.extra["mean_slots"] > 1 and found.extra["steps"] >= 6
    assert all(found.extra[f"seconds_{name}"] > 0 for name in PARTS if name != "rest")
    assert len({tuple(tokens) for windows in found.files for _, tokens in windows}) == 3


def test_what_a_pass_and_a_step_take_is_what_torch_counts(prepared: Path) -> None:
    model = load_whisper(prepared)
    with whisper.model.disable_sdpa(), FlopCounterMode(display=False) as counter:
        model.encoder(torch.zeros(1, 80, 3000))
    assert encoder_operations(SMALL) == counter.get_total_flops()
    decoder = model.decoder
    read = [p for name, p in decoder.named_parameters() if p.dim() == 2 and "positional" not in name]
    once = [p for name, p in decoder.named_parameters() if "cross_attn.key" in name or "cross_attn.value" in name]
    read_once = sum(p.numel() for p in once if p.dim() == 2)
    assert step_bytes(SMALL, 0, 2) == 2 * (sum(p.numel() for p in read) - read_once)
    assert step_bytes(SMALL, 3, 2) - step_bytes(SMALL, 0, 2) == 3 * SMALL.layers * 2 * 1500 * SMALL.width * 4


def test_the_parts_of_a_run_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    passes, steps = encoder_operations(weights.SIZES["tiny"]), step_bytes(weights.SIZES["tiny"], 8, 2)
    told = {"seconds_encoding": 4.0, "seconds_stepping": 3.0, "seconds_filling": 1.0, "seconds_starting": 0.5}
    heard = replace(WHOLE, extra={**told, "steps": 256, "mean_slots": 8.0})
    one = Measured(ROW, [Run(seconds, 100.0, heard) for seconds in (9.0, 10.0, 30.0)], "")
    monkeypatch.setattr(sections, "checkpoint", lambda size, tokens: Path(f"{size}.pt"))
    monkeypatch.setattr(sections, "sound_file", lambda *_, **__: Path("warm.wav"))
    monkeypatch.setattr(sections.Plan, "sounds", lambda plan: ["one.wav"])
    monkeypatch.setattr(sections, "measured_limits", lambda threads: Limits(passes * 32 / 2e9, steps * 256 / 3e9))
    monkeypatch.setattr(sections, "measure", lambda *_, **__: [one])
    monkeypatch.setattr("wat_cli.model.products.has_fbgemm", lambda: True)
    plan = sections.Plan(sizes=("tiny",), kinds=("wat",), rounds=3, threads=1)
    lines = [line.strip("| ").split(" | ") for line in sections.parts(plan).splitlines() if line.startswith("| tiny")]
    assert [(words, seconds, share) for words, seconds, share, *_ in lines] == [
        ("tiny: encoder passes", "4.00", "40 %"),
        ("tiny: decoder steps", "3.00", "30 %"),
        ("tiny: keys and values of the windows", "1.00", "10 %"),
        ("tiny: prompts", "0.50", "5 %"),
        ("tiny: ffmpeg, mel, captions, sidecars", "1.50", "15 %"),
    ]
    assert [line[-1] for line in lines[:2]] == ["50 %", "100 %"]


def test_limits_are_measured_in_a_process_of_their_own() -> None:
    limits = measured_limits(1)
    assert limits.products > 1 and limits.reading > 0.1


def test_a_program_in_its_own_process_answers(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PEERS", Path(sys.executable))
    (file,) = sound_files(tmp_path, [1])
    with processes.Program(Setup("openai-whisper", str(prepared), 1)) as program:
        run = program.run(Work((str(file),)))
        assert fault_of(run.heard, replace(ROW, windows=1, tokens=6)) == ""
        assert run.peak > 50 and run.seconds > 0
        with pytest.raises(ProgramFailed):
            program.run(Work((str(tmp_path / "missing.wav"),)))
