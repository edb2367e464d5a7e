"""A folder of clips as two views, whose rows are decoded when they are used."""

from numbers import Integral, Real
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.utils import Bunch, gen_batches
from sklearn.utils.validation import check_consistent_length
from tqdm.auto import tqdm

from cca_estimators._compat import Interval, StrOptions, validate_params, warn_user
from cca_estimators.media import _decoding
from cca_estimators.views import Views

_POSITIVE = Interval(Real, 0, None, closed="neither")


@validate_params(
    {
        "paths": [str, Path, "array-like"],
        "y": ["array-like", None],
        "seconds": [_POSITIVE, None],
        "fps": [_POSITIVE],
        "rate": [Interval(Integral, 1, None, closed="left")],
        "size": [tuple, None],
        "on_error": [StrOptions({"skip", "raise"})],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=True,
)
def read_clips(
    paths, y=None, *, seconds=None, fps=4, rate=16000, size=None, on_error="skip", n_jobs=None
):
    """Read clips of sound and picture as two views that are aligned in time.

    Each file is examined once: its packets are read to the end, and the first frame of each stream
    is decoded. The rows of both views are decoded later, whenever they are used, so that memory
    holds a few clips at a time and never the collection. Let a transformer make features of them
    once, and keep those.

    A clip begins where both sound and picture are there, and is cut into steps of ``1 / fps``
    seconds as long as both last. The frame of a step is the picture shown at its middle; the
    waveform covers the same steps.

    Read more in the :ref:`User Guide <media>`.

    Parameters
    ----------
    paths : str, path-like, or list of such
        Files, or a folder with a subfolder for each class, or a folder of files without classes.
        In a folder, names that begin with a dot are left out.
    y : array-like of shape (n_paths, ...), default=None
        Labels, one a path, if `paths` is a list.
    seconds : float, default=None
        What lies after these first seconds is left out; None: nothing.
    fps : float, default=4
        Frames, and steps, a second.
    rate : int, default=16000
        Samples a second of the waveforms.
    size : (int, int), default=None
        Height and width that frames are brought to; None: those of each file.
    on_error : {"skip", "raise"}, default="skip"
        What becomes of a file that is refused: it is left out, or it is an error.
    n_jobs : int, default=None
        Number of files that are examined, and later decoded, at a time; as in joblib.

    Returns
    -------
    clips : :class:`sklearn.utils.Bunch`
        With the attributes, whose rows are aligned:

        data : Views
            "audio", waveforms of shape (n_samples,), float32 in [-1, 1], channels averaged; and
            "visual", frames of shape (n_steps, height, width, 3), uint8. Rows are as long as their
            clips.
        target : ndarray of shape (n_clips, ...), or None
            What `y` holds for the clips that were read, or numbers of the subfolders.
        target_names : list of str, or None
            Names of the subfolders.
        filenames : ndarray of str, shape (n_clips,)
            The files that were read.
        refused : list of (str, str)
            The files that were not, and why: without sound or without picture, damaged or
            truncated, shorter than a step, or of fewer frames or samples a second than `fps` and
            `rate` ask for.

    Raises
    ------
    ValueError
        If a file is refused and `on_error` is "raise", if all are, or if an argument is not as
        described.
    ImportError
        If PyAV is not installed.

    Warns
    -----
    UserWarning
        If files are refused, with their number.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from cca_estimators.media import make_clips, read_clips
    >>> folder = TemporaryDirectory()
    >>> clips = read_clips(make_clips(folder.name, n_clips=6, random_state=0))
    >>> clips.data
    Views(audio=(6,), visual=(6,))
    >>> clips.data["visual"][0].shape
    (9, 48, 64, 3)
    >>> folder.cleanup()
    """
    _decoding.pyav()
    files, target, target_names = _listed(paths, y)
    sampling = _decoding.Sampling(seconds, fps, rate, _checked_size(size))
    read, spans, refused = [], [], []
    for row, found in enumerate(_examined(files, sampling, n_jobs)):
        if isinstance(found, _decoding.Span):
            read.append(row)
            spans.append(found)
        elif on_error == "raise":
            raise ValueError(f"{files[row]} is no clip: {found}. Leave it out, or on_error='skip'.")
        else:
            refused.append((files[row], found))
    _report(refused, len(files))
    kept = [files[row] for row in read]
    views = {
        "audio": Clips(kept, spans, sampling, "sound", n_jobs),
        "visual": Clips(kept, spans, sampling, "pictures", n_jobs),
    }
    return Bunch(
        data=Views(views),
        target=None if target is None else target[read],
        target_names=target_names,
        filenames=np.array(kept),
        refused=refused,
    )


class Clips:
    """One view of clips: a row is decoded when it is asked for.

    Parameters
    ----------
    paths : sequence of str
    spans : sequence of Span
        The part of each file.
    sampling : Sampling
    kind : {"sound", "pictures"}
        What is decoded.
    n_jobs : int or None
        Number of rows that are decoded at a time by iteration.
    """

    dtype = np.dtype(object)
    ndim = 1

    def __init__(self, paths, spans, sampling, kind, n_jobs=None):
        self.paths = np.asarray(paths, dtype=object)
        self.spans = np.fromiter(spans, dtype=object, count=len(paths))
        self.sampling = sampling
        self.kind = kind
        self.n_jobs = n_jobs

    @property
    def shape(self):
        """Number of rows as a one-tuple: rows differ in length."""
        return self.paths.shape

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, key):
        """Decode one row, or take several as they are."""
        if isinstance(key, Integral):
            return self._decode(self.paths[key], self.spans[key], self.sampling)
        return Clips(self.paths[key], self.spans[key], self.sampling, self.kind, self.n_jobs)

    def __iter__(self):
        """Decode the rows one after the other, a few ahead in threads."""
        ahead = effective_n_jobs(self.n_jobs)
        for taken in gen_batches(len(self), 4 * ahead if ahead > 1 else 1):
            rows = zip(self.paths[taken], self.spans[taken], strict=True)
            jobs = (delayed(self._decode)(path, span, self.sampling) for path, span in rows)
            yield from Parallel(self.n_jobs, prefer="threads")(jobs)

    def __repr__(self):
        return f"<{len(self)} clips, {self.kind} only>"

    @property
    def _decode(self):
        return getattr(_decoding, self.kind)


