"""The parts of the benchmark: each measures one thing and says it in Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.audio import repeated, sound_file, sound_files
from benchmarks.engines import Setup
from benchmarks.limits import encoder_operations, measured_limits, step_bytes
from benchmarks.measuring import Measured, by_key, measure, say
from benchmarks.plan import (
    AUDIO,
    BATCH,
    GPU_KINDS,
    KINDS,
    SETTINGS,
    Plan,
    best_settings,
    checkpoint,
    described,
    mini,
    row,
    settings_key,
)
from benchmarks.processes import ROOT, Program, ProgramFailed
from benchmarks.tables import Goal, goal_table, seconds_of, speed_table, table
from benchmarks.weights import SIZES

GOALS = (
    Goal("openai", "wat", 3, 4),
    Goal("fw", "wat", 2, 3),
    Goal("fw-batch", "wat", 1.0, 1.3),
    Goal("fw-batch-int8", "wat-bfloat16", 1.3, 1.6),
    Goal("fw-batch-int8", "wat-int8", None, 1.8),
    Goal("whisper-at", "wat-tags", 3, 4),
)
TAGS_MOST = {"tiny": 1.08, "base": 1.08, "small": 1.05}
FLOOR = 0.0153
"""Seconds a window that large takes an H100 at its limits, 64 files together (``performance.md``, section 3)."""
PARTS = {
    "encoding": "encoder passes",
    "stepping": "decoder steps",
    "filling": "keys and values of the windows",
    "starting": "prompts",
    "rest": "ffmpeg, mel, captions, sidecars",
}
"""What the time of a run is divided into."""
WORK = {"encoding": "GFLOP", "stepping": "GB"}
"""What the two large parts are measured in."""
FILMS = ("market.mp4", "island.mkv", "radio.mp3", "concert.webm", "storm.mp4")


@dataclass(frozen=True)
class Section:
    """A part of the benchmark."""

    key: str
    title: str
    run: Callable[[Plan], str]


def _offered(keys: Sequence[str], plan: Plan) -> tuple[list[str], str]:
    """Those of `keys` that are asked for and that this `wat` can do, and a sentence on those that it cannot."""
    from benchmarks.running_wat import offers

    chosen = [key for key in keys if key in plan.kinds]
    missing = [key for key in chosen if KINDS[key].program == "wat" and KINDS[key].compute_type != "float32"]
    if not missing or offers("compute_type"):
        return chosen, ""
    names = " and ".join(KINDS[key].name for key in missing)
    return [key for key in chosen if key not in missing], f"\n\n{names}: this wat has no --compute-type."


def _warm_up() -> str:
    return str(sound_file(AUDIO, 1, seed=99))


def settings(plan: Plan) -> str:
    """Find faster-whisper's best settings: its kernels' instruction set, and threads a file against files at a time."""
    found, lines = best_settings(), []
    for size in plan.sizes:
        model = checkpoint(size, plan.tokens)
        for key in ("fw", "fw-int8", "fw-batch", "fw-batch-int8"):
            if key in plan.kinds:
                lines.append(_best_of(key, size, model, plan, found))
    SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.write_text(json.dumps(found, indent=1), encoding="utf-8")
    note = "Seconds for a few of the windows; the fastest setting is the one that the comparisons use.\n\n"
    return note + table(["", "seconds by setting", "best"], lines)


def _best_of(key: str, size: str, model: Path, plan: Plan, found: dict[str, dict[str, object]]) -> list[str]:
    batched = KINDS[key].program == "faster-whisper batched"
    files = sound_files(AUDIO, [BATCH] if batched else [1] * 4)
    plain = replace(row(key, model, files, sum((BATCH,) if batched else (1,) * 4), plan.tokens, plan))
    setup = replace(plain.setup, workers=1, environment={})
    tried: dict[str, tuple[float, Setup]] = {}

    def attempt(one: Setup) -> None:
        name = described(one).strip(" ()") or "default"
        (measured,) = measure([replace(plain, key=name, name=f"{size} {plain.key} {name}", setup=one)], _warm_up(), 1)
        if measured.counts:
            tried[name] = (measured.median, one)

    attempt(setup)
    attempt(replace(setup, environment={"CT2_FORCE_CPU_ISA": "AVX512"}))
    if tried:
        fastest = min(tried.values(), key=lambda item: item[0])[1]
        for workers in (2, 4) if not batched else ():
            if workers <= plan.threads:
                attempt(replace(fastest, workers=workers))
    if not tried:
        return [f"{size}, {KINDS[key].name}", "-", "-"]
    best = min(tried, key=lambda name: tried[name][0])
    chosen = tried[best][1]
    found[settings_key(chosen)] = {"workers": chosen.workers, "environment": chosen.environment}
    cells = ", ".join(f"{name} {seconds:.2f}" for name, (seconds, _) in tried.items())
    return [f"{size}, {KINDS[key].name}", cells, best]


def speed(plan: Plan, size: str) -> str:
    """Every program on the same files, greedy, with timestamps."""
    keys, note = _offered(tuple(KINDS), plan)
    model, files = checkpoint(size, plan.tokens), plan.sounds()
    windows = plan.files * plan.windows
    measured = measure(
        [row(key, model, files, windows, plan.tokens, plan) for key in keys], _warm_up(), plan.rounds, plan.deadline
    )
    goals = (*GOALS, Goal("wat-tags", "wat", most=TAGS_MOST[size]))
    return speed_table(measured, "openai") + note + "\n\n" + goal_table(measured, goals)


def beams(plan: Plan) -> str:
    """Beam search with five beams."""
    keys, note = _offered(("openai", "fw", "fw-batch", "fw-batch-int8", "wat", "wat-bfloat16", "wat-int8"), plan)
    size, count = plan.extra_size, max(1, plan.files // 2)
    files = sound_files(AUDIO, [plan.windows] * count)
    model, windows = checkpoint(size, plan.tokens), plan.windows * count
    rows = [row(key, model, files, windows, plan.tokens, plan, beam=5) for key in keys]
    measured = measure(rows, _warm_up(), 1)
    return (
        f"{size}, {count} files of {plan.windows} windows, one run each.\n\n" + speed_table(measured, "openai") + note
    )


def without_timestamps(plan: Plan) -> str:
    """The peers' best case, without timestamps, against `wat`, which always has them."""
    keys, note = _offered(("openai", "fw", "fw-batch", "fw-batch-int8", "wat", "wat-bfloat16", "wat-int8"), plan)
    size, files, windows = plan.extra_size, plan.sounds(), plan.files * plan.windows
    with_them, without = checkpoint(size, plan.tokens), checkpoint(size, plan.tokens, timestamps=False)
    rows = []
    for key in keys:
        is_wat = KINDS[key].program == "wat"
        made = row(key, with_them if is_wat else without, files, windows, plan.tokens, plan, timestamps=is_wat)
        rows.append(replace(made, name=made.name + (", with timestamps" if is_wat else "")))
    measured = measure(rows, _warm_up(), 1)
    said = f"{size}, one run each; `wat` decodes with timestamps, the others without.\n\n"
    return said + speed_table(measured, "openai") + note + "\n\n" + goal_table(measured, GOALS)


