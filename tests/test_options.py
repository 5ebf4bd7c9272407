"""The options: one declaration each, and openai-whisper's own among them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from wat_cli.cli.caption import GROUPS
from wat_cli.cli.parameters import familiar, option_name, option_type
from wat_cli.errors import UsageError
from wat_cli.languages import CODES, LANGUAGES
from wat_cli.options import (
    WHISPER_DIFFERENCES,
    BatchOptions,
    CaptionOptions,
    ModelOptions,
    OutputOptions,
    RunOptions,
    TagOptions,
    TranscribeOptions,
)


@pytest.fixture(scope="module")
def whisper_options() -> dict[str, argparse.Action]:
    """openai-whisper's own parser, caught when its command line is about to parse."""
    transcribe = pytest.importorskip("whisper.transcribe")
    caught: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, *_: Any) -> None:
        caught.append(parser)
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", catch)
        with pytest.raises(InterruptedError):
            transcribe.cli()
    return {action.dest: action for action in caught[0]._actions if action.dest not in ("help", "audio")}


def our_fields() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for group in GROUPS for field in dataclasses.fields(group)}


def test_every_option_of_whisper_is_here_with_its_default(whisper_options: dict[str, argparse.Action]) -> None:
    ours = our_fields()
    assert set(whisper_options) <= set(ours)
    differing = {name for name, action in whisper_options.items() if ours[name].default != action.default}
    assert differing == set(WHISPER_DIFFERENCES)


def test_options_of_whisper_have_its_choices_and_short_names(whisper_options: dict[str, argparse.Action]) -> None:
    ours = our_fields()
    for name, action in whisper_options.items():
        if action.choices and name not in ("language", *WHISPER_DIFFERENCES):
            assert tuple(action.choices) == ours[name].metadata["choices"]
        shorts = [text for text in action.option_strings if not text.startswith("--")]
        assert shorts == ([ours[name].metadata["short"]] if shorts else [])
    assert set(whisper_options["output_format"].choices or ()) == {*OutputOptions(output_format="all").formats, "all"}


def test_options_of_whisper_take_values_of_its_types(whisper_options: dict[str, argparse.Action]) -> None:
    hints = {name: kind for group in GROUPS for name, kind in get_type_hints(group).items()}
    kinds = {"str2bool": bool, "optional_int": int, "optional_float": float, "int": int, "float": float, "str": str}
    for name, action in whisper_options.items():
        if action.type is not None and name not in ("model_dir", "model", "output_dir", "threads"):
            assert option_type(hints[name])[0] is kinds[action.type.__name__], name


def test_language_table_is_whispers() -> None:
    tokenizer = pytest.importorskip("whisper.tokenizer")
    assert list(LANGUAGES.items()) == list(tokenizer.LANGUAGES.items())
    assert tokenizer.TO_LANGUAGE_CODE == CODES


@pytest.mark.parametrize("text", ["de", "German", "german", "DE"])
def test_a_language_is_known_by_code_and_name(text: str) -> None:
    assert TranscribeOptions(language=text).language == "de"


def test_no_two_options_share_a_name() -> None:
    names = [field.name for group in GROUPS for field in dataclasses.fields(group)]
    assert len(names) == len(set(names))
    shorts = [field.metadata["short"] for field in our_fields().values() if field.metadata["short"]]
    assert len(shorts) == len(set(shorts))


def test_every_option_says_what_it_does() -> None:
    for field in our_fields().values():
        assert field.metadata["help"].endswith((".", ")")), field.name
        assert field.metadata["panel"]


# --- spellings -------------------------------------------------------------------------------------------------------