def _listed(paths, y):
    """Return the files, their labels or None, and the names of the classes or None."""
    if not isinstance(paths, (str, Path)):
        files = [str(path) for path in paths]
        if y is not None:
            check_consistent_length(files, y)
        return files, None if y is None else np.asarray(y), None
    if y is not None:
        raise ValueError(
            f"y was given for the folder {str(paths)!r}, whose files have no order: pass a list of "
            "paths, one for each label."
        )
    return _listed_folder(Path(paths))


def _listed_folder(folder):
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    loose = [str(entry) for entry in entries if not entry.is_dir()]
    if not classes:
        return loose, None, None
    if loose:
        raise ValueError(
            f"{folder} holds folders, one for each class, and files beside them, such as "
            f"{Path(loose[0]).name!r}: move those into the folder of their class."
        )
    listed = [
        (str(path), code)
        for code, entry in enumerate(classes)
        for path in sorted(entry.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    files, codes = [path for path, _ in listed], np.array([code for _, code in listed], dtype=int)
    return files, codes, [entry.name for entry in classes]


def _examined(files, sampling, n_jobs):
    """Yield the span of each file, or why it has none, with a progress bar on a terminal."""
    jobs = (delayed(_span_or_reason)(file, sampling) for file in files)
    found = Parallel(n_jobs, prefer="threads", return_as="generator")(jobs)
    return tqdm(found, total=len(files), unit="clip", disable=None)


def _span_or_reason(file, sampling):
    try:
        return _decoding.examined(file, sampling)
    except _decoding.Refused as refused:
        return str(refused)


def _report(refused, n_files):
    if len(refused) == n_files:
        why = f", the first, {refused[0][0]}, for this: {refused[0][1]}" if refused else ""
        raise ValueError(f"No clip was read: all {n_files} files were refused{why}.")
    if refused:
        warn_user(
            f"{len(refused)} of {n_files} files were refused and left out; `refused` says why, of "
            f"the first, {refused[0][0]}: {refused[0][1]}.",
        )


def _checked_size(size):
    valid = size is None or (
        len(size) == 2 and all(isinstance(n, Integral) and n > 0 for n in size)
    )
    if not valid:
        raise ValueError(f"size={size!r} must be a height and a width in pixels, or None.")
    return size
