"""The ffmpeg boundary, on files that ffmpeg makes here; `whisper.load_audio` and numpy say what is right."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from stress.broken_media import make_mutants
from wat_cli.errors import FFmpegMissing, MediaError, NoAudioTrack, OutputError, UndecodableMedia, UsageError
from wat_cli.media import (
    SAMPLE_RATE,
    AudioStream,
    FFmpeg,
    MediaInfo,
    PcmSpool,
    SubtitleStream,
    choose_track,
    decode_pcm,
    decoding,
    find_ffmpeg,
    holds_audio,
    probe,
    process,
)

NOISE = ("-f", "lavfi", "-i", "aevalsrc='0.3*sin(2*PI*(300+40*t)*t)+0.1*random(0)|0.2*sin(2*PI*150*t)':s=44100:d=3")
TONE = ("-f", "lavfi", "-i", "sine=440:d=3:sample_rate=44100")
PICTURE = ("-f", "lavfi", "-i", "testsrc=d=4:s=64x48:r=25")
MPEG4 = ("-c:v", "mpeg4")

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a file with ffmpeg, once for the module."""
    folder = tmp_path_factory.mktemp("media")
    program = find_ffmpeg().ffmpeg

    def make(name: str, *arguments: str) -> Path:
        path = folder / name
        if not path.exists():
            subprocess.run([program, "-v", "error", "-y", *arguments, f"file:{path}"], check=True, cwd=folder)
        return path

    return make


def programs(name: str) -> FFmpeg:
    if name == "imageio":
        return FFmpeg(imageio_ffmpeg.get_ffmpeg_exe(), None)
    ffmpeg, ffprobe = shutil.which("ffmpeg"), shutil.which("ffprobe")
    if not ffmpeg or not ffprobe:
        pytest.skip("no ffmpeg and ffprobe are installed")
    return FFmpeg(ffmpeg, ffprobe if name == "ffprobe" else None)


@pytest.fixture(params=["ffprobe", "imageio"])
def tools(request: pytest.FixtureRequest) -> FFmpeg:
    """The installed ffmpeg with its ffprobe, and the ffmpeg in imageio-ffmpeg's wheel, which brings none."""
    return programs(request.param)


@pytest.fixture(params=["ffprobe", "report", "imageio"])
def probes(request: pytest.FixtureRequest) -> FFmpeg:
    """Each way to probe: ffprobe, the report of the same ffmpeg, the report of the one in imageio-ffmpeg's wheel."""
    return programs(request.param)


def decoded(path: Path, tools: FFmpeg | None = None, wanted: str | None = None) -> NDArray[np.int16]:
    info = probe(path, tools)
    return np.concatenate(list(decode_pcm(info, choose_track(info, wanted), tools)))


def whisper_audio(path: Path, tools: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.float32]:
    """What openai-whisper reads, with the same ffmpeg."""
    from whisper.audio import load_audio

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ffmpeg").symlink_to(tools.ffmpeg)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    audio: NDArray[np.float32] = load_audio(str(path))
    return audio


