"""Waveforms into log-mel energies."""

from numbers import Integral, Real

import numpy as np
from scipy.fft import rfft
from scipy.signal import get_window
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import gen_batches

from cca_estimators._compat import Interval, fit_context
from cca_estimators._reading import pad_steps

_FLOOR = 1e-10  # least energy of a band: -100 dB
_BLOCK = 4096  # steps at a time


class LogMel(TransformerMixin, BaseEstimator):
    """Log-mel energies of waveforms, a step for each `hop`.

    Step `i` is the energy about the moment ``i * hop``, in bands that lie evenly in mel (Slaney's
    scale, bands of equal area) between `fmin` and `fmax`, in decibels from -100: the figures of
    librosa's `melspectrogram` and `power_to_db` by their defaults, without their limit to 80 dB
    below the loudest step, which would make a step depend on others.

    Read more in the :ref:`User Guide <media>`.

    Parameters
    ----------
    n_bands : int, default=64
        Number of bands.
    rate : int, default=16000
        Samples a second of the waveforms, as in :func:`read_clips`.
    window : float, default=0.032
        Seconds that a step looks at, weighted by a Hann window.
    hop : float, default=0.016
        Seconds from step to step. ``1 / fps`` gives as many steps as there are frames, and one.
    fmin, fmax : float, default=0.0 and None
        Least and greatest frequency in Hz; None: ``rate / 2``.

    See Also
    --------
    PerView : Applies it to the view of sounds.

    Examples
    --------
    >>> import numpy as np
    >>> from cca_estimators.media import LogMel
    >>> second, half = np.sin(np.arange(16000.0)), np.sin(np.arange(8000.0))
    >>> LogMel(n_bands=40, hop=0.1).fit_transform([second, half]).shape
    (2, 11, 40)
    """

    _parameter_constraints = {
        "n_bands": [Interval(Integral, 1, None, closed="left")],
        "rate": [Interval(Integral, 1, None, closed="left")],
        "window": [Interval(Real, 0, None, closed="neither")],
        "hop": [Interval(Real, 0, None, closed="neither")],
        "fmin": [Interval(Real, 0, None, closed="left")],
        "fmax": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(self, n_bands=64, *, rate=16000, window=0.032, hop=0.016, fmin=0.0, fmax=None):
        self.n_bands = n_bands
        self.rate = rate
        self.window = window
        self.hop = hop
        self.fmin = fmin
        self.fmax = fmax

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the parameters; nothing is learnt.

        Parameters
        ----------
        X : sequence of waveforms
            Ignored.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The transformer.

        Raises
        ------
        ValueError
            If the bands do not fit between `fmin`, `fmax` and half the rate, or are so many that
            one would lie between the frequencies that the window tells apart.
        """
        self._filters()
        return self

    def transform(self, X):
        """Return the energies of each waveform.

        Parameters
        ----------
        X : sequence of n arrays of shape (n_samples,), or array of shape (n, n_samples)
            Waveforms, which may differ in length: floats, or integers, which count as fractions of
            their greatest value. NaN at the end of a row is padding.

        Returns
        -------
        ndarray of shape (n, n_steps, n_bands), float32
            Decibels; steps after the end of a waveform are NaN. One of N samples has
            ``1 + N // (hop * rate)`` steps, one of none has none.

        Raises
        ------
        ValueError
            If a waveform is not one-dimensional, or not finite.
        """
        filters = self._filters().T
        rows = [_waveform(row, number) for number, row in enumerate(X)]
        return pad_steps([self._energies(row, filters) for row in rows], self.n_bands)

    def _energies(self, waveform, filters):
        if not len(waveform):
            return np.empty((0, self.n_bands), np.float32)
        padded = np.pad(waveform, self._n_fft // 2)
        every = np.lib.stride_tricks.sliding_window_view(padded, self._n_fft)[:: self._n_hop]
        hann = get_window("hann", self._n_fft).astype(np.float32)
        blocks = (every[taken] * hann for taken in gen_batches(len(every), _BLOCK))
        power = np.concatenate([abs(rfft(block)) ** 2 @ filters for block in blocks])
        return 10 * np.log10(np.maximum(power, np.float32(_FLOOR)))

    def _filters(self):
        """Return the weight of each frequency in each band, shape (n_bands, n_fft // 2 + 1)."""
        fmax = self.rate / 2 if self.fmax is None else self.fmax
        if not self.fmin < fmax <= self.rate / 2:
            raise ValueError(
                f"fmin={self.fmin} and fmax={fmax} must rise and stay within half the "
                f"rate={self.rate}."
            )
        edges = _hertz(np.linspace(_mel(self.fmin), _mel(fmax), self.n_bands + 2))[:, None]
        frequencies = np.fft.rfftfreq(self._n_fft, 1 / self.rate)
        rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
        filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
        empty = np.flatnonzero(~filters.any(axis=1))
        if len(empty):
            raise ValueError(
                f"n_bands={self.n_bands} is too many: band {empty[0]} lies between the "
                f"frequencies that a window of {self.window} s tells apart. Take fewer bands or a "
                "longer window."
            )
        return filters.astype(np.float32)

    @property
    def _n_fft(self):
        return 2 * max(1, round(self.window * self.rate / 2))

    @property
    def _n_hop(self):
        return max(1, round(self.hop * self.rate))

    def __sklearn_is_fitted__(self):
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = True
        return tags


def _waveform(row, number):
    """Return a row without its padding, as float32; integers as fractions of their greatest."""
    row = np.asarray(row)
    if row.ndim != 1 or row.dtype.kind not in "fiu":
        raise ValueError(
            f"Row {number} has shape {row.shape} and dtype {row.dtype}; a waveform has one "
            "dimension, of real numbers. Average its channels."
        )
    if row.dtype.kind in "iu":
        return row / np.float32(np.iinfo(row.dtype).max + 1)
    missing = np.isnan(row)
    waveform = row[: len(row) - np.argmin(missing[::-1])] if not missing.all() else row[:0]
    if not np.isfinite(waveform).all():
        raise ValueError(f"Row {number} holds NaN or infinity before its end: mend the waveform.")
    return waveform.astype(np.float32, copy=False)


def _mel(frequency):
    """Return Slaney's mel of a frequency in Hz: linear up to 1000 Hz, logarithmic above."""
    return np.where(
        frequency < 1000,
        3 * frequency / 200,
        15 + 27 * np.log(np.maximum(frequency, 1000) / 1000) / np.log(6.4),
    )


def _hertz(mel):
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