SWITCHES = {"--word-timestamps": "--no-word-timestamps", "--tags": "--no-tags"}
VALUED = {"--initial-prompt", "--output-dir", "-o", "--beam-size"}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["--word_timestamps", "True", "a.mp4"], ["--word-timestamps", "a.mp4"]),
        (["--word_timestamps", "False", "a.mp4"], ["--no-word-timestamps", "a.mp4"]),
        (["--word-timestamps=False"], ["--no-word-timestamps"]),
        (["--word-timestamps", "a.mp4"], ["--word-timestamps", "a.mp4"]),
        (["--no_tags", "a.mp4"], ["--no-tags", "a.mp4"]),
        (["--beam_size", "None"], ["--beam-size", "None"]),
        (["--beam_size=3"], ["--beam-size=3"]),
        # a value stays what it is, whatever it looks like
        (["--initial_prompt", "--word_timestamps", "True"], ["--initial-prompt", "--word_timestamps", "True"]),
        (["-o", "--tags", "x_y"], ["-o", "--tags", "x_y"]),
        # a path stays what it is, a switch without its dashes too
        (["my_file.mp4", "True"], ["my_file.mp4", "True"]),
        # after -- everything is a path
        (["--tags", "--", "--word_timestamps", "False"], ["--tags", "--", "--word_timestamps", "False"]),
        # what no one knows is left for the parser to complain about
        (["--no_such_thing", "1"], ["--no_such_thing", "1"]),
        (["--tags"], ["--tags"]),
        (["--beam_size"], ["--beam-size"]),
    ],
)
def test_whispers_spellings_are_read(given: list[str], read: list[str]) -> None:
    assert familiar(given, SWITCHES, VALUED) == read


def test_a_switch_takes_no_other_value() -> None:
    with pytest.raises(UsageError, match="True or False"):
        familiar(["--tags=maybe"], SWITCHES, VALUED)


@pytest.mark.parametrize("tokens", ["-1", "", "0, 51865", "-1,220"])
def test_token_ids_by_comma_are_taken(tokens: str) -> None:
    assert TranscribeOptions(suppress_tokens=tokens, patience=0.2, length_penalty=1.0).suppress_tokens == tokens


def test_names_are_hyphenated() -> None:
    assert option_name("no_speech_threshold") == "--no-speech-threshold"


# --- checks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: TranscribeOptions(language="Klingon"),
        lambda: TranscribeOptions(task="sing"),
        lambda: TranscribeOptions(patience=2.0, beam_size=None),
        lambda: TranscribeOptions(patience=0.0),
        lambda: TranscribeOptions(patience=0.05),
        lambda: TranscribeOptions(patience=float("nan")),
        lambda: TranscribeOptions(beam_size=0),
        lambda: TranscribeOptions(best_of=0),
        lambda: TranscribeOptions(length_penalty=1.5),
        lambda: TranscribeOptions(suppress_tokens="x"),
        lambda: TranscribeOptions(suppress_tokens="1,,2"),
        lambda: TranscribeOptions(suppress_tokens="51866"),
        lambda: TagOptions(tags_threshold=1.5),
        lambda: TagOptions(sounds="loud"),
        lambda: ModelOptions(threads=-1),
        lambda: CaptionOptions(max_line_width=2),
        lambda: OutputOptions(output_format="srt,doc"),
        lambda: OutputOptions(output_format=","),
        lambda: OutputOptions(output_dir=Path("-")),
        lambda: RunOptions(captions=CaptionOptions(highlight_words=True)),
        lambda: RunOptions(transcribe=TranscribeOptions(hallucination_silence_threshold=2.0)),
    ],
)
def test_what_cannot_be_is_said_at_once(make: Any) -> None:
    with pytest.raises(UsageError, match="--"):
        make()


def test_formats_are_ordered_and_single() -> None:
    assert OutputOptions(output_format="VTT, srt,vtt").formats == ("srt", "vtt")
    assert OutputOptions(output_format="all").formats == ("srt", "vtt", "txt", "tsv", "json")


def test_settings_hold_what_decides_the_result_and_nothing_else() -> None:
    settings = RunOptions().settings
    assert {"beam_size", "language", "tags_threshold", "style", "audio_track", "seed"} <= set(settings)
    assert not {"output_dir", "overwrite", "quiet", "threads", "offline", "model_dir", "device"} & set(settings)


def test_options_of_a_batch_do_not_change_the_result() -> None:
    assert RunOptions(batch=BatchOptions(verbose=True)).settings == RunOptions().settings


def test_temperatures_are_those_of_whispers_command_line() -> None:
    numpy = pytest.importorskip("numpy")
    expected = tuple(numpy.arange(0.0, 1.0 + 1e-6, 0.2))
    assert TranscribeOptions().temperatures == pytest.approx(expected)
    assert TranscribeOptions(temperature_increment_on_fallback=None).temperatures == (0.0,)