def onsets(samples: NDArray[np.int16]) -> list[float]:
    """Seconds at which sound starts and stops, to 10 ms."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud = np.concatenate([[False], np.abs(frames.astype(int)).max(axis=1) > 500, [False]])
    return [float(step) / 100 for step in np.flatnonzero(np.diff(loud.astype(int)))]


# --- find -------------------------------------------------------------------------------------------------------------


def test_ffmpeg_on_the_path_comes_before_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ffmpeg", "ffprobe"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() == FFmpeg(str(tmp_path / "ffmpeg"), str(tmp_path / "ffprobe"))


def test_without_ffmpeg_on_the_path_the_wheels_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = find_ffmpeg()
    assert found.ffprobe is None
    assert Path(found.ffmpeg).is_file()


def test_with_no_ffmpeg_at_all_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(FFmpegMissing, match="install"):
        find_ffmpeg()


# --- probe ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_tracks(made: Make) -> Path:
    """English first, German flagged as default and starting 1.5 s late, subtitles in French and in no language."""
    subtitles = made("cue.srt", *TONE, "-t", "0.1", "-f", "data", "-map", "0", "-c", "copy").with_name("words.srt")
    subtitles.write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    # fmt: off
    return made(
        "two.mkv", *PICTURE, *NOISE, "-itsoffset", "1.5", *TONE, "-i", str(subtitles),
        "-map", "0:v", "-map", "1:a", "-map", "2:a", "-map", "3:s", "-map", "3:s",
        *MPEG4, "-c:a:0", "flac", "-c:a:1", "libmp3lame", "-c:s", "srt",
        "-metadata:s:a:0", "language=eng", "-disposition:a:0", "0", "-disposition:a:1", "default",
        "-metadata:s:a:1", "language=ger", "-metadata:s:a:1", "title=Stream #0: Kommentar",
        "-metadata:s:s:0", "language=fre", "-disposition:s:1", "forced",
    )
    # fmt: on


def test_probe_describes_streams(two_tracks: Path, probes: FFmpeg) -> None:
    info = probe(two_tracks, probes)
    english, german = info.audio
    assert (english.index, english.codec, english.language, english.title) == (1, "flac", "eng", None)
    assert (english.channels, english.sample_rate, english.default) == (2, 44100, False)
    assert (german.index, german.codec, german.language, german.title) == (2, "mp3", "ger", "Stream #0: Kommentar")
    assert (german.channels, german.sample_rate, german.default) == (1, 44100, True)
    assert english.start == pytest.approx(0.0, abs=0.05)
    assert german.start == pytest.approx(1.5, abs=0.05)
    assert info.start == 0.0
    assert info.duration == pytest.approx(4.5, abs=0.1)
    assert info.has_video and info.certain
    assert "matroska" in info.format_name
    assert info.subtitles == (SubtitleStream("fre"), SubtitleStream(None, forced=True))


@pytest.mark.parametrize(
    ("name", "arguments", "duration"),
    [
        ("plain.wav", NOISE, 3.0),
        ("plain.flac", NOISE, 3.0),
        ("plain.mp3", NOISE, 3.0),
        ("plain.ts", (*PICTURE, *NOISE, "-c:v", "mpeg2video", "-c:a", "mp2"), 4.0),
        ("plain.mp4", (*PICTURE, *NOISE, *MPEG4, "-c:a", "aac"), 4.0),
    ],
)
def test_probe_knows_durations(
    made: Make, probes: FFmpeg, name: str, arguments: tuple[str, ...], duration: float
) -> None:
    info = probe(made(name, *arguments), probes)
    assert info.duration == pytest.approx(duration, abs=0.1)
    assert len(info.audio) == 1
    assert info.audio[0].channels == 2
    assert info.has_video == (duration == 4.0)


def test_cover_art_is_no_film(made: Make, probes: FFmpeg) -> None:
    image = made("cover.png", *PICTURE, "-frames:v", "1")
    song = made("song.mp3", *NOISE, "-i", str(image), "-map", "0", "-map", "1", "-disposition:v", "attached_pic")
    info = probe(song, probes)
    assert not info.has_video
    assert len(info.audio) == 1


def test_5_1_has_six_channels(made: Make, probes: FFmpeg) -> None:
    assert probe(made("surround.ac3", *NOISE, "-ac", "6"), probes).audio[0].channels == 6


def test_a_film_without_sound_is_media(made: Make, tools: FFmpeg) -> None:
    info = probe(made("silent.mp4", *PICTURE, *MPEG4), tools)
    assert info.audio == ()
    assert info.has_video
    with pytest.raises(NoAudioTrack, match="silent.mp4: no audio track"):
        choose_track(info)


@pytest.mark.parametrize("content", [b"", b"hello, this is no film\n", bytes(100_000), b"\x00\x00\x00\x18ftypmp42" * 9])
def test_what_is_no_media_is_refused_with_a_reason(tmp_path: Path, tools: FFmpeg, content: bytes) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(UndecodableMedia, match=r"broken\.mp4: .") as caught:
        probe(path, tools)
    assert "0x" not in str(caught.value)
    assert ("0 bytes" in str(caught.value)) == (content == b"")


def test_paths_that_are_no_files_are_refused(tmp_path: Path, tools: FFmpeg) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, why in (
        (tmp_path / "gone.mp4", "no such file"),
        (tmp_path, "regular"),
        (tmp_path / "pipe.mp4", "regular"),
    ):
        with pytest.raises(UndecodableMedia, match=why):
            probe(path, tools)


def test_an_absurd_duration_is_as_none(made: Make, tmp_path: Path, tools: FFmpeg) -> None:
    data = bytearray(made("plain.mka", *NOISE, "-c:a", "flac").read_bytes())
    at = data.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a float64
    data[at : at + 8] = np.array([1e15], dtype=">f8").tobytes()
    path = tmp_path / "absurd.mka"
    path.write_bytes(data)
    assert probe(path, tools).duration is None
    assert len(decoded(path, tools)) == 3 * SAMPLE_RATE


def test_holds_audio(made: Make, tmp_path: Path, tools: FFmpeg) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(np.random.default_rng(1).bytes(50_000))
    shutil.copy(made("plain.mp3", *NOISE), tmp_path / "unnamed")
    assert holds_audio(tmp_path / "unnamed", tools)
    assert not holds_audio(noise, tools)
    assert not holds_audio(made("silent.mp4", *PICTURE, *MPEG4), tools)


AWKWARD_NAMES = [
    b"two\nlines.wav",
    b"quo'te\"d `$(touch x)`.wav",
    b"-i.wav",
    b"caf\xe9 \xff.wav",
    b"concat:a|b.wav",
    b"http:__example.wav",
    b"100%d %s.wav",
    b"x.wav':\n  Stream #0:7(fra): Audio: flac, 8000 Hz, mono\n.wav",
    b"n" * 251 + b".wav",
]


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_any_file_name_will_do(
    made: Make, tmp_path: Path, tools: FFmpeg, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = made("plain.wav", *NOISE)
    monkeypatch.chdir(tmp_path)
    path = Path(os.fsdecode(name))  # relative: the name itself reaches the command line
    shutil.copy(original, path)
    info = probe(path, tools)
    assert [stream.codec for stream in info.audio] == ["pcm_s16le"]
    np.testing.assert_array_equal(decoded(path, tools), decoded(original, tools))
    assert [os.fsencode(entry.name) for entry in tmp_path.iterdir()] == [name]
    path.write_bytes(b"text")
    with pytest.raises(UndecodableMedia) as caught:
        probe(path, tools)
    assert str(caught.value).isprintable()


# --- choose a track ---------------------------------------------------------------------------------------------------


def media(*tracks: tuple[str | None, bool]) -> MediaInfo:
    audio = tuple(
        AudioStream(index + 1, "aac", language, None, default, 0.0, None, 2, 48000)
        for index, (language, default) in enumerate(tracks)
    )
    return MediaInfo(Path("film.mkv"), 60.0, 0.0, "matroska,webm", audio, True, ())


FOUR = media(("eng", False), ("ger", True), ("deu", False), (None, False))


@pytest.mark.parametrize(
    ("info", "wanted", "index"),
    [
        (FOUR, None, 2),
        (media(("eng", False), ("ger", False)), None, 1),
        (media(("eng", True), ("ger", True)), None, 1),
        (FOUR, "0", 1),
        (FOUR, "3", 4),
        (FOUR, "en", 1),
        (FOUR, "ENG", 1),
        (FOUR, "de", 2),
        (FOUR, "deu", 2),
        (FOUR, "de-AT", 2),
        (media(("eng", True), ("deu", False), ("ger", False)), "ger", 2),
    ],
)
def test_the_wanted_track_is_chosen(info: MediaInfo, wanted: str | None, index: int) -> None:
    assert choose_track(info, wanted).index == index


@pytest.mark.parametrize("wanted", ["4", "fr", "99999999999999999999"])
def test_a_missing_track_is_told_with_those_there_are(wanted: str) -> None:
    with pytest.raises(MediaError, match=r"film\.mkv: .*0: eng.*1: ger .*default.*3: no language") as caught:
        choose_track(FOUR, wanted)
    assert not isinstance(caught.value, NoAudioTrack)


@pytest.mark.parametrize("wanted", ["", "-1", "English please", "1.5"])
def test_what_is_neither_number_nor_language_is_a_usage_error(wanted: str) -> None:
    with pytest.raises(UsageError, match="--audio-track"):
        choose_track(FOUR, wanted)


# --- decode -----------------------------------------------------------------------------------------------------------

EXACT = {
    "exact.wav": NOISE,
    "mono16k.wav": (*NOISE, "-ac", "1", "-ar", "16000"),
    "96k.flac": (*NOISE, "-ar", "96000"),
    "vbr.mp3": (*NOISE, "-q:a", "5"),
    "8k.mp3": (*NOISE, "-ar", "8000"),
    "noxing.mp3": (*NOISE, "-write_xing", "0"),
    "exact.m4a": NOISE,
    "8k.m4a": (*NOISE, "-ar", "8000"),
    "exact.aac": NOISE,
    "exact.opus": (*NOISE, "-c:a", "libopus"),
    "exact.mka": (*NOISE, "-c:a", "libopus"),
    "surround.ac3": (*NOISE, "-ac", "6"),
    "exact.mp4": (*PICTURE, *NOISE, *MPEG4, "-c:a", "aac"),
    "exact.mkv": (*PICTURE, *NOISE, *MPEG4, "-c:a", "aac"),
    "exact.avi": (*PICTURE, *NOISE, *MPEG4, "-c:a", "libmp3lame"),
    "exact.ts": (*PICTURE, *NOISE, "-c:v", "mpeg2video", "-c:a", "mp2"),
    "exact.flv": (*PICTURE, *NOISE, "-c:v", "flv", "-c:a", "aac"),
    "exact.wma": (*NOISE, "-c:a", "wmav2"),
}


@pytest.mark.parametrize("name", EXACT)
def test_samples_are_whispers(
    made: Make, tools: FFmpeg, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(name, *EXACT[name])
    samples = decoded(path, tools)
    np.testing.assert_array_equal(samples / np.float32(32768), whisper_audio(path, tools, tmp_path, monkeypatch))
    assert len(samples) > 2.9 * SAMPLE_RATE


@pytest.mark.parametrize("name", ["exact.mkv", "exact.ts", "vbr.mp3", "96k.flac", "exact.avi"])
def test_a_truncated_file_gives_what_is_there(
    made: Make, tools: FFmpeg, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(name, *EXACT[name]).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) * 2 // 3])
    samples = decoded(path, tools)
    np.testing.assert_array_equal(samples / np.float32(32768), whisper_audio(path, tools, tmp_path, monkeypatch))
    assert 1 * SAMPLE_RATE < len(samples) < 2.9 * SAMPLE_RATE


def test_joined_transport_streams_have_no_hole(
    made: Make, tools: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = made("exact.ts", *EXACT["exact.ts"]).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(part + part)
    samples = decoded(path, tools)
    np.testing.assert_array_equal(samples / np.float32(32768), whisper_audio(path, tools, tmp_path, monkeypatch))


LATE = {
    "late.mkv": (*MPEG4, "-c:a", "aac"),
    "late.mp4": (*MPEG4, "-c:a", "aac"),  # an empty edit
    "late.ts": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "late.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
}


@pytest.mark.parametrize("name", LATE)
def test_a_late_start_is_kept(made: Make, tools: FFmpeg, name: str) -> None:
    arguments = (*PICTURE, "-itsoffset", "1.98", *TONE, "-map", "0:v", "-map", "1:a", *LATE[name])
    samples = decoded(made(name, *arguments), tools)
    assert onsets(samples)[0] == pytest.approx(1.98, abs=0.05)
    assert len(samples) == pytest.approx(4.98 * SAMPLE_RATE, abs=0.05 * SAMPLE_RATE)
    assert not samples[: int(1.9 * SAMPLE_RATE)].any()


def test_a_start_within_the_tolerance_is_not_touched(
    made: Make, tools: FFmpeg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (*PICTURE, "-itsoffset", "0.08", *NOISE, "-map", "0:v", "-map", "1:a", *MPEG4, "-c:a", "flac")
    path = made("soon.mkv", *arguments)
    np.testing.assert_array_equal(
        decoded(path, tools) / np.float32(32768), whisper_audio(path, tools, tmp_path, monkeypatch)
    )


def test_a_sound_file_that_starts_late_as_a_whole_starts_at_zero(made: Make, tools: FFmpeg) -> None:
    path = made("whole.mka", "-itsoffset", "5", *TONE, "-c:a", "flac")
    assert probe(path, tools).start == pytest.approx(5, abs=0.01)
    assert len(decoded(path, tools)) == 3 * SAMPLE_RATE


GAPPED = {
    "gap.mkv": (*MPEG4, "-c:a", "aac"),
    "gap.mp4": (*MPEG4, "-c:a", "aac"),
    "gap.ts": ("-c:v", "mpeg2video", "-c:a", "mp2"),
    "gap.webm": ("-c:v", "libvpx", "-c:a", "libopus"),
}


@pytest.mark.parametrize("hole", [(1.0, 1.2), (1.0, 14.0)])
@pytest.mark.parametrize("name", GAPPED)
def test_a_gap_is_filled(made: Make, tools: FFmpeg, name: str, hole: tuple[float, float]) -> None:
    start, end = hole
    sound = ("-f", "lavfi", "-i", "sine=440:d=16:sample_rate=44100")
    picture = ("-f", "lavfi", "-i", "testsrc=d=16:s=64x48:r=25")
    cut = ("-af", f"aselect='not(between(t,{start},{end}))'")
    samples = decoded(made(f"{end}{name}", *picture, *sound, *cut, *GAPPED[name]), tools)
    stops, starts = onsets(samples)[-3:-1]
    assert stops == pytest.approx(start, abs=0.08)
    assert starts == pytest.approx(end, abs=0.08)
    assert len(samples) == pytest.approx(16 * SAMPLE_RATE, abs=0.06 * SAMPLE_RATE)


def test_small_gaps_are_filled_once_they_make_a_tenth_of_a_second(made: Make, tools: FFmpeg) -> None:
    # a hole of 40 ms in each half second: the clock is never 0.1 s off, nor filled after each hole
    sound = ("-f", "lavfi", "-i", "sine=440:d=10:sample_rate=44100:samples_per_frame=441")
    path = made("holes.mka", *sound, "-af", "aselect='gte(mod(t,0.5),0.04)'", "-c:a", "pcm_s16le")
    info = probe(path, tools)
    chunks = list(decode_pcm(info, info.audio[0], tools))
    silences = [len(chunk) / SAMPLE_RATE for chunk in chunks if not chunk.any()]
    assert all(0.1 <= silence < 0.15 for silence in silences)
    assert len(silences) == 6
    assert sum(map(len, chunks)) == pytest.approx(10 * SAMPLE_RATE, abs=0.12 * SAMPLE_RATE)


def test_the_chosen_track_is_decoded(two_tracks: Path, tools: FFmpeg) -> None:
    english, german = decoded(two_tracks, tools, "0"), decoded(two_tracks, tools)
    assert len(english) == 3 * SAMPLE_RATE
    assert onsets(german)[0] == pytest.approx(1.5, abs=0.05)


def test_a_header_without_sound_is_refused(made: Make, tmp_path: Path, tools: FFmpeg) -> None:
    path = tmp_path / "hollow.wav"
    path.write_bytes(made("plain.wav", *NOISE).read_bytes()[:78])
    info = probe(path, tools)
    with pytest.raises(UndecodableMedia, match=r"hollow\.wav: .*"):
        list(decode_pcm(info, choose_track(info), tools))


def test_hours_of_claimed_silence_are_refused(made: Make, tools: FFmpeg) -> None:
    path = made("holed.mka", *TONE, "-af", "asetpts='PTS+gt(T,2)*20000/TB'", "-c:a", "flac")
    info = probe(path, tools)
    got = []
    with pytest.raises(UndecodableMedia, match="holes of over 4 hours"):
        for chunk in decode_pcm(info, choose_track(info), tools):
            got.append(len(chunk))
    assert sum(got) < 3 * SAMPLE_RATE


def test_endless_audio_is_refused(made: Make, tools: FFmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LONGEST", 2)
    info = probe(made("plain.flac", *NOISE), tools)
    with pytest.raises(UndecodableMedia, match="split it"):
        list(decode_pcm(info, choose_track(info), tools))


def test_memory_does_not_grow_with_the_file(made: Make) -> None:
    info = probe(made("long.flac", "-f", "lavfi", "-i", "sine=440:d=600:sample_rate=16000"))
    tracemalloc.start()
    try:
        with PcmSpool(info.duration) as spool:
            for chunk in decode_pcm(info, info.audio[0]):
                spool.append(chunk)
            assert spool.samples == 600 * SAMPLE_RATE
            assert tracemalloc.get_traced_memory()[1] < 2e6  # the whole file takes 19.2 MB
    finally:
        tracemalloc.stop()


# --- untrusted --------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port that notes who comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="0" '
    'bandwidth="9"><BaseURL>{target}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>',
}


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("hls", ".mp4"), ("hls", ".m3u8"), ("concat", ".mp4"), ("sdp", ".sdp"), ("dash", ".mpd"), ("dash", "")],
)
@pytest.mark.parametrize("where", ["file", "network"])
def test_a_playlist_is_no_media(
    made: Make, tmp_path: Path, tools: FFmpeg, listener: socket.socket, kind: str, suffix: str, where: str
) -> None:
    port = listener.getsockname()[1]
    shutil.copy(made("exact.ts", *EXACT["exact.ts"]), tmp_path / "secret.ts")
    target = "secret.ts" if where == "file" else f"http://127.0.0.1:{port}/x.ts"
    path = tmp_path / f"evil{suffix}"
    path.write_text(PLAYLISTS[kind].format(target=target, port=port))
    with pytest.raises(UndecodableMedia):
        probe(path, tools)
    # nor when it is put in place after the probe
    info = MediaInfo(path, 3.0, 0.0, "mpegts", FOUR.audio, True, ())
    with pytest.raises(UndecodableMedia):
        list(decode_pcm(info, info.audio[0], tools))
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_formats_that_open_other_files_are_not_allowed() -> None:
    refused = {
        "hls", "applehttp", "dash", "concat", "imf", "sdp", "rtp", "rtsp", "sap", "image2", "image2pipe", "vobsub",
        "mlv", "webm_dash_manifest", "avisynth", "vapoursynth", "lavfi", "sbg", "dvdvideo", "libcdio", "ffmetadata",
        "tty", "srt",
    }  # fmt: skip
    assert not refused & set(process.FORMATS)


def test_the_allowed_formats_are_ffmpegs_own_names(tools: FFmpeg) -> None:
    listing = subprocess.run([tools.ffmpeg, "-hide_banner", "-demuxers"], capture_output=True, text=True, check=True)
    known = {name for found in re.findall(r"^ D\S*\s*(\S+)", listing.stdout, re.MULTILINE) for name in found.split(",")}
    assert {"mov", "matroska", "mpegts", "mp3", "flac", "wav", "ogg", "avi", "asf", "mpeg"} <= known & set(
        process.FORMATS
    )
    # what a build lacks comes from other versions of ffmpeg; most are in every one
    assert len(known & set(process.FORMATS)) > 0.9 * len(process.FORMATS)


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that the room starts."""
    processes: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            processes.append(self)

    monkeypatch.setattr(process.subprocess, "Popen", Recorded)
    return processes


