"""Generate spoken_digits.npz: speech synthesised by espeak-ng, as quantised log-mel spectrograms.

Run ``python make_spoken_digits.py`` where the program espeak-ng is installed (version 1.51 made
the file that is shipped). Every recording is a digit spoken by one of the voices below at a random
speed and pitch, placed at a random moment of a fixed span and mixed with noise at a random level.
"""

import subprocess
from pathlib import Path

import numpy as np
from scipy.signal import stft
from sklearn.datasets import load_digits

from cca_estimators._storage import replacing

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
ACCENTS = ["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan"]
VARIANTS = ["m1", "m3", "m7", "f2", "f4"]
TEST_VOICES = 8  # the last ones in the shuffled list
TEST_IMAGES = 450  # the last ones, by other writers

RATE = 22050
WAV_HEADER = 44  # bytes
SPAN = 0.8  # seconds
N_STEPS, N_BANDS = 24, 32
RANGE_DB = 50.0
SPEEDS, PITCHES = (110, 260), (15, 85)
SNR_DB = (-6.0, 12.0)


def speak(word, voice, speed, pitch):
    """Return the waveform of a spoken word."""
    command = ["espeak-ng", "--stdout", "-v", voice, "-s", str(speed), "-p", str(pitch), word]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    wave = np.frombuffer(wav[WAV_HEADER:], np.int16).astype(np.float64)
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    return wave[loud[0] : loud[-1] + 1]


def place(wave, rng):
    """Return the waveform at a random moment of the span, cut where it is longer."""
    span = np.zeros(int(SPAN * RATE))
    room = max(0, len(span) - len(wave))
    start = rng.integers(room // 4 + 1)
    part = wave[: len(span)]
    span[start : start + len(part)] = part[: len(span) - start]
    return span


def mix(wave, rng):
    """Add coloured noise, between white and pink, at a random level."""
    spectrum = np.fft.rfft(rng.standard_normal(len(wave)))
    frequencies = np.maximum(np.fft.rfftfreq(len(wave), 1 / RATE), 50.0)
    noise = np.fft.irfft(spectrum / frequencies ** rng.uniform(0, 0.5), len(wave))
    level = 10 ** (-rng.uniform(*SNR_DB) / 20)
    return wave / np.sqrt(np.mean(wave**2)) + level * noise / np.sqrt(np.mean(noise**2))


def to_mel(frequencies):
    """Return frequencies in hertz on the mel scale."""
    return 2595 * np.log10(1 + frequencies / 700)


def mel_filters(n_fft):
    """Return triangular filters, evenly spaced in mel from 80 Hz to 8 kHz."""
    edges = np.linspace(*to_mel(np.array([80.0, 8000.0])), N_BANDS + 2)
    mels = to_mel(np.fft.rfftfreq(n_fft, 1 / RATE))
    rising = (mels - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - mels) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def log_mel(wave):
    """Return 8-bit log-mel energies, shape (N_STEPS, N_BANDS), 0 to 255 over RANGE_DB."""
    hop = len(wave) // (N_STEPS + 1)
    _, _, spectrum = stft(wave, RATE, nperseg=2 * hop, noverlap=hop, boundary=None)
    power = mel_filters(2 * hop) @ np.abs(spectrum[:, :N_STEPS]) ** 2
    decibels = 10 * np.log10(power + 1e-12)
    scaled = 1 + (decibels - decibels.max()) / RANGE_DB
    return np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8).T


def main():
    """Speak one word for each image of a handwritten digit, and write the file."""
    rng = np.random.default_rng(0)
    voices = np.array([f"{accent}+{variant}" for accent in ACCENTS for variant in VARIANTS])
    rng.shuffle(voices)
    digits = load_digits().target
    test = np.arange(len(digits)) >= len(digits) - TEST_IMAGES
    groups = np.where(
        test,
        rng.integers(len(voices) - TEST_VOICES, len(voices), len(digits)),
        rng.integers(len(voices) - TEST_VOICES, size=len(digits)),
    )
    audio = np.empty((len(digits), N_STEPS, N_BANDS), np.uint8)
    for i, (digit, group) in enumerate(zip(digits, groups, strict=True)):
        wave = speak(WORDS[digit], voices[group], rng.integers(*SPEEDS), rng.integers(*PITCHES))
        audio[i] = log_mel(mix(place(wave, rng), rng))
    path = Path(__file__).with_name("spoken_digits.npz")
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(
            file, audio=audio, groups=groups.astype(np.uint8), test=test, voices=voices
        )
    print(
        f"{path}: {path.stat().st_size / 1e6:.2f} MB, {test.sum()} of {len(test)} rows to test on"
    )


if __name__ == "__main__":
    main()
