"""LogMel gives the figures of librosa, for waveforms of any length."""

import numpy as np
import pytest
from librosa_figures import FIGURES, SETTINGS, waveform
from sklearn.base import clone

from cca_estimators.media import LogMel, _audio


@pytest.mark.parametrize("name", SETTINGS)
def test_energies_are_those_of_librosa(name):
    rate, n_fft, hop, n_bands, fmin, fmax = SETTINGS[name]
    log_mel = LogMel(n_bands, rate=rate, window=n_fft / rate, hop=hop / rate, fmin=fmin, fmax=fmax)
    with np.load(FIGURES) as figures:
        expected = figures[name]
    (energies,) = log_mel.fit_transform([waveform(rate)])
    assert energies.dtype == np.float32
    np.testing.assert_allclose(energies, expected, atol=1e-3, rtol=1e-4)


def test_a_tone_peaks_in_the_band_of_its_frequency():
    from cca_estimators.media import LogMel

    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    (energies,) = LogMel(n_bands=30, fmax=4000.0).fit_transform([tone])
    # Slaney's mel: 15 at 1000 Hz, 15 + 27 log(4) / log(6.4) at 4000 Hz, bands evenly between
    step = (15 + 27 * np.log(4) / np.log(6.4)) / 31
    assert (energies[1:-1].argmax(axis=1) == round(15 / step) - 1).all()


def test_rows_are_padded_to_the_longest_and_independent_of_it():
    from cca_estimators.media import LogMel

    rng = np.random.default_rng(0)
    rows = [rng.normal(size=n) for n in (4000, 16000, 0, 1)]
    energies = LogMel(hop=0.1).fit_transform(rows)
    assert energies.shape == (4, 11, 64)
    assert (~np.isnan(energies).all(axis=2)).sum(axis=1).tolist() == [3, 11, 0, 1]
    for row, alone in zip(energies[:2], rows, strict=False):
        (expected,) = LogMel(hop=0.1).transform([alone])
        np.testing.assert_array_equal(row[: len(expected)], expected)


def test_long_waveforms_are_taken_in_blocks(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(2, 9000))
    whole = LogMel().fit_transform(rows)
    monkeypatch.setattr(_audio, "_BLOCK", 7)
    np.testing.assert_allclose(LogMel().fit_transform(rows), whole, rtol=1e-5)


def test_padding_is_left_out_and_integers_are_fractions():
    from cca_estimators.media import LogMel

    rows = np.random.default_rng(0).integers(-(2**15), 2**15, (3, 5000), dtype=np.int16)
    fractions = rows / 2**15
    np.testing.assert_allclose(
        LogMel().fit_transform(rows), LogMel().fit_transform(fractions), atol=1e-3
    )
    padded = np.pad(fractions, ((0, 0), (0, 900)), constant_values=np.nan)
    np.testing.assert_array_equal(LogMel().fit_transform(padded), LogMel().transform(fractions))
    padded[1, 17] = np.nan
    with pytest.raises(ValueError, match="Row 1 holds NaN or infinity before its end"):
        LogMel().fit_transform(padded)


@pytest.mark.parametrize("row", [np.zeros((2, 50)), np.array(["a.wav"]), np.zeros(9, complex)])
def test_rows_that_are_no_waveform(row):
    from cca_estimators.media import LogMel

    with pytest.raises(ValueError, match=r"Row 1 has shape \(.*a waveform has one dimension"):
        LogMel().transform([np.zeros(50), row])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmin": 9000.0}, "fmin=9000.0 and fmax=8000.0 must rise and stay within half"),
        ({"fmax": 9000.0}, "within half the rate=16000"),
        ({"n_bands": 300}, "n_bands=300 is too many: band 0 lies between .* longer window"),
        ({"hop": 0}, "'hop' parameter of LogMel must be a float in the range"),
    ],
)
def test_settings_that_cannot_work(options, message):
    from cca_estimators.media import LogMel

    with pytest.raises(ValueError, match=message):
        clone(LogMel(**options)).fit([np.zeros(50)])
