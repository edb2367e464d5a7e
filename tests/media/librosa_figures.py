"""Write the log-mel energies that librosa gives for a few settings, which test_logmel.py checks.

Run with librosa 0.11.0 in an environment of its own: ``python tests/media/librosa_figures.py``.
"""

from pathlib import Path

import numpy as np

FIGURES = Path(__file__).with_name("librosa_figures.npz")
SETTINGS = {  # rate, samples of a window and of a hop, bands, their range in Hz
    "default": (16000, 512, 256, 64, 0.0, None),
    "narrow": (16000, 400, 160, 40, 125.0, 7500.0),
    "cd": (44100, 2048, 11025, 128, 20.0, 16000.0),
}


def waveform(rate):
    """Return half a second of noise under a sweep, with silence in the middle."""
    rng = np.random.default_rng(0)
    time = np.arange(rate // 2 + 37) / rate
    sound = 0.3 * np.sin(2 * np.pi * (200 + 4000 * time) * time) + rng.normal(0, 0.05, len(time))
    sound[(time > 0.2) & (time < 0.3)] = 0
    return sound.astype(np.float32)


def log_mel(rate, n_fft, hop, n_bands, fmin, fmax):
    """Return librosa's figures, shape (steps, bands)."""
    import librosa

    power = librosa.feature.melspectrogram(
        y=waveform(rate), sr=rate, n_fft=n_fft, hop_length=hop, n_mels=n_bands, fmin=fmin, fmax=fmax
    )
    return librosa.power_to_db(power, top_db=None).T.astype(np.float32)


if __name__ == "__main__":
    np.savez_compressed(FIGURES, **{name: log_mel(*setting) for name, setting in SETTINGS.items()})
