"""Sound effects made by arithmetic: each a function of a random generator and a length, onset at sample 0.

Every effect draws its own parameters (pitch, pace, number of clappers, distance ...), so that a thousand seeds give a
thousand different sirens. None holds a voice. `EFFECTS` names them with the AudioSet classes that they are examples of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

SAMPLE_RATE = 16_000
Samples = NDArray[np.float32]
Rng = np.random.Generator


def _count(seconds: float) -> int:
    return max(1, int(seconds * SAMPLE_RATE))


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(_count(seconds)) / SAMPLE_RATE


def _noise(rng: Rng, seconds: float) -> NDArray[np.float64]:
    return rng.standard_normal(_count(seconds))


def _filtered(
    signal: NDArray[np.float64], kind: str, hertz: float | tuple[float, float], order: int = 2
) -> NDArray[np.float64]:
    return np.asarray(sosfilt(butter(order, hertz, kind, fs=SAMPLE_RATE, output="sos"), signal))


def _slow(rng: Rng, seconds: float, hertz: float) -> NDArray[np.float64]:
    """A curve between 0 and 1 that wanders at about `hertz`."""
    points = rng.random(max(4, int(seconds * hertz) + 4))
    return np.interp(np.linspace(0, len(points) - 1, _count(seconds)), np.arange(len(points)), points)


def _rung(seconds: float, hertz: list[float], decays: list[float], gains: list[float]) -> NDArray[np.float64]:
    """Struck partials, each a sine that dies away."""
    t = _time(seconds)
    return sum(
        (
            g * np.sin(2 * np.pi * f * t) * np.exp(-t / d)
            for f, d, g in zip(hertz, decays, gains, strict=True)
            if f < 7800
        ),
        np.zeros(len(t)),
    )


def _swept(hertz: NDArray[np.float64], harmonics: list[float]) -> NDArray[np.float64]:
    """A tone whose pitch follows `hertz` sample by sample; partials beyond 7.5 kHz are left out."""
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    tone = np.zeros(len(hertz))
    for number, gain in enumerate(harmonics, 1):
        tone += gain * np.sin(number * phase) * (number * hertz < 7500)
    return tone


def _place(out: NDArray[np.float64], piece: NDArray[np.float64], at: float) -> None:
    start = int(at * SAMPLE_RATE)
    if start < len(out):
        out[start : start + len(piece)] += piece[: len(out) - start]


def _echoed(rng: Rng, signal: NDArray[np.float64], room: float) -> NDArray[np.float64]:
    """A short synthetic room of `room` seconds, or the open air's few late echoes."""
    tail = rng.standard_normal(_count(room)) * np.exp(-5 * np.linspace(0, 1, _count(room)))
    tail = _filtered(tail, "low", float(rng.uniform(2000, 5000)), 1)
    tail[0] = 0
    wet = fftconvolve(signal, tail / np.sqrt(np.sum(tail**2) + 1e-9))[: len(signal)]
    return signal + float(rng.uniform(0.15, 0.5)) * wet


def applause(rng: Rng, seconds: float) -> NDArray[np.float64]:
    out = np.zeros(_count(seconds))
    for _ in range(int(rng.integers(12, 60))):
        clap = _noise(rng, 0.05) * np.exp(-_time(0.05) / rng.uniform(0.004, 0.012))
        low = float(rng.uniform(500, 1400))
        clap = rng.uniform(0.2, 1) * _filtered(clap, "band", (low, low * rng.uniform(2, 3.5)))
        at, pace = rng.uniform(0, 0.35), rng.uniform(2.8, 5.5)
        while at < seconds:
            _place(out, clap * rng.uniform(0.6, 1), at)
            at += rng.normal(1, 0.12) / pace
    out *= np.minimum(1, 0.4 + _time(seconds) / rng.uniform(0.2, 1.0))
    return _echoed(rng, out, float(rng.uniform(0.3, 1.2)))


