"""One file of sound and picture: what of it can be used, and both decoded on one clock.

PyAV is imported where it is first used.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import numpy as np

_SLACK = 0.25  # seconds by which a stream may end before the duration that its file declares
_CAUGHT = (ValueError, OSError, LookupError, EOFError)  # what PyAV's errors are made of


@dataclass(frozen=True)
class Sampling:
    """How clips are sampled: the most seconds, frames and samples a second, size of frames."""

    seconds: float | None
    fps: float
    rate: int
    size: tuple | None


@dataclass(frozen=True)
class Span:
    """The part of a file that has both sound and picture: its start in seconds, its steps."""

    start: float
    n_steps: int


class Refused(ValueError):
    """A file that is no clip; the message says why."""


def pyav():
    """Return the module of PyAV.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "Reading and writing clips needs PyAV: pip install 'cca_estimators[media]'."
        ) from error
    return av


def examined(path, sampling):
    """Return the span of a file: all its packets are read, one frame of each stream is decoded.

    Raises
    ------
    Refused
        If the file is no clip, or cannot be sampled so.
    """
    av = pyav()
    try:
        with av.open(path) as container:
            streams = [_stream(container, kind) for kind in ("audio", "video")]
            ends, n_frames = _packets(container, streams)
            _check_whole(container, streams, ends)
            sound_rate = streams[0].codec_context.sample_rate
        start = max(_first_time(path, kind) for kind in ("audio", "video"))
    except Refused:
        raise
    except _CAUGHT as error:
        reason = getattr(error, "strerror", None) or error  # PyAV's errors repeat the path
        raise Refused(f"damaged, truncated or no media file ({reason})") from error
    duration = min(ends) - start
    n_steps = _n_steps(duration, sampling)
    _check_rates(sound_rate, n_frames, duration, sampling)
    return Span(start, n_steps)


def sound(path, span, sampling):
    """Return the waveform of a span, shape (n_samples,), float32 in [-1, 1], channels averaged."""
    n_samples = round(span.n_steps * sampling.rate / sampling.fps)
    av = pyav()
    with _naming(path), av.open(path) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=sampling.rate)
        frames = container.decode(_stream(container, "audio"))
        frame = next(frames)
        skipped = round((span.start - frame.time) * sampling.rate)
        parts = _resampled(resampler, frame)
        for frame in frames:
            if sum(map(len, parts)) >= skipped + n_samples:
                break
            parts += _resampled(resampler, frame)
        parts += _resampled(resampler, None)
    waveform = np.concatenate(parts)[skipped : skipped + n_samples]
    return np.pad(waveform, (0, n_samples - len(waveform)))


def pictures(path, span, sampling):
    """Return the frames at the middles of the steps of a span, (n_steps, height, width, 3)."""
    middles = span.start + (np.arange(span.n_steps) + 0.5) / sampling.fps
    taken, shown = [], None
    with _naming(path), pyav().open(path) as container:
        for frame in chain(container.decode(_stream(container, "video")), [None]):
            until = np.inf if frame is None else float(frame.time)
            due = np.searchsorted(middles, until) - len(taken)
            if due and shown is not None:
                taken += [_array(shown, sampling.size)] * due
            if len(taken) == span.n_steps:
                break
            shown = frame
        return np.stack(taken)


@contextmanager
def _naming(path):
    """Name the file in what decoding it raises."""
    try:
        yield
    except _CAUGHT as error:
        raise ValueError(
            f"{path} was a clip when it was read, and cannot be decoded now: {error}"
        ) from error


def _stream(container, kind):
    """Return the stream of sound or picture, other than the cover of a record."""
    cover = pyav().stream.Disposition.attached_pic
    streams = [s for s in getattr(container.streams, kind) if not s.disposition & cover]
    if not streams:
        raise Refused(f"without {'sound' if kind == 'audio' else 'picture'}")
    return streams[0]


def _packets(container, streams):
    """Return when the last packets of both streams end, and the number of frames of pictures."""
    ends, n_frames = dict.fromkeys((stream.index for stream in streams), 0.0), 0
    for packet in container.demux(*streams):
        if packet.pts is not None and packet.size:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            ends[packet.stream.index] = max(ends[packet.stream.index], end)
            n_frames += packet.stream.index == streams[1].index
    return list(ends.values()), n_frames


def _check_whole(container, streams, ends):
    for stream, end in zip(streams, ends, strict=True):
        if stream.duration is not None:
            declared = float(stream.duration * stream.time_base)
        else:  # the file has but one duration, that of the longer stream
            declared, end = (container.duration or 0) / pyav().time_base, max(ends)
        if end < declared - _SLACK:
            raise Refused(f"truncated: it ends at {end:.2f} s of {declared:.2f} s")


def _check_rates(sound_rate, n_frames, duration, sampling):
    """Refuse what would have to be made up: pictures or samples between those there are."""
    if sound_rate < sampling.rate:
        raise Refused(f"sound of {sound_rate} Hz, less than rate={sampling.rate}")
    if n_frames + 1 < sampling.fps * duration:  # one frame may be lost to rounding
        raise Refused(
            f"{n_frames / duration:.3g} pictures a second, less than fps={sampling.fps:g}"
        )


def _n_steps(duration, sampling):
    if duration < 1 / sampling.fps:
        raise Refused(
            f"{max(duration, 0):.2f} s of sound and picture, shorter than one step of "
            f"{1 / sampling.fps:.2f} s"
        )
    wanted = duration if sampling.seconds is None else min(duration, sampling.seconds)
    return max(1, int(wanted * sampling.fps + 1e-3))


def _first_time(path, kind):
    with pyav().open(path) as container:
        for frame in container.decode(_stream(container, kind)):
            return float(frame.time or 0)
    raise Refused(f"of zero length: no {kind} can be decoded")


def _resampled(resampler, frame):
    return [part.to_ndarray()[0] for part in resampler.resample(frame)]


def _array(frame, size):
    height, width = size or (frame.height, frame.width)
    return frame.to_ndarray(format="rgb24", height=height, width=width)