def test_closing_the_stream_ends_ffmpeg(made: Make, tools: FFmpeg, started: list[subprocess.Popen[bytes]]) -> None:
    info = probe(made("long.flac", "-f", "lavfi", "-i", "sine=440:d=600:sample_rate=16000"), tools)
    started.clear()
    chunks = decode_pcm(info, info.audio[0], tools)
    assert started == []  # nothing runs before it is asked for
    next(chunks)
    (ffmpeg,) = started
    assert ffmpeg.poll() is None
    chunks.close()  # type: ignore[attr-defined]
    assert ffmpeg.returncode == -9


def test_no_handle_is_left_open(made: Make, tmp_path: Path, tools: FFmpeg) -> None:
    good, bad = made("plain.wav", *NOISE), tmp_path / "bad.mp4"
    bad.write_bytes(b"text")
    handles = Path("/proc/self/fd")
    if not handles.is_dir():
        pytest.skip("needs /proc")
    before = len(list(handles.iterdir()))
    for _ in range(5):
        info = probe(good, tools)
        next(decode_pcm(info, info.audio[0], tools)).sum()
        with pytest.raises(UndecodableMedia):
            probe(bad, tools)
        with PcmSpool(1.0) as spool:
            spool.append(np.zeros(9, dtype=np.int16))
    assert len(list(handles.iterdir())) == before