def siren_wail(rng: Rng, seconds: float) -> NDArray[np.float64]:
    low, high, period = rng.uniform(450, 700), rng.uniform(1000, 1700), rng.choice([0.25, 0.35, 1.5, 2.5, 4.0])
    period *= rng.uniform(0.85, 1.15)
    turn = 0.5 - 0.5 * np.cos(2 * np.pi * _time(seconds) / period)
    return _swept(low + (high - low) * turn, [1, 0.5, 0.35, 0.2, 0.1])


def siren_two_tone(rng: Rng, seconds: float) -> NDArray[np.float64]:
    low, half = rng.uniform(380, 560), rng.uniform(0.4, 0.8)
    high = low * rng.uniform(1.25, 1.42)
    pitch = np.where((_time(seconds) / half).astype(int) % 2 == 0, high, low)
    return _swept(pitch, [1, 0.6, 0.5, 0.3, 0.2, 0.1])


def telephone_bell(rng: Rng, seconds: float) -> NDArray[np.float64]:
    strike, first = rng.uniform(18, 26), rng.uniform(1000, 1700)
    bells = [
        _rung(0.3, [f, f * 2.73, f * 5.1], [0.12, 0.05, 0.03], [1, 0.6, 0.3])
        for f in (first, first * rng.uniform(1.12, 1.3))
    ]
    pattern = [(2.0, 4.0), (0.4, 0.2, 0.4, 2.0), (1.0, 2.0)][int(rng.integers(3))]
    out, at, turn = np.zeros(_count(seconds)), 0.0, 0
    while at < seconds:
        ringing, end = turn % 2 == 0, at + pattern[turn % len(pattern)]
        while ringing and at < end:
            _place(out, bells[int(at * strike) % 2], at)
            at += 1 / strike
        at, turn = end, turn + 1
    return out


def telephone_warble(rng: Rng, seconds: float) -> NDArray[np.float64]:
    low, pace, on, off = rng.uniform(700, 1800), rng.uniform(12, 26), rng.uniform(0.6, 1.5), rng.uniform(0.6, 2.0)
    t = _time(seconds)
    pitch = np.where((t * pace).astype(int) % 2 == 0, low, low * rng.uniform(1.15, 1.35))
    return _swept(pitch, [1, 0.2, 0.3, 0.1, 0.1]) * (t % (on + off) < on)


def smoke_alarm(rng: Rng, seconds: float) -> NDArray[np.float64]:
    t, on = _time(seconds), rng.uniform(0.35, 0.5)
    step = t % (6 * on + rng.uniform(0, 0.6))
    return _swept(np.full(len(t), rng.uniform(2800, 3400)), [1, 0.15]) * ((step % (2 * on) < on) & (step < 6 * on))


def alarm_clock(rng: Rng, seconds: float) -> NDArray[np.float64]:
    t, beep, beeps = _time(seconds), rng.uniform(0.05, 0.12), int(rng.integers(2, 5))
    step = t % (2 * beep * beeps + rng.uniform(0.3, 0.6))
    gate = (step % (2 * beep) < beep) & (step < 2 * beep * beeps)
    return _swept(np.full(len(t), rng.uniform(1400, 2500)), [1, 0.1, 0.4, 0.05, 0.2]) * gate


def fire_alarm(rng: Rng, seconds: float) -> NDArray[np.float64]:
    """A bell struck without a pause (about ten to sixteen strokes a second)."""
    strike, f = rng.uniform(9, 16), rng.uniform(600, 1100)
    stroke = _rung(0.6, [f, f * 2.1, f * 3.4, f * 5.2, f * 6.9], [0.3, 0.2, 0.15, 0.1, 0.06], [1, 0.9, 0.8, 0.6, 0.4])
    out = np.zeros(_count(seconds))
    for at in np.arange(0, seconds, 1 / strike):
        _place(out, stroke * rng.uniform(0.8, 1), at + rng.uniform(0, 0.004))
    return out


