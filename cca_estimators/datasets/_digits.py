"""The embedded set of spoken and handwritten digits."""

from importlib import resources
from typing import Literal, overload

import numpy as np
from sklearn.datasets import load_digits
from sklearn.utils import Bunch

from cca_estimators._compat import StrOptions, validate_params
from cca_estimators.views import Views

_RANGE_DB = 50.0
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

DESCR = """Spoken and handwritten digits
-----------------------------

1,797 pairs of a digit spoken and the same digit written by hand, in 10 classes of 174 to 183.

audio : log-mel energies, shape (24 steps, 32 bands), in decibels from -50 to 0
    Synthesised speech, not recordings: the program espeak-ng spoke the English words "zero" to
    "nine" in 30 voices (6 accents, 5 voice variants) at random speeds and pitches. Each word lies
    at a random moment of 0.8 seconds, in coloured noise at a random signal-to-noise ratio.
    A step is 32 ms; the bands lie evenly in mel between 80 Hz and 8 kHz.
visual : images of real handwriting, shape (8 steps, 8 pixels), from 0 to 16
    The optical digits of the UCI repository (E. Alpaydin, C. Kaynak) as scikit-learn's
    `load_digits` has them, one row of pixels as one step.
groups : the voice of each recording.
train, test : row numbers of a fixed split, 1,347 and 450.
    The 8 voices to test on are not heard in training, though other voices of the same accents and
    variants are; the images to test on are the last ones of the source, most of them by other
    writers.

A pair shares its class and nothing else: any voice may go with any image of the digit.
"""


@overload
def load_spoken_digits(*, subset: str = "all", return_X_y: Literal[False] = False) -> Bunch: ...
@overload
def load_spoken_digits(
    *, subset: str = "all", return_X_y: Literal[True]
) -> tuple[Views, np.ndarray]: ...
@validate_params(
    {"subset": [StrOptions({"all", "train", "test"})], "return_X_y": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def load_spoken_digits(*, subset="all", return_X_y=False):
    """Load the embedded set of spoken (synthesised) and handwritten (real) digits.

    =================   ========================================
    Classes             10
    Samples             1,797 (1,347 to train on, 450 to test on)
    audio               (24, 32), log-mel energies in decibels
    visual              (8, 8), grey levels from 0 to 16
    =================   ========================================

    Read more in the :ref:`User Guide <datasets>`.

    Parameters
    ----------
    subset : {"all", "train", "test"}, default="all"
        Rows to return.
    return_X_y : bool, default=False
        Return ``(X, y)`` instead of a Bunch.

    Returns
    -------
    data : :class:`sklearn.utils.Bunch`
        With the attributes:

        X : Views
            "audio", shape (n, 24, 32), and "visual", shape (n, 8, 8), both float32.
        y : ndarray of int, shape (n,)
            The digits.
        groups : ndarray of int, shape (n,)
            Number of the voice, an index into `voices`.
        voices : ndarray of str
            Names of the voices.
        train, test : ndarray of int
            Numbers of the rows returned that are to be trained and tested on.
        target_names : list of str
            "zero" to "nine".
        DESCR : str
            Description of the set.
    (X, y) : tuple if `return_X_y`
        The views and the digits.

    Examples
    --------
    >>> from cca_estimators.datasets import load_spoken_digits
    >>> X, y = load_spoken_digits(subset="train", return_X_y=True)
    >>> X
    Views(audio=(1347, 24, 32), visual=(1347, 8, 8))
    """
    path = resources.files("cca_estimators.datasets") / "data" / "spoken_digits.npz"
    with path.open("rb") as file, np.load(file) as stored:
        data = {name: stored[name] for name in stored.files}
    digits = load_digits()
    rows = {
        "all": slice(None),
        "train": np.flatnonzero(~data["test"]),
        "test": np.flatnonzero(data["test"]),
    }[subset]
    audio = data["audio"].astype(np.float32) * np.float32(_RANGE_DB / 255) - np.float32(_RANGE_DB)
    X = Views(audio=audio, visual=digits.images.astype(np.float32))[rows]
    y = digits.target[rows]
    if return_X_y:
        return X, y
    return Bunch(
        X=X,
        y=y,
        groups=data["groups"][rows].astype(int),
        voices=data["voices"],
        train=np.flatnonzero(~data["test"][rows]),
        test=np.flatnonzero(data["test"][rows]),
        target_names=_WORDS.copy(),
        DESCR=DESCR,
    )
