"""Audio-visual features of videos, read from the files their authors publish."""

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import numpy as np
from sklearn.model_selection import PredefinedSplit, StratifiedKFold
from sklearn.utils import Bunch

from cca_estimators._compat import Interval, StrOptions, validate_params
from cca_estimators.datasets._layouts import open_stored
from cca_estimators.datasets._steps import read_view
from cca_estimators.views import Views

_VEGAS = """VEGAS: sight and natural sound of videos
----------------------------------------

Videos of about 10 seconds in 10 classes: baby cry, human snoring, dog, water flowing, fireworks,
rail transport, printer, drum, helicopter, chainsaw. The whole set has 28,103 videos.

Videos: Y. Zhou, Z. Wang, C. Fang, T. Bui, T. L. Berg, "Visual to Sound: Generating Natural Sound
for Videos in the Wild", CVPR 2018. Features and folds: D. Zeng, Y. Yu, K. Oyama, "Deep Triplet
Neural Networks with Cluster-CCA for Audio-Visual Cross-Modal Retrieval", ACM TOMM 16(3), 2020.
"""

_MV10K = """MV-10K: music videos
--------------------

10,000 music videos of YouTube-8M in classes of emotion.

Videos: S. Abu-El-Haija et al., "YouTube-8M: A Large-Scale Video Classification Benchmark",
arXiv:1609.08675, 2016. Selection and folds: D. Zeng, Y. Yu, K. Oyama, "Deep Triplet Neural
Networks with Cluster-CCA for Audio-Visual Cross-Modal Retrieval", ACM TOMM 16(3), 2020.
"""

_AVE = """AVE: audio-visual events
------------------------

Videos of about 10 seconds in which an event is both seen and heard. The subset in use for
cross-modal retrieval has 1,955 videos in 15 classes, 1,766 to train on and 189 to test on.

Videos: Y. Tian, J. Shi, B. Li, Z. Duan, C. Xu, "Audio-Visual Event Localization in Unconstrained
Videos", ECCV 2018.
"""

_READ = """
Read from {path} ({layout}): {n} videos in {n_classes} classes, {n_train} to train on and {n_test}
to test on; {folds}.

audio : VGGish features, shape {audio}
visual : Inception features, shape {visual}
"""

_PARAMETERS = """path : str or path-like
        An HDF5 file, or a folder of npy or npz files. The layout is told by the contents, see the
        :ref:`User Guide <datasets_layouts>`.
    n_steps : int, default=None
        Number of steps, about one second each, that sequences are cut or padded to; published
        sequential methods take 10. None: the mean over all steps.
    pad : {"zero", "nan"}, default="zero"
        Value of padded steps, if `n_steps` is set: zero as the authors have it, for any method; or
        NaN, which sequential methods take for padding and leave out.
    fold : int, default=0
        Number of the fold to test on, from 0, where the files do not tell training from test.
    memmap_dir : str or path-like, default=None
        Folder to write the views to, as ``audio.npy`` and ``visual.npy``, and to map them from
        instead of holding them in memory. Files are read in blocks in any case.
    n_features : tuple of two int or None, default=(128, 1024)
        Numbers of audio and visual features that the files must have. None: any."""

_RETURNS = """data : :class:`sklearn.utils.Bunch`
        With the attributes:

        X : Views
            "audio" and "visual", float32, shape (n, n_features) or (n, n_steps, n_features).
            Features stored as integers are scaled by ``(x - 128) / 256``, others stay as they are.
        y : ndarray of int, shape (n,)
            Classes from 0.
        target_names : ndarray, shape (n_classes,)
            Classes as the files name or number them.
        train, test : ndarray of int
            Numbers of the rows to train and to test on.
        folds : ndarray of int, shape (n,), or None
            Number of each row's fold, if the files have the authors' folds.
        cv : cross-validation splitter
            The authors' folds if the files have them, else five class-balanced ones.
        mask : dict of ndarray of bool, shape (n, n_steps), or None
            Which steps of each view are real rather than padding, if `n_steps` is set. Steps
            stored as zero throughout at the end of a sequence count as padding.
        ids : ndarray of str, shape (n,), or None
            Names of the videos, if the files have them.
        DESCR : str
            Description of the set and of what was read.

    Raises
    ------
    FileNotFoundError
        If `path`, or a file that it should contain, is not there.
    ValueError
        If the files have no known layout, are corrupt or truncated, do not fit one another, have
        other features than `n_features`, or hold NaN or infinity; it names the arrays found.
    ImportError
        If `path` is an HDF5 file and h5py is not installed."""