def text(plan: Plan) -> str:
    """The sample films, heard with the embedded model as a person would: thresholds, fallback, text as a prompt."""
    keys, note = _offered(tuple(KINDS), plan)
    model, films = mini(), [ROOT / "sample_media" / name for name in FILMS]
    rows = []
    for key in keys:
        made = row(key, model, films[:1], 1, None, plan, real=True)
        rows.append(replace(made, work=replace(made.work, files=tuple(str(film) for film in films))))
    measured = measure(rows, _warm_up(), plan.rounds, plan.deadline)
    reference = by_key(measured).get("openai")
    lines = []
    for one in measured:
        if not one.counts:
            lines.append([one.row.name, "disqualified: " + one.fault, "", "", ""])
            continue
        words = sum(len(part.split()) for part in one.runs[-1].heard.text)
        same = _same_texts(one, reference) if reference is not None and reference.counts else "-"
        lines.append([one.row.name, seconds_of(one), str(len(one.tokens)), str(words), same])
    head = ["", "seconds", "windows with text", "words", "films with openai-whisper's text"]
    about = (
        f"{len(films)} films, `mini`, defaults but for greedy decoding. `wat` keeps the container's clock: the samples "
        "of `island.mkv`, whose audio starts late, are others to it than to `whisper.load_audio`.\n\n"
    )
    return about + table(head, lines) + note


