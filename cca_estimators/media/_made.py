"""Clips made on the spot: moving shapes with sounds that match them."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from sklearn.utils import check_random_state

from cca_estimators.media._decoding import pyav

_HEIGHT, _WIDTH, _FPS, _RATE = 48, 64, 12, 16000
SHAPES = ("bar", "cross", "disc", "ring", "square", "triangle")


def make_clips(folder, n_clips=60, *, seconds=(1.5, 3.0), random_state=None):
    """Write little clips of moving shapes with matching sounds, a folder for each shape.

    The class, one of six shapes, decides the colour of the sound: a tone, a chord, pulses, a
    sweep, a buzz or noise. Within a class, size, colour, place and speed of the shape and pitch
    and loudness of the sound are random, and both are noisy.

    Read more in the :ref:`User Guide <media>`.

    Parameters
    ----------
    folder : str or path-like
        Where to write; it is made if it is not there.
    n_clips : int, default=60
        Number of clips, of all classes in turn: mp4 files of 48 x 64 pixels, 12 frames a second,
        and sound of 16 kHz.
    seconds : (float, float), default=(1.5, 3.0)
        Least and greatest length of a clip.
    random_state : int, RandomState instance or None, default=None
        Pass an int for the same clips each time.

    Returns
    -------
    folder : Path
        The folder, which `read_clips` takes.

    Raises
    ------
    ImportError
        If PyAV is not installed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from cca_estimators.media import make_clips
    >>> with TemporaryDirectory() as folder:
    ...     made = make_clips(folder, n_clips=12, random_state=0)
    ...     sorted(path.name for path in made.glob("disc/*"))
    ['00002.mp4', '00008.mp4']
    """
    rng, folder = check_random_state(random_state), Path(folder)
    for shape in SHAPES:
        (folder / shape).mkdir(parents=True, exist_ok=True)
    for number in range(n_clips):
        shape = SHAPES[number % len(SHAPES)]
        length = rng.uniform(*seconds)
        pictures = _pictures(shape, round(length * _FPS), rng)
        waveform = _waveform(shape, round(length * _RATE), rng)
        _write(folder / shape / f"{number:05d}.mp4", pictures, waveform)
    return folder


def _pictures(shape, n_frames, rng):
    """Return frames of a shape that moves, shape (n_frames, height, width, 3), uint8."""
    y, x = np.mgrid[:_HEIGHT, :_WIDTH]
    size, colour, ground = rng.uniform(7, 13), rng.randint(130, 256, 3), rng.randint(0, 70, 3)
    place, speed = rng.uniform((14, 14), (34, 50)), rng.uniform(-8, 8, 2) / _FPS
    frames = rng.randint(-30, 31, (n_frames, _HEIGHT, _WIDTH, 3), dtype=np.int16)
    for step, frame in enumerate(frames):
        middle = place + step * speed
        inside = _inside(shape, (y - middle[0]) / size, (x - middle[1]) / size)
        frame += np.where(inside[..., None], colour, ground).astype(np.int16)
    return np.clip(frames, 0, 255).astype(np.uint8)


def _inside(shape, y, x):
    """Tell which pixels a shape about the origin covers."""
    radius, reach = np.hypot(x, y), np.maximum(abs(x), abs(y))
    return {
        "bar": (abs(y) < 0.35) & (abs(x) < 1.4),
        "cross": (reach < 1.1) & (np.minimum(abs(x), abs(y)) < 0.3),
        "disc": radius < 1,
        "ring": (radius < 1.1) & (radius > 0.6),
        "square": reach < 0.9,
        "triangle": (abs(y) < 1) & (abs(x) < (y + 1) / 2),
    }[shape]


def _waveform(shape, n_samples, rng):
    """Return a sound in [-1, 1], shape (n_samples,), float32."""
    time = np.arange(n_samples) / _RATE
    pitch = 2 * np.pi * rng.uniform(300, 600)
    sound = {
        "bar": lambda: np.sin(pitch * time * (1 + time)),  # a sweep
        "cross": lambda: np.sin(pitch * time) * (np.sin(2 * np.pi * 6 * time) > 0),  # pulses
        "disc": lambda: np.sin(pitch * time),  # a tone
        "ring": lambda: np.sum([np.sin(k * pitch * time) for k in (1, 1.5, 2)], axis=0) / 3,
        "square": lambda: np.sign(np.sin(pitch * time)),  # a buzz
        "triangle": lambda: np.diff(rng.normal(0, 0.4, n_samples + 1)),  # noise
    }[shape]()
    loudness = rng.uniform(0.1, 0.5)
    return np.clip(loudness * sound + rng.normal(0, 0.02, n_samples), -1, 1).astype(np.float32)


def _write(path, pictures, waveform):
    av = pyav()
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=_FPS, options={"preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = *pictures.shape[1:3], "yuv420p"
        audio = container.add_stream("aac", rate=_RATE)
        audio.layout = "mono"
        for step, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = step, Fraction(1, _FPS)
            container.mux(video.encode(frame))
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _RATE, 0, Fraction(1, _RATE)
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))