def program(path: Path, script: str) -> FFmpeg:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return FFmpeg(str(path), None)


def test_ffmpeg_that_hangs_is_ended(
    made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[bytes]]
) -> None:
    path = made("plain.wav", *NOISE)
    hanging = program(tmp_path / "ffmpeg", "while true; do echo still here >&2; sleep 0.05; done")
    monkeypatch.setattr(process, "patience", lambda size: 0.3)
    with pytest.raises(UndecodableMedia, match=r"plain\.wav: ffmpeg gave nothing"):
        probe(path, hanging)
    assert started[-1].returncode == -9


def test_patience_grows_with_the_file() -> None:
    assert process.patience(0) >= 30
    assert process.patience(100_000_000_000) > 1000


def test_a_failure_keeps_the_end_of_what_ffmpeg_said(made: Make, tmp_path: Path) -> None:
    path = made("plain.wav", *NOISE)
    script = "yes '[aac @ 0x55d0c0ffee] channel element 3.9 is not allocated' | head -c 5000000 >&2\n"
    failing = program(tmp_path / "ffmpeg", script + "printf 'first\\033[31m\\nConversion failed!\\n' >&2\nexit 1")
    info = probe(path)
    with pytest.raises(UndecodableMedia) as caught:
        list(decode_pcm(info, info.audio[0], failing))
    message = str(caught.value)
    assert "[aac] channel element 3.9 is not allocated | " in message
    assert message.endswith("first\\x1b[31m | Conversion failed!")
    assert len(message) < 1000