_CONSTRAINTS = {
    "path": [str, os.PathLike],
    "n_steps": [Interval(Integral, 1, None, closed="left"), None],
    "pad": [StrOptions({"zero", "nan"})],
    "fold": [Interval(Integral, 0, None, closed="left")],
    "memmap_dir": [str, os.PathLike, None],
    "n_features": [tuple, None],
}


def _loader(function):
    """Fill the shared parts of a loader's docstring, and validate its parameters."""
    function.__doc__ = function.__doc__.replace("<parameters>", _PARAMETERS).replace(
        "<returns>", _RETURNS
    )
    return validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)(function)


@_loader
def load_vegas(
    path,
    *,
    n_steps=None,
    pad="zero",
    fold=0,
    memmap_dir=None,
    n_features: Sequence[int] = (128, 1024),
) -> Bunch:
    """Load the features of VEGAS, videos of natural sounds, from files you have downloaded.

    Read more in the :ref:`User Guide <datasets_files>`.

    Parameters
    ----------
    <parameters>

    Returns
    -------
    <returns>

    See Also
    --------
    load_mv10k : Music videos.
    load_ave : Audio-visual events.

    Examples
    --------
    A small file of the same layout, read as sequences:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import h5py
    >>> import numpy as np
    >>> from cca_estimators.datasets import load_vegas
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "vegas.h5"
    ...     with h5py.File(path, "w") as file:
    ...         for part, n in {"train": 20, "test": 5}.items():
    ...             file[f"audio_{part}"] = rng.integers(256, size=(n, 10, 128), dtype=np.uint8)
    ...             file[f"visual_{part}"] = rng.integers(256, size=(n, 10, 1024), dtype=np.uint8)
    ...             file[f"lab_{part}"] = np.arange(n) % 5
    ...     data = load_vegas(path, n_steps=8)
    >>> data.X
    Views(audio=(25, 8, 128), visual=(25, 8, 1024))
    >>> len(data.train), len(data.test), data.target_names
    (20, 5, array([0, 1, 2, 3, 4]))
    """
    return _load(_VEGAS, path, n_steps, pad, fold, memmap_dir, n_features)


@_loader
def load_mv10k(
    path,
    *,
    n_steps=None,
    pad="zero",
    fold=0,
    memmap_dir=None,
    n_features: Sequence[int] = (128, 1024),
) -> Bunch:
    """Load the features of MV-10K, music videos in classes of emotion, from downloaded files.

    Read more in the :ref:`User Guide <datasets_files>`.

    Parameters
    ----------
    <parameters>

    Returns
    -------
    <returns>

    See Also
    --------
    load_vegas : Natural sounds; with an example.
    load_ave : Audio-visual events.

    Examples
    --------
    >>> from cca_estimators.datasets import load_mv10k
    >>> mv10k = load_mv10k("path/to/mv10k")  # doctest: +SKIP
    """
    return _load(_MV10K, path, n_steps, pad, fold, memmap_dir, n_features)