def church_bell(rng: Rng, seconds: float) -> NDArray[np.float64]:
    out, gap = np.zeros(_count(seconds)), rng.uniform(1.2, 2.6)
    for prime in rng.uniform(180, 520) * np.array([1, 1.26, 1.5])[: int(rng.integers(1, 4))]:
        ratios = np.array([0.5, 1, 1.19, 1.5, 2, 2.6, 3.0, 4.1]) * rng.uniform(0.995, 1.005, 8)
        stroke = _rung(
            5, list(prime * ratios), [3.5, 2.4, 1.8, 1.2, 1.0, 0.6, 0.5, 0.3], [0.5, 0.7, 0.7, 0.4, 1, 0.6, 0.5, 0.4]
        )
        at = 0.0 if not out.any() else rng.uniform(0.2, gap)
        while at < seconds:
            _place(out, stroke * rng.uniform(0.8, 1), at)
            at += gap * rng.uniform(0.98, 1.02)
    return out


def explosion(rng: Rng, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    blast = _noise(rng, seconds) * np.exp(-t / rng.uniform(0.06, 0.2))
    boom = _filtered(_noise(rng, seconds), "low", float(rng.uniform(120, 300))) * 6 * np.exp(-t / rng.uniform(0.4, 1.1))
    debris = _filtered(_noise(rng, seconds), "low", float(rng.uniform(900, 2500)), 1) * np.exp(
        -t / rng.uniform(0.3, 0.8)
    )
    return np.tanh(1.5 * (blast + boom + rng.uniform(0.3, 0.8) * debris))


def gunshots(rng: Rng, seconds: float) -> NDArray[np.float64]:
    shot = _noise(rng, 0.6) * np.exp(-_time(0.6) / rng.uniform(0.012, 0.04))
    shot += 2 * _filtered(_noise(rng, 0.6), "low", 400.0) * np.exp(-_time(0.6) / rng.uniform(0.04, 0.1))
    out, at = np.zeros(_count(seconds)), 0.0
    for _ in range(int(rng.integers(1, 5))):
        _place(out, shot * rng.uniform(0.7, 1), at)
        at += rng.uniform(0.25, 0.9)
    return _echoed(rng, out, float(rng.uniform(0.5, 1.5)))


def machine_gun(rng: Rng, seconds: float) -> NDArray[np.float64]:
    shot = _noise(rng, 0.25) * np.exp(-_time(0.25) / rng.uniform(0.008, 0.025))
    shot += 2 * _filtered(_noise(rng, 0.25), "low", 500.0) * np.exp(-_time(0.25) / 0.03)
    out, at, pace = np.zeros(_count(seconds)), 0.0, rng.uniform(8, 14)
    while at < seconds - 0.3:
        for _ in range(int(rng.integers(4, 14))):
            _place(out, shot * rng.uniform(0.8, 1), at)
            at += 1 / pace
        at += rng.uniform(0.2, 0.7)
    return _echoed(rng, out, float(rng.uniform(0.4, 1.0)))


def fireworks(rng: Rng, seconds: float) -> NDArray[np.float64]:
    out, at = np.zeros(_count(seconds)), 0.0
    while at < seconds:
        boom = _filtered(_noise(rng, 0.8), "low", float(rng.uniform(250, 700))) * np.exp(
            -_time(0.8) / rng.uniform(0.08, 0.2)
        )
        _place(out, 3 * rng.uniform(0.4, 1) * boom, at)
        for _ in range(int(rng.integers(8, 60))):  # the stars' crackle
            snap = _noise(rng, 0.02) * np.exp(-_time(0.02) / 0.003)
            _place(out, rng.uniform(0.1, 0.6) * snap, at + rng.uniform(0.25, 1.6))
        if rng.random() < 0.5:  # the next rocket goes up
            up = rng.uniform(0.4, 0.9)
            whistle = _swept(np.linspace(rng.uniform(1200, 1800), rng.uniform(2500, 3600), _count(up)), [1.0])
            _place(out, 0.15 * whistle * np.linspace(1, 0.2, _count(up)), at + rng.uniform(0.3, 0.8))
        at += rng.uniform(0.4, 1.8)
    return _echoed(rng, out, float(rng.uniform(0.6, 1.5)))


def glass_shatter(rng: Rng, seconds: float) -> NDArray[np.float64]:
    out = np.zeros(_count(seconds))
    _place(out, _filtered(_noise(rng, 0.15), "high", 1500.0) * np.exp(-_time(0.15) / 0.03) * 2, 0)
    for _ in range(int(rng.integers(25, 70))):
        f, at = rng.uniform(1800, 7000), rng.exponential(0.18)
        shard = _rung(0.25, [f, f * 1.37, f * 1.9], [rng.uniform(0.02, 0.09), 0.03, 0.02], [1, 0.6, 0.4])
        _place(out, shard * rng.uniform(0.1, 0.8) * np.exp(-at), at)
    return out


def knocking(rng: Rng, seconds: float) -> NDArray[np.float64]:
    f, gap, out = rng.uniform(120, 320), rng.uniform(0.15, 0.32), np.zeros(_count(seconds))
    at = 0.0
    for _ in range(int(rng.integers(3, 7))):
        knock = _rung(0.2, [f, f * 1.8, f * 3.1, f * 4.7], [0.035, 0.02, 0.012, 0.008], [1, 0.7, 0.5, 0.3])
        knock += 0.5 * _filtered(_noise(rng, 0.2), "low", 1800.0) * np.exp(-_time(0.2) / 0.008)
        _place(out, knock * rng.uniform(0.75, 1), at)
        at += gap * rng.uniform(0.92, 1.08)
    return _echoed(rng, out, float(rng.uniform(0.15, 0.4)))


def doorbell(rng: Rng, seconds: float) -> NDArray[np.float64]:
    f, gap, out = rng.uniform(550, 900), rng.uniform(0.4, 0.8), np.zeros(_count(seconds))
    for number in range(int(rng.integers(1, 3))):
        for note, at in ((f, 0.0), (f * rng.choice([0.794, 0.841, 0.749]), gap)):
            stroke = _rung(2.0, [note, note * 2, note * 3.01, note * 4.2], [0.6, 0.35, 0.2, 0.1], [1, 0.3, 0.2, 0.1])
            _place(out, stroke, at + number * 2.4 * gap)
    return out


def door_slam(rng: Rng, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    thud = (
        _filtered(_noise(rng, seconds), "low", float(rng.uniform(90, 220))) * 8 * np.exp(-t / rng.uniform(0.06, 0.14))
    )
    snap = _filtered(_noise(rng, seconds), "low", 3000.0) * np.exp(-t / rng.uniform(0.01, 0.03))
    rattle = np.zeros(len(t))
    for _ in range(int(rng.integers(2, 6))):
        _place(rattle, _rung(0.1, [rng.uniform(600, 2500)], [0.02], [0.5]), rng.uniform(0.03, 0.25))
    return _echoed(rng, thud + snap + rattle, float(rng.uniform(0.3, 0.8)))


def engine(rng: Rng, seconds: float) -> NDArray[np.float64]:
    base = rng.uniform(22, 75)
    rate = base * (1 + 0.06 * (_slow(rng, seconds, 0.8) - 0.5))
    if rng.random() < 0.4:  # someone plays with the pedal
        rate *= 1 + rng.uniform(0.3, 1.2) * _slow(rng, seconds, 0.5)
    gains = list(rng.uniform(0.2, 1, 24) / np.sqrt(np.arange(1, 25)))
    turning = 1 + 0.5 * np.sin(np.pi * np.cumsum(rate) / SAMPLE_RATE)
    hiss = _filtered(_noise(rng, seconds), "low", float(rng.uniform(600, 2000)), 1)
    return _swept(rate, gains) + rng.uniform(0.3, 0.9) * turning * hiss


def clock_ticking(rng: Rng, seconds: float) -> NDArray[np.float64]:
    out, gap = np.zeros(_count(seconds)), rng.choice([0.25, 0.5, 1.0]) * rng.uniform(0.95, 1.05)
    ticks = []
    for f in (rng.uniform(1500, 4200), rng.uniform(1200, 3500)):
        tick = _rung(0.08, [f, f * 1.6, f * 2.3], [0.01, 0.006, 0.004], [1, 0.6, 0.4])
        ticks.append(tick + 0.5 * _noise(rng, 0.08) * np.exp(-_time(0.08) / 0.002))
    for number, at in enumerate(np.arange(0, seconds, gap)):
        _place(out, ticks[number % 2], at)
    return out


def rain(rng: Rng, seconds: float) -> NDArray[np.float64]:
    hiss = _filtered(_noise(rng, seconds), "high", float(rng.uniform(500, 1500)), 1) * rng.uniform(0.15, 0.4)
    out = hiss * (0.8 + 0.4 * _slow(rng, seconds, 1))
    drops = rng.integers(40, 220)
    for at in rng.uniform(0, seconds, int(drops * seconds)):
        start, f = int(at * SAMPLE_RATE), rng.uniform(900, 6000)
        drop = np.sin(2 * np.pi * f * _time(0.012)) * np.exp(-_time(0.012) / 0.002)
        out[start : start + len(drop)] += rng.uniform(0.1, 1.2) * drop[: len(out) - start]
    return out


def wind(rng: Rng, seconds: float) -> NDArray[np.float64]:
    gust = 0.25 + _slow(rng, seconds, rng.uniform(0.4, 1.2)) ** 2
    low = _filtered(_noise(rng, seconds), "low", float(rng.uniform(200, 500)))
    f = float(rng.uniform(350, 900))
    howl = _filtered(_noise(rng, seconds), "band", (f, f * 1.12), 1) * _slow(rng, seconds, 0.7) ** 2
    return gust * (low + rng.uniform(0.3, 1.5) * howl)


def thunder(rng: Rng, seconds: float) -> NDArray[np.float64]:
    t = _time(seconds)
    out = rng.uniform(0, 1.0) * _noise(rng, seconds) * np.exp(-t / 0.08)
    rumble = _filtered(_noise(rng, seconds), "low", float(rng.uniform(70, 160)))
    swell = np.exp(-t / rng.uniform(1.5, 3.0)) * (0.15 + _slow(rng, seconds, rng.uniform(2, 5)) ** 2)
    out += 8 * rumble * swell
    out += _filtered(_noise(rng, seconds), "low", 700.0, 1) * swell * rng.uniform(0.3, 1)
    return out


def car_horn(rng: Rng, seconds: float) -> NDArray[np.float64]:
    low, out, at = rng.uniform(330, 480), np.zeros(_count(seconds)), 0.0
    gains = [1, 0.8, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15]
    for _ in range(int(rng.integers(1, 4))):
        length = min(rng.choice([0.25, 0.5, 1.2]) * rng.uniform(0.8, 1.3), seconds)
        size = _count(length)
        honk = sum((_swept(np.full(size, f), gains) for f in (low, low * 1.19)), np.zeros(size))
        _place(out, honk * np.minimum(1, np.minimum(np.arange(size), np.arange(size)[::-1]) / 300), at)
        at += length + rng.uniform(0.12, 0.4)
    return out


def white_noise(rng: Rng, seconds: float) -> NDArray[np.float64]:
    return _noise(rng, seconds)


def pink_noise(rng: Rng, seconds: float) -> NDArray[np.float64]:
    """Paul Kellet's three-pole approximation of noise with equal power per octave."""
    return np.asarray(
        lfilter([0.049922, -0.095994, 0.050612, -0.004409], [1, -2.494956, 2.017266, -0.522190], _noise(rng, seconds))
    )


def mains_hum(rng: Rng, seconds: float) -> NDArray[np.float64]:
    f = rng.choice([50.0, 60.0])
    gains = list(rng.uniform(0.1, 1, 12))
    return _swept(np.full(_count(seconds), f), gains) + 0.1 * _noise(rng, seconds)


@dataclass(frozen=True)
class Effect:
    """One kind of made sound: how, how long (seconds, drawn between the two), and what AudioSet calls it."""

    make: Callable[[Rng, float], NDArray[np.float64]]
    seconds: tuple[float, float]
    kind: Literal["sustained", "abrupt"]
    labels: tuple[str, ...]
    """Display names; the first is the class that a caption would be made of, the others its parents and companions."""


def _effects() -> dict[str, Effect]:
    def long(make: Callable[[Rng, float], NDArray[np.float64]], *labels: str) -> Effect:
        return Effect(make, (6.0, 10.0), "sustained", labels)

    def short(make: Callable[[Rng, float], NDArray[np.float64]], seconds: tuple[float, float], *labels: str) -> Effect:
        return Effect(make, seconds, "abrupt", labels)

    # A parent is left out where AudioSet's own training clips leave it out (fewer clips carry the parent than the
    # child: Alarm on sirens, telephones, horns and doorbells; Explosion on gunshots and fireworks; Music on bells).
    return {
        "applause": long(applause, "Applause", "Clapping"),
        "siren_wail": long(siren_wail, "Siren", "Police car (siren)", "Emergency vehicle"),
        "siren_two_tone": long(siren_two_tone, "Siren", "Ambulance (siren)", "Emergency vehicle"),
        "telephone_bell": long(telephone_bell, "Telephone bell ringing", "Telephone"),
        "telephone_warble": long(telephone_warble, "Ringtone", "Telephone"),
        "smoke_alarm": long(smoke_alarm, "Smoke detector, smoke alarm", "Alarm"),
        "alarm_clock": long(alarm_clock, "Alarm clock", "Alarm"),
        "fire_alarm": long(fire_alarm, "Fire alarm", "Alarm"),
        "church_bell": long(church_bell, "Church bell", "Bell"),
        "explosion": short(explosion, (1.5, 3.0), "Explosion", "Boom"),
        "gunshots": short(gunshots, (1.5, 3.5), "Gunshot, gunfire"),
        "machine_gun": Effect(machine_gun, (2.0, 6.0), "sustained", ("Machine gun", "Gunshot, gunfire")),
        "fireworks": long(fireworks, "Fireworks"),
        "glass_shatter": short(glass_shatter, (1.0, 1.6), "Shatter", "Glass"),
        "knocking": short(knocking, (1.2, 2.0), "Knock", "Door"),
        "doorbell": short(doorbell, (2.0, 3.5), "Ding-dong", "Doorbell", "Door"),
        "door_slam": short(door_slam, (0.6, 1.2), "Slam", "Door"),
        "engine": long(engine, "Engine"),
        "clock_ticking": long(clock_ticking, "Tick-tock", "Tick", "Clock", "Mechanisms"),
        "rain": long(rain, "Rain", "Water"),
        "wind": long(wind, "Wind"),
        "thunder": Effect(thunder, (3.0, 6.0), "sustained", ("Thunder", "Thunderstorm")),
        "car_horn": short(
            car_horn, (1.0, 2.5), "Vehicle horn, car horn, honking", "Car", "Motor vehicle (road)", "Vehicle"
        ),
        "white_noise": long(white_noise, "White noise", "Noise"),
        "pink_noise": long(pink_noise, "Pink noise", "Noise"),
        "mains_hum": long(mains_hum, "Mains hum", "Hum", "Noise"),
    }


EFFECTS: dict[str, Effect] = _effects()


def make_effect(name: str, rng: Rng, seconds: float | None = None) -> Samples:
    """The effect `name`, its length drawn if none is given; peak 1, the last 30 ms faded."""
    effect = EFFECTS[name]
    signal = effect.make(rng, float(rng.uniform(*effect.seconds)) if seconds is None else seconds)
    signal[-480:] *= np.linspace(1, 0, min(480, len(signal)))
    return (signal / (np.abs(signal).max() + 1e-9)).astype(np.float32)