def test_what_was_decoded_before_a_failure_is_given(made: Make, tmp_path: Path, tools: FFmpeg) -> None:
    path = made("plain.wav", *NOISE)
    info = probe(path, tools)
    failing = program(tmp_path / "ffmpeg", f'"{tools.ffmpeg}" "$@"\nexit 1')
    got = []
    with pytest.raises(UndecodableMedia):
        for chunk in decode_pcm(info, info.audio[0], failing):
            got.append(chunk)
    np.testing.assert_array_equal(np.concatenate(got), decoded(path, tools))


# --- spool ------------------------------------------------------------------------------------------------------------


def test_the_spool_gives_back_what_was_put_in() -> None:
    samples = np.random.default_rng(7).integers(-32768, 32768, 100_000).astype(np.int16)
    with PcmSpool() as spool:
        for start in range(0, len(samples), 7001):
            spool.append(samples[start : start + 7001])
        assert spool.samples == len(samples)
        for start, stop in (
            (0, 100_000),
            (0, 1),
            (69_999, 70_003),
            (99_990, 480_000),
            (-5, 10),
            (500, 500),
            (200_000, 300_000),
        ):
            expected = samples[max(0, start) : max(0, stop)].astype(np.float32) / 32768.0
            got = spool.read(start, stop)
            assert got.dtype == np.float32
            np.testing.assert_array_equal(got, expected)