def _same_texts(one: Measured, reference: Measured) -> str:
    mine, theirs = one.runs[-1].heard.text, reference.runs[-1].heard.text
    same = sum(a.split() == b.split() for a, b in zip(mine, theirs, strict=True))
    return f"{same} of {len(theirs)}"


def long_file(plan: Plan) -> str:
    """One long file with pauses: exact and sequential, and cut into shards."""
    from benchmarks.running_wat import offers

    size = plan.extra_size
    windows = plan.windows * (2 if plan.quick else 4)
    shards = max(2, windows // 2)
    model, file = checkpoint(size, plan.tokens), sound_file(AUDIO, windows, 50, pauses=True)
    rows = [row(key, model, [file], windows, plan.tokens, plan) for key in ("openai", "fw", "wat") if key in plan.kinds]
    goals = [Goal("openai", "wat", 1.3), Goal("openai", "shards", 3)]
    note = ""
    if offers("shards") and "wat" in plan.kinds:
        made = row("wat", model, [file], windows, plan.tokens, plan)
        rows.append(
            replace(made, key="shards", name=f"wat --shards {shards}", setup=replace(made.setup, shards=str(shards)))
        )
    else:
        note = "\n\nThis wat has no --shards."
    measured = measure(rows, _warm_up(), plan.rounds, plan.deadline)
    said = f"{size}, one file of {windows} windows, a pause of two seconds between them.\n\n"
    return said + speed_table(measured, "openai") + "\n\n" + goal_table(measured, goals) + note


def cold_start(plan: Plan) -> str:
    """From the start of the process to the captions of one window."""
    size = plan.extra_size
    model, file = checkpoint(size, plan.tokens), sound_file(AUDIO, 1, seed=99)
    rows = [
        row(key, model, [file], 1, plan.tokens, plan)
        for key in ("openai", "whisper-at", "fw", "fw-int8", "wat", "wat-tags")
        if key in plan.kinds
    ]
    found = [Measured(one) for one in rows]
    for _ in range(plan.rounds):
        for one in found:
            _start_cold(one)
    lines = [[one.row.name, seconds_of(one) if one.counts else "failed: " + one.fault] for one in found]
    said = f"{size}, one file of one window, {plan.tokens} tokens; imports, loading the model and the work.\n\n"
    return said + table(["", "seconds"], lines)


def _start_cold(one: Measured) -> None:
    import time

    started = time.perf_counter()
    try:
        with Program(one.row.setup) as program:
            run = program.run(one.row.work)
    except ProgramFailed as error:
        one.fault = str(error)
        return
    one.runs.append(replace(run, seconds=time.perf_counter() - started))
    say(f"  {one.row.name}: {one.seconds[-1]:.2f} s")


def memory(plan: Plan) -> str:
    """Largest resident size against the length of the file; a process for each."""
    lengths = (20, 60) if plan.quick else (20, 120)
    tokens, model = 2, checkpoint("tiny", 2)
    piece = sound_file(AUDIO, 20, 70)
    lines = []
    for key in ("openai", "whisper-at", "fw", "fw-batch", "wat", "wat-tags"):
        if key not in plan.kinds:
            continue
        cells = []
        for length in (*lengths, *((360,) if key == "wat-tags" and not plan.quick else ())):
            file = repeated(AUDIO, piece, length // 20)
            one = row(key, model, [file], length, tokens, plan)
            say(f"  {one.name}, {length // 2} minutes")
            try:
                with Program(one.setup) as program:
                    cells.append(f"{program.run(one.work).peak:.0f}")
            except ProgramFailed as error:
                cells.append(f"failed: {error}")
        lines.append([KINDS[key].name, *cells, *[""] * (3 - len(cells) - plan.quick)])
    head = ["MB (2^20 bytes)", *[f"{length // 2} minutes" for length in (*lengths, *(() if plan.quick else (360,)))]]
    note = "tiny, 2 tokens a window, 16 kHz WAV; programs that wat runs (ffmpeg) not counted.\n\n"
    return note + table(head, lines)


def slots(plan: Plan) -> str:
    """`wat`'s throughput against the files that it hears together, and against the files that there are."""
    size, windows, many = plan.extra_size, 2, 16
    model, files = checkpoint(size, plan.tokens), sound_files(AUDIO, [windows] * many, first_seed=200)
    made = row("wat", model, files, windows * many, plan.tokens, plan)
    by_batch = [
        replace(made, key=f"{n}", name=f"--batch-size {n}, {many} files", setup=replace(made.setup, batch=n))
        for n in (1, 2, 4, 8, 16)
    ]
    by_files = []
    for n in (1, 2, 4, 8):
        part = row("wat", model, files[:n], windows * n, plan.tokens, plan)
        by_files.append(replace(part, key=f"{n} files", name=f"--batch-size {BATCH}, {n} file{'s' * (n > 1)}"))
    lines = []
    for one in [*by_batch, *by_files]:
        (measured,) = measure([one], _warm_up(), 1)
        rate = f"{one.windows / measured.median:.2f}" if measured.counts else measured.fault
        held = measured.runs[-1].heard.extra.get("mean_slots") if measured.runs else None
        lines.append([one.name, seconds_of(measured) if measured.counts else "-", rate, f"{held:.1f}" if held else "-"])
    head = ["", "seconds", "windows/s", "slots in a step, mean"]
    return f"{size}, files of {windows} windows, exact, no tags, one run each.\n\n" + table(head, lines)


def occupancy(plan: Plan) -> str:
    """How full eight slots are while files of mixed length still wait."""
    lengths = [1 + (7 * index) % 6 for index in range(24)]
    tokens = 16 if plan.quick else 64
    model, files = checkpoint("tiny", tokens), sound_files(AUDIO, lengths, first_seed=300)
    (measured,) = measure([row("wat", model, files, sum(lengths), tokens, plan)], _warm_up(), 1)
    if not measured.counts:
        return f"disqualified: {measured.fault}"
    extra = measured.runs[-1].heard.extra
    until, whole = extra["mean_slots_until_last"] / BATCH, extra["mean_slots"] / BATCH
    said = f"tiny, {len(lengths)} files of 1 to 6 windows, {sum(lengths)} in all of {tokens} tokens; {BATCH} slots:"
    reached = "reached" if until >= 0.85 else "missed"
    return (
        f"{said} {100 * until:.0f} % of the slots took part in a decoder step until the last file had its slot "
        f"(asked: at least 85 %, {reached}); {100 * whole:.0f} % over the whole run."
    )


def parts(plan: Plan) -> str:
    """Where wat's time goes, and how near its two large parts are to what the machine can do."""
    from wat_cli.model.products import has_fbgemm

    weight_bytes = 2 if has_fbgemm() else 4
    lines = []
    for size in plan.sizes:
        model, files = checkpoint(size, plan.tokens), plan.sounds()
        windows = plan.files * plan.windows
        before = measured_limits(plan.threads)
        (one,) = measure([row("wat", model, files, windows, plan.tokens, plan)], _warm_up(), plan.rounds, plan.deadline)
        after = measured_limits(plan.threads)
        if not one.counts:
            lines.append([size, f"disqualified: {one.fault}", "", "", "", ""])
            continue
        run = sorted(one.runs, key=lambda run: run.seconds)[len(one.runs) // 2]
        told = run.heard.extra
        asked = {
            "encoding": encoder_operations(SIZES[size]) * windows,
            "stepping": step_bytes(SIZES[size], told["mean_slots"], weight_bytes) * told["steps"],
        }
        limits = {
            "encoding": (f"{WORK['encoding']}/s", (before.products + after.products) / 2),
            "stepping": (f"{WORK['stepping']}/s", (before.reading + after.reading) / 2),
        }
        spent = {name: told[f"seconds_{name}"] for name in PARTS if name != "rest"}
        spent["rest"] = run.seconds - sum(spent.values())
        for name, words in PARTS.items():
            line = [f"{size}: {words}", f"{spent[name]:.2f}", f"{100 * spent[name] / run.seconds:.0f} %"]
            if name in asked:
                unit, limit = limits[name]
                rate = asked[name] / spent[name] / 1e9
                line += [f"{rate:.0f} {unit}", f"{limit:.0f} {unit}", f"{100 * rate / limit:.0f} %"]
            lines.append([*line, *[""] * (6 - len(line))])
    head = ["", "seconds", "of the run", "rate", "the machine's", "of the machine's"]
    return (
        f"The row 'wat exact', {plan.files} files of {plan.windows} windows, the median of {plan.rounds} runs. The "
        f"machine's rates are those of one large float32 product and of reading 400 MB, before and after, in as many "
        f"threads. What a step must read: weights once (in {8 * weight_bytes} bits), each window's keys and values in "
        f"float32.\n\n" + table(head, lines)
    )


def _speed_section(size: str) -> Section:
    return Section(f"speed-{size}", f"Speed: {size}", lambda plan: speed(plan, size))


def gpu(plan: Plan) -> str:
    """Every program that computes on the device, on many files, greedy, with timestamps."""
    size = plan.sizes[0]
    model, files = checkpoint(size, plan.tokens), plan.sounds()
    windows = plan.files * plan.windows
    rows = [row(key, model, files, windows, plan.tokens, plan, GPU_KINDS) for key in GPU_KINDS]
    measured = measure(rows, _warm_up(), plan.rounds, plan.deadline)
    batched = [one for one in measured if one.row.key.startswith("transformers") and one.counts]
    goals = [Goal("openai", "wat", 15)]
    if batched:
        goals.append(Goal(min(batched, key=lambda one: one.median).row.key, "wat", 3))
    head = f"{size}, {plan.files} files of {plan.windows} windows, on {plan.device}.\n\n"
    return head + speed_table(measured, "openai") + "\n\n" + goal_table(measured, goals) + _of_the_limit(measured, size)


def _of_the_limit(measured: Sequence[Measured], size: str) -> str:
    mine = by_key(measured)["wat"]
    if not size.startswith("large") or not mine.counts:
        return ""
    reached = FLOOR * mine.row.windows / mine.median
    limit = f"an H100 at its limits takes {1000 * FLOOR:.1f} ms for a window"
    return f"\n\nwat's speed is {reached:.2f} of the limit (asked: 0.4): {limit}."


SECTIONS = {
    section.key: section
    for section in (
        Section("settings", "The peers' best settings", settings),
        *(_speed_section(size) for size in ("tiny", "base", "small")),
        Section("beams", "Five beams", beams),
        Section("no-timestamps", "The peers without timestamps", without_timestamps),
        Section("long", "One long file", long_file),
        Section("text", "Real text", text),
        Section("start", "Cold start", cold_start),
        Section("memory", "Memory against the length of the file", memory),
        Section("slots", "Slots and files", slots),
        Section("occupancy", "Slot occupancy", occupancy),
        Section("parts", "Where wat's time goes", parts),
        Section("gpu", "One GPU", gpu),
    )
}
"""All parts, in the order in which they stand in the results."""