@_loader
def load_ave(
    path,
    *,
    n_steps=None,
    pad="zero",
    fold=0,
    memmap_dir=None,
    n_features: Sequence[int] = (128, 1024),
) -> Bunch:
    """Load the features of AVE, videos of audio-visual events, from files you have downloaded.

    Read more in the :ref:`User Guide <datasets_files>`.

    Parameters
    ----------
    <parameters>

    Returns
    -------
    <returns>

    See Also
    --------
    load_vegas : Natural sounds; with an example.
    load_mv10k : Music videos.

    Examples
    --------
    >>> from cca_estimators.datasets import load_ave
    >>> ave = load_ave("path/to/ave")  # doctest: +SKIP
    """
    return _load(_AVE, path, n_steps, pad, fold, memmap_dir, n_features)


def _load(about, path, n_steps, pad, fold, memmap_dir, n_features):
    path = Path(path)
    X, mask = Views(), {}
    with open_stored(path, fold) as stored:
        _check_features(path, stored, n_features)
        for name in ("audio", "visual"):
            sources = [getattr(part, name) for part in stored.parts]
            _check_steps(path, sources, n_steps)
            file = None if memmap_dir is None else Path(memmap_dir) / f"{name}.npy"
            X[name], mask[name] = read_view(sources, n_steps, pad, file)
    target_names, y = _classes(path, stored)
    train, test, cv = _split(path, stored, y, fold)
    return Bunch(
        X=X,
        y=y,
        target_names=target_names,
        train=train,
        test=test,
        folds=stored.folds,
        cv=cv,
        mask=None if n_steps is None else mask,
        ids=stored.ids,
        DESCR=about
        + _READ.format(
            path=path,
            layout=stored.layout,
            n=len(y),
            n_classes=len(target_names),
            n_train=len(train),
            n_test=len(test),
            folds="the authors' folds" if stored.folds is not None else "no folds",
            audio=X["audio"].shape[1:],
            visual=X["visual"].shape[1:],
        ),
    )


def _check_features(path, stored, n_features):
    """Raise ValueError unless all parts of a view have the features they should have."""
    wanted = (None, None) if n_features is None or stored.embedded else n_features
    if len(wanted) != 2:
        raise ValueError(f"n_features={n_features} must be two numbers, or None for any.")
    for name, width in zip(("audio", "visual"), wanted, strict=True):
        sources = [getattr(part, name) for part in stored.parts]
        width = width or sources[0].shape[-1]
        for source in sources:
            if source.shape[-1] != width:
                turned = " It looks transposed." if width in source.shape else ""
                raise ValueError(
                    f"{source.name} of {path} has shape {source.shape}; {width} {name} features "
                    f"are needed.{turned} For features of your own set n_features, or None for any."
                )


def _check_steps(path, sources, n_steps):
    for source in sources:
        if n_steps is not None and len(source.shape) != 3:
            raise ValueError(
                f"n_steps={n_steps}, but {source.name} of {path} has shape {source.shape}, without "
                "steps: its features are means. Set n_steps=None."
            )


def _classes(path, stored):
    """Return the classes as the files name them, and each row's class counted from 0."""
    labels = np.concatenate([part.labels for part in stored.parts])
    if labels.dtype.kind == "f":
        bad = ~np.isfinite(labels) | (labels % 1 != 0)
        if bad.any():
            raise ValueError(
                f"The labels of {path} hold {labels[bad][0]} in row {np.argmax(bad)}; whole "
                "numbers or names are needed."
            )
        labels = labels.astype(np.int64)
    return np.unique(labels, return_inverse=True)


def _split(path, stored, y, fold):
    """Return the rows to train and to test on, and the splitter of cross-validation."""
    cv = StratifiedKFold(5, shuffle=True, random_state=0)
    if stored.folds is not None:
        cv = PredefinedSplit(stored.folds)
    if stored.train is not None:
        return np.flatnonzero(stored.train), np.flatnonzero(~stored.train), cv
    if fold >= cv.get_n_splits():
        raise ValueError(
            f"fold={fold}, but {path} has the folds 0 to {cv.get_n_splits() - 1} only."
        )
    train, test = list(cv.split(y, y))[fold]
    return train, test, cv