def test_the_spool_has_no_name_and_goes_away(tmp_path: Path) -> None:
    with PcmSpool(directory=tmp_path) as spool:
        spool.append(np.ones(10, dtype=np.int16))
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="TMPDIR"):
        PcmSpool(shutil.disk_usage(tmp_path).total / 32000 + 3600, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    with PcmSpool(directory=tmp_path) as spool, Path("/dev/full").open("wb", buffering=0) as full:
        spool._file.close()
        spool._file = full
        with pytest.raises(OutputError, match="TMPDIR"):
            spool.append(np.ones(10, dtype=np.int16))


# --- mutants ----------------------------------------------------------------------------------------------------------

ORIGINALS = tuple(f"exact.{suffix}" for suffix in ("mp4", "mkv", "ts", "avi", "flv", "wav", "aac", "wma")) + (
    "vbr.mp3",
)


def test_mutants_give_samples_or_a_reason(
    made: Make, tmp_path: Path, tools: FFmpeg, listener: socket.socket, started: list[subprocess.Popen[bytes]]
) -> None:
    originals = [made(name, *EXACT[name]) for name in ORIGINALS]
    shutil.copy(made("exact.ts", *EXACT["exact.ts"]), tmp_path / "secret.ts")
    targets = ("secret.ts", str(tmp_path / "secret.ts"), f"http://127.0.0.1:{listener.getsockname()[1]}/x.ts")
    outcomes = {}
    for path in make_mutants(tmp_path, originals, targets, count=30):
        try:
            outcomes[path.name] = f"{len(decoded(path, tools)) / SAMPLE_RATE} s"
        except MediaError as error:
            assert path.name in str(error)
            assert str(error).isprintable() and len(str(error)) < 1000
            outcomes[path.name] = str(error)
    refused = [name for name, outcome in outcomes.items() if "mutant" in outcome]
    assert len(outcomes) == 30
    assert {name for name in outcomes if "playlist" in name or "empty" in name or "text" in name} <= set(refused)
    assert all(process.returncode is not None for process in started)
    with pytest.raises(BlockingIOError):
        listener.accept()
