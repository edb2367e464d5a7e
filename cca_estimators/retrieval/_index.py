"""Retrieval across views: a gallery that is embedded once and then answers queries."""

from collections.abc import Collection, Mapping
from itertools import chain, zip_longest
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from cca_estimators import _reading, _storage
from cca_estimators._algebra import namespace
from cca_estimators._base import _restored_on_error
from cca_estimators._compat import HasMethods, Interval, StrOptions, fit_context, warn_user
from cca_estimators._reading import arrays
from cca_estimators.metrics._scorers import _metric_of, rows_there
from cca_estimators.retrieval import _backends, _ids, _search, _shards, _stream
from cca_estimators.views import Views

__all__ = ["CrossModalIndex"]

_FORMAT = "cca_estimators.CrossModalIndex"
_MOST = 2**31 - 1  # of neighbours and components, in a file


class CrossModalIndex(BaseEstimator):
    """Index of the rows of one view, to be searched by rows of the other view or of the same one.

    The gallery is embedded once, by an estimator of a joint embedding; a query is embedded when it
    is asked. What is nearest is told by the metric of the estimator: one minus the cosine, in
    [0, 2] and 1 to a row of zeros, or, for hashing methods, the share of the bits that differ.
    These are the distances of scikit-learn's "cosine" and "hamming".

    Neighbours come in the order of their distances. Rows with equal embeddings have equal
    distances, and where distances are equal the row that was added first comes first, at the end of
    the list too. The result depends neither on the number of threads nor on the memory allowed.

    Read more in the :ref:`User Guide <retrieval>`.

    Parameters
    ----------
    estimator : estimator
        Estimator of a joint embedding, a pipeline that ends in one, or a search over such. One that
        is fitted is used as it is, and never fitted again; of one that is not, `fit` fits a clone.
    n_neighbors : int, default=5
        Number of neighbours to find, unless `kneighbors` is given another.
    gallery : str, default=None
        Name of the view to index; None: the only view of X in `fit`, or the second of two.
    backend : {{"exact", "faiss", "usearch"}}, default="exact"
        "exact" compares each query with every row of the gallery, in blocks that fit the cache, by
        as many threads as OpenMP is set to use. Even where all rows are tied, it takes no more
        memory than scikit-learn's `working_memory`; some 20 MB are usual. "faiss" leaves the search
        to exhaustive indexes of the package faiss-cpu, in float32: it may choose otherwise than
        "exact" among rows whose distances differ by rounding only, and at the end of a list among
        equal ones. With a `factory`, and by "usearch" always, the search is approximate: candidates
        come from there, and are ranked by their exact distances.
    factory : str, default=None
        Approximate index of FAISS to build over the rows, as its `index_factory` (or, for bits, its
        `index_binary_factory`) names it, such as "IVF4096,Flat"; None: exhaustive.
    backend_options : dict, default=None
        For the approximate index: "shortlist", the number of candidates, by default 4 times
        `n_neighbors`; of FAISS, parameters of the search, such as "nprobe"; of USearch, arguments
        of its `Index`, such as "connectivity".

    Attributes
    ----------
    estimator_ : estimator
        The fitted estimator.
    gallery_ : str
        Name of the view in the gallery.
    metric_ : {{"cosine", "hamming"}}
        Metric of the estimator.
    n_components_ : int
        Number of dimensions, or bits, of the embedding.
    n_samples_fit_ : int
        Number of rows in the gallery.
    ids_ : ndarray of shape (n_samples_fit_,), or None
        Ids of the rows, if they were given, or their numbers in X, if rows were missing there;
        those of a gallery on disk are read as they are needed.
    folder_ : Path or None
        Of a gallery on disk.

    See Also
    --------
    sklearn.neighbors.NearestNeighbors : Search among rows of one space.

    Notes
    -----
    A file that `save` has written holds arrays, numbers and names only, and loading one runs no
    code of it, whoever wrote it. Trusted are the types that skops trusts by default (those of
    Python and NumPy, and scikit-learn's estimators) and these: {trusted}. A deep estimator is made
    anew from its parameters and the weights of its towers. A file that holds any other type is
    refused, before anything of it is loaded, until you name that type to `load`. Being trusted
    does not make a file right: it may still hold a poor or misleading model. Nothing in a file can
    unpack to much more than its own size; devices, pipes and files that are mostly holes are
    refused before they are read.

    Examples
    --------
    >>> from cca_estimators import CCCA, CrossModalIndex
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=200, n_classes=4, n_features=(8, 12), random_state=0)
    >>> index = CrossModalIndex(CCCA(), n_neighbors=3).fit(X, y)
    >>> index.gallery_
    'visual'
    >>> distances, rows = index.kneighbors({{"audio": X["audio"][:2]}})
    >>> rows.shape
    (2, 3)
    >>> names = [f"video{{i}}" for i in range(200)]
    >>> index.fit(X, y, ids=names).kneighbors({{"visual": X["visual"][:1]}}, 1)[1]
    array([['video0']], dtype='<U8')
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "transform"])],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "gallery": [str, None],
        "backend": [StrOptions(set(_backends.BACKENDS))],
        "factory": [str, None],
        "backend_options": [dict, None],
    }

    def __init__(
        self,
        estimator: Any,
        *,
        n_neighbors: int = 5,
        gallery: str | None = None,
        backend: str = "exact",
        factory: str | None = None,
        backend_options: dict[str, Any] | None = None,
    ):
        self.estimator = estimator
        self.n_neighbors = n_neighbors
        self.gallery = gallery
        self.backend = backend
        self.factory = factory
        self.backend_options = backend_options

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, *, ids=None, folder=None) -> Self:
        """Embed a gallery, and fit the estimator on it if it is not fitted.

        Parameters
        ----------
        X : mapping of arrays by view name, or iterable of such
            Rows of the gallery, one view or both. To fit the estimator takes both, in one mapping.
            Blocks are embedded as they come, and so are the rows of a mapping if there is a
            `folder`, from memory maps, h5py datasets or Dask collections too.
        y : array-like of shape (n_samples,), default=None
            Class labels, for a supervised estimator that is not fitted; else ignored.
        ids : array-like of shape (n_samples,), default=None
            A number, string or date for each row, all different, which `kneighbors` returns
            instead of the numbers of rows. For blocks, an iterable of the ids of each. Rows that
            are missing, NaN throughout, are left out: of one array in memory, whose rows keep
            their numbers, or with ids.
        folder : str or path-like, default=None
            Where to keep the gallery, as float32 or packed bits that are read as they are needed,
            for galleries larger than memory. It has one writer at a time. What was there is
            replaced in one step, when the new gallery is complete. Needs the package skops.

        Returns
        -------
        self : object
            The fitted index.

        Raises
        ------
        ValueError
            If X, y or ids are not as described. The index then stays as it was.
        ImportError
            If the backend is not installed.

        Warns
        -----
        UserWarning
            If rows are missing, with their number.
        """
        with _restored_on_error(self):
            whole = _reading.is_mapping(X)
            blocks = iter([X] if whole else X)
            first = _first_block(blocks)
            self.gallery_ = list(first)[-1] if self.gallery is None else self.gallery
            self.estimator_ = self._fitted_estimator(first, y)
            self.metric_ = _known_metric(self.estimator_)
            parts = self._parts(chain([first], blocks), _blocks_of_ids(ids, whole), folder, whole)
            rows, own = next(parts)
            self.n_components_ = rows.shape[1]
            stored = ((self._metric.stored(rows), own) for rows, own in chain([(rows, own)], parts))
            if folder is None:
                self.folder_ = None
                self._hold(*_joined(stored))
            else:
                self._write(_shards.Folder(folder), stored, [])
        return self

    def _parts(self, blocks, ids, folder, whole=False):
        """Yield the embeddings of the gallery's rows in parts, and their checked ids or None.

        Rows that are missing are left out; if `whole`, the blocks are one, which numbers its rows.
        """
        pairs = ((block, None) for block in blocks) if ids is None else zip_longest(blocks, ids)
        n_there = 0
        for block, own in pairs:
            if block is None or (own is None and ids is not None):
                raise ValueError("There are not as many blocks of rows as of ids.")
            rows = self._gallery_view(_named_views(block))[self.gallery_]
            own = self._numbered(rows) if ids is None and whole else own
            own = None if own is None else _ids.checked(own, None)
            at_once = folder is None and not _reading.is_dask(rows)
            n_samples = n_missing = 0
            for part, some in [(rows, own)] if at_once else _stream.parts_of(rows, own):
                embedding, there = self._embedded(Views({self.gallery_: part}))
                n_samples += len(there)
                if not there.all():
                    n_missing += np.count_nonzero(~there)
                    self._check_numbered(some, there)
                    some = some[there] if len(some) == len(there) else some
                if embedding.shape[0]:
                    n_there += embedding.shape[0]
                    yield embedding, some
            if own is not None and len(own) != n_samples:
                raise ValueError(
                    f"There are {len(own)} ids for {n_samples} rows: each row needs one."
                )
            if n_missing and n_there:
                _warn_of_missing(n_missing, n_samples)
        if not n_there:
            raise ValueError(f"View {self.gallery_!r} has no row that is there.")

    def _numbered(self, rows):
        """Return the numbers of the rows as their ids, if some are missing and one array is all."""
        in_memory = isinstance(rows, np.ndarray) or arrays.place_of(rows) is not None
        lacking = in_memory and _reading.present_rows(rows) is not None
        return np.arange(rows.shape[0]) if lacking else None

    def _check_numbered(self, ids, there):
        if ids is None:
            raise ValueError(
                f"View {self.gallery_!r} holds NaN in all features of {np.count_nonzero(~there)} "
                f"rows, the first of them row {there.argmin()}: missing rows are left out where "
                "the others keep their numbers, that is of a single array in fit, or with ids."
            )

    def _write(self, folder, stored, shards):
        """Make a folder's gallery that of shards and of what is stored, and open it."""
        dtype = np.float32 if self.metric_ == "cosine" else np.uint64
        stored = ((arrays.to_host(rows).astype(dtype, copy=False), ids) for rows, ids in stored)
        shards = [*shards, *folder.written(stored)]
        ids = folder.opened("ids", shards)
        if ids is not None:
            _ids.distinct(np.concatenate(ids.parts))
        folder.name(self._header(), shards, self._best_estimator())
        self._open(folder)

    def _open(self, folder):
        self.folder_ = folder.path
        rows = folder.opened("rows")
        for part in rows.parts:
            self._metric.check_form(part)
        self._hold(rows, folder.opened("ids"))
        self._folder = folder

    def add(self, X, *, ids=None) -> Self:
        """Add rows to the gallery; the result is that of `fit` on all rows.

        Each call copies the gallery, so add many rows at once; to one on disk it adds shards, and
        copies nothing. The last digit of an embedding may depend on the rows embedded with it.

        Parameters
        ----------
        X : mapping of arrays by view name, or iterable of such
            Rows to add; views other than that of the gallery are ignored.
        ids : array-like of shape (n_samples,), default=None
            As in `fit`, and given if they were given there.

        Returns
        -------
        self : object
            The index.

        Raises
        ------
        ValueError
            If X or ids are not as described. The index then stays as it was.
        """
        check_is_fitted(self)
        if ids is not None and self.ids_ is None:
            raise ValueError("ids are given, but fit was given none: the rows there have numbers.")
        if ids is None and self.ids_ is not None:
            raise ValueError("The rows in the gallery have ids; pass ids for those to add.")
        whole = _reading.is_mapping(X)
        parts = self._parts(iter([X] if whole else X), _blocks_of_ids(ids, whole), self.folder_)
        stored = ((self._metric.stored(self._checked(rows)), own) for rows, own in parts)
        with _restored_on_error(self):
            if self.folder_ is None:
                added, ids = _joined(stored)
                joined = None if ids is None else _ids.joined(self.ids_, ids)
                gallery = self._backend.gallery
                added = arrays.moved(added, arrays.place_of(gallery))
                self._hold(namespace.joined([gallery, added]), joined)
            else:
                stored = ((rows, _ids.of_kind(ids, self.ids_)) for rows, ids in stored)
                self._write(self._folder, stored, self._folder.shards)
        return self

    @overload
    def kneighbors(
        self,
        queries: Any = None,
        n_neighbors: int | None = None,
        return_distance: Literal[True] = True,
    ) -> tuple[np.ndarray, np.ndarray]: ...
    @overload
    def kneighbors(
        self,
        queries: Any = None,
        n_neighbors: int | None = None,
        *,
        return_distance: Literal[False],
    ) -> np.ndarray: ...
    def kneighbors(self, queries=None, n_neighbors=None, return_distance=True):
        """Find the nearest rows of the gallery.

        Parameters
        ----------
        queries : mapping of one array by view name, default=None
            Rows of either view, as in ``{{"audio": rows}}``; None: the rows of the gallery, none of
            which is its own neighbour.
        n_neighbors : int, default=None
            Number of neighbours of each query, at most the number of rows in the gallery, itself
            left out; None: that of the constructor.
        return_distance : bool, default=True
            Whether to return the distances.

        Returns
        -------
        distances : ndarray of float64, shape (n_queries, n_neighbors)
            Nearest first; only if `return_distance` is True.
        neighbors : ndarray of shape (n_queries, n_neighbors)
            Ids of the neighbours or, if none were given, their rows in the gallery.

        Raises
        ------
        ValueError
            If queries or n_neighbors are not as described.
        """
        check_is_fitted(self)
        n_others = self.n_samples_fit_ - (queries is None)
        n_neighbors = self._checked_n_neighbors(n_neighbors, n_others)
        if queries is None:
            found = self._backend.nearest(self._backend.gallery, n_neighbors + 1)
            distances, rows = _without_own(*found)
        else:
            distances, rows = self._backend.nearest(self._stored(queries), n_neighbors)
        neighbors = rows if self.ids_ is None else self.ids_[rows]
        place = arrays.place_within(dict(queries or {}))
        if place is not None:
            distances = place.put(distances)
            neighbors = place.put(neighbors) if neighbors.dtype.kind in "iu" else neighbors
        return (distances, neighbors) if return_distance else neighbors

    def save(self, path):
        """Write the index to one file with its estimator, or one on disk to another folder.

        Needs the package skops. Of a search, the best estimator is kept. Deep estimators keep what
        they need to embed, and the losses of their epochs; callbacks, optimisers and adversaries
        are left out, so one that is trained on after loading begins with new ones.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced once the new one is complete and on the disk: whatever
            ends the process, one of the two is there.

        Raises
        ------
        ValueError
            If the path is there and no regular file; if the estimator has towers of its own or a
            function as kernel, which are code.
        ImportError
            If skops is not installed.

        Warns
        -----
        UserWarning
            If the estimator holds types that must be named to `load`.
        """
        check_is_fitted(self)
        if self.folder_ is not None:
            folder, shards = _shards.Folder(path), self._folder.shards
            if folder.path.resolve() == self.folder_.resolve():
                folder = self._folder
            else:
                shards = folder.written(_stream.blocks_of(self._stored_rows(), self.ids_))
            folder.name(self._header(), shards, self._best_estimator())
            return
        header = {"format": _FORMAT} | self._header()
        stored = {"rows": self._stored_rows()} | ({} if self.ids_ is None else {"ids": self.ids_})
        _storage.save(path, header, stored, self._best_estimator())

    def _stored_rows(self):
        return arrays.to_host(self._backend.gallery)

    def __getstate__(self):
        return arrays.on_host(super().__getstate__())

    def _header(self):
        return {
            "n_neighbors": self.n_neighbors,
            "gallery": self.gallery_,
            "backend": self.backend,
            "factory": self.factory,
            "backend_options": self.backend_options,
            "n_components": self.n_components_,
        }

    def _best_estimator(self):
        return getattr(self.estimator_, "best_estimator_", self.estimator_)

    def export(self, path):
        """Write the stored rows and their ids for other programs, such as vector databases.

        The rows are of norm 1, or packed bits.

        Parameters
        ----------
        path : str or path-like
            Of a Parquet file if it ends in .parquet, with the columns "id" and "vector", which
            needs the package pyarrow; of rows in NumPy's format if it ends in .npy, with the ids,
            if there are any, in a file beside it that ends in .ids.npy.

        Raises
        ------
        ValueError
            If the path ends otherwise.
        ImportError
            If pyarrow is not installed.
        """
        check_is_fitted(self)
        writers = {".npy": _stream.export_npy, ".parquet": _stream.export_parquet}
        suffix = Path(path).suffix
        if suffix not in writers:
            raise ValueError(f"{path} ends in {suffix!r}; known are {list(writers)}.")
        writers[suffix](path, self._stored_rows(), self.ids_)

    @classmethod
    def load(cls, path, *, trusted: Collection[str] = ()) -> Self:
        """Read an index from a file without running any code of it, see the notes of the class.

        Parameters
        ----------
        path : str or path-like
            A file that `save` has written, or the folder of a gallery on disk.
        trusted : collection of str, default=()
            Further types that may be in it, such as ``["package.module.Class"]``. Whoever wrote
            the file decides how such a type is used: look at its code before.

        Returns
        -------
        index : CrossModalIndex
            The index; its estimator is fitted. A device that is not there is replaced by the CPU.

        Raises
        ------
        ValueError
            If the file is damaged, or holds types that are not trusted, which it names.
        ImportError
            If skops, or the backend, is not installed.
        """
        try:
            if _shards.is_folder(path):
                folder = _shards.Folder(path)
                index = cls._of_header(*folder.read(trusted), _shards.FORMAT)
                index._open(folder)
                return index
            header, arrays, estimator = _storage.load(path, trusted)
            return cls._of_header(header, estimator, _FORMAT)._with_arrays(arrays)
        except (KeyError, TypeError, OSError, RuntimeError) as error:
            if isinstance(error, (FileNotFoundError, PermissionError)):
                raise
            raise ValueError(f"{path} holds no index: {error}") from error
        except ValueError as error:
            raise ValueError(f"{path} holds no index: {error}") from error

    @classmethod
    def _of_header(cls, header, estimator, known_format):
        """Return an index without a gallery of what was read, which may be wrong in any way."""
        _check_header(header, known_format)
        options = {name: header[name] for name in ("n_neighbors", "gallery", "backend")}
        options |= {name: header.get(name) for name in ("factory", "backend_options")}
        index = cls(estimator, **options)
        index._validate_params()
        check_is_fitted(estimator)
        _check_gallery(header["gallery"], estimator)
        index.estimator_, index.gallery_ = estimator, options["gallery"]
        index.metric_, index.n_components_ = _known_metric(estimator), header["n_components"]
        return index

    def _with_arrays(self, arrays):
        rows = np.ascontiguousarray(arrays["rows"])
        self._metric.check_stored(rows)
        ids = _ids.checked(arrays["ids"], len(rows)) if "ids" in arrays else None
        self.folder_ = None
        self._hold(rows, ids)
        return self

    @property
    def _metric(self):
        return _search.METRICS[self.metric_](self.n_components_)

    def _fitted_estimator(self, views, y):
        try:
            check_is_fitted(self.estimator)
        except NotFittedError as error:
            if len(list(views)) < 2:
                raise NotFittedError(
                    f"The estimator is not fitted, and X holds the views {list(views)} only. Fit "
                    "it first, or pass both views, and the labels if it needs them, to fit it here."
                ) from error
            return clone(self.estimator).fit(views, y)
        return self.estimator

    def _gallery_view(self, views):
        if self.gallery_ not in list(views):
            raise ValueError(
                f"The view of the gallery is {self.gallery_!r}; X holds the views {list(views)}."
            )
        return Views({self.gallery_: views[self.gallery_]})

    def _embedded(self, views):
        """Return the embedding of the rows of one view that are there, and which rows these are."""
        output = self.estimator_.transform(views)
        if not isinstance(output, Mapping):
            raise ValueError(
                f"The estimator returned {type(output).__name__} for a mapping; it must embed "
                "views by name, as the estimators of cca_estimators do."
            )
        bits = [np.uint8, bool] if self.metric_ == "hamming" else []
        dtypes = [np.float64, np.float32, *bits]
        rows = output[next(iter(views))]
        place = arrays.place_of(rows)
        if place is not None and place.computes and self.metric_ == "cosine":
            there = rows_there(rows)
            rows = rows if there.all() else _reading.some_rows(rows, np.flatnonzero(there))
            dtypes = place.float_dtypes
        else:
            rows = rows if np.ma.isMA(rows) else np.asarray(arrays.to_host(rows))
            there = rows_there(rows)
            rows = np.asarray(rows) if there.all() else np.asarray(rows[there])
        if not rows.shape[0]:
            return rows, there
        embedding = check_array(rows, dtype=dtypes, input_name="The embedding")
        if self.metric_ == "hamming" and not np.isin(embedding, (0, 1)).all():
            raise ValueError("The embedding has values other than 0 and 1, but metric='hamming'.")
        return embedding, there

    def _stored(self, queries):
        """Return the embedding of queries, which must fit the gallery, as the metric stores it."""
        views = _named_views(queries)
        if len(list(views)) != 1:
            raise ValueError(f"queries holds the views {list(views)}; pass the one to search by.")
        name = next(iter(views))
        embedding, there = self._embedded(views)
        if not there.all():
            raise ValueError(
                f"View {name!r} holds {np.count_nonzero(~there)} missing rows (NaN throughout), "
                f"the first of them row {there.argmin()}: leave them out of the queries."
            )
        return self._metric.stored(self._checked(embedding, name))

    def _checked(self, embedding, view=None):
        if embedding.shape[1] != self.n_components_:
            raise ValueError(
                f"The embedding of view {view or self.gallery_!r} has {embedding.shape[1]} "
                f"columns, that of the gallery {self.n_components_}: they must be in the same "
                "space."
            )
        return embedding

    def _hold(self, rows, ids):
        """Keep the rows of the gallery, as the metric stores them, and their ids."""
        if self.factory is not None and self.backend != "faiss":
            raise ValueError(
                f"factory={self.factory!r} is for backend='faiss', not {self.backend!r}."
            )
        if self.backend_options and self.backend == "exact":
            raise ValueError("backend_options are for approximate search, not backend='exact'.")
        exact = self.backend == "exact"
        rows = rows if exact else arrays.to_host(rows)
        options = [] if exact else [self.factory, self.backend_options]
        self._backend = _backends.BACKENDS[self.backend](self._metric, rows, *options)
        self.ids_, self.n_samples_fit_ = ids, rows.shape[0] if exact else len(rows)

    def _checked_n_neighbors(self, n_neighbors, most):
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        known = isinstance(n_neighbors, Integral) and not isinstance(n_neighbors, bool)
        if not (known and 1 <= n_neighbors <= most):
            raise ValueError(
                f"n_neighbors={n_neighbors!r} must be an int from 1 to the gallery's {most} rows."
            )
        return n_neighbors


def _without_own(distances, rows):
    """Leave out of each list the row that it is of or, where it is not among them, the last."""
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(axis=1), -1] = True
    return tuple(each[~own].reshape(len(each), -1) for each in (distances, rows))


def _warn_of_missing(n_missing, n_samples):
    warn_user(f"Rows of NaN are left out of the gallery: {n_missing} of {n_samples}.")


def _named_views(X):
    if not _reading.is_mapping(X):
        raise ValueError(
            f"X is a {type(X).__name__}; an index takes views by name, as in {{'audio': rows}}. "
            "The views of an estimator fitted on one array are named 'first' and 'second'."
        )
    if not list(X):
        raise ValueError("X holds no view.")
    return Views(X)


def _first_block(blocks):
    for block in blocks:
        return _named_views(block)
    raise ValueError("X holds no rows: an index needs one at least.")


def _blocks_of_ids(ids, whole):
    return [ids] if whole and ids is not None else ids


def _joined(stored):
    """Return stored parts and their ids as one."""
    rows, ids = zip(*stored, strict=True)
    if ids[0] is None:
        return namespace.joined(rows), None
    return namespace.joined(rows), _ids.distinct(np.concatenate(ids))


def _check_header(header, known_format):
    """Raise ValueError unless the values of a header are of the types and in the ranges of `save`.

    JSON knows integers of any size, and 2.0 and true are equal to some.
    """
    if header["format"] != known_format:
        raise ValueError(f"its format is {header['format']!r}.")
    for name in ("n_neighbors", "n_components"):
        if not _storage.is_int(header[name], 1, _MOST):
            raise ValueError(f"its {name} is {str(header[name])[:20]}, no int from 1 to {_MOST}.")


def _check_gallery(gallery, estimator):
    """Raise ValueError if the gallery is no view that the estimator, or a step of it, knows."""
    best = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in getattr(best, "steps", [(None, best)])]
    known = [step.view_names_in_ for step in steps if hasattr(step, "view_names_in_")]
    if known and gallery not in known[0]:
        raise ValueError(f"its gallery is {gallery!r}; the views of the estimator are {known[0]}.")


def _known_metric(estimator):
    metric = _metric_of(estimator)
    if metric not in _search.METRICS:
        raise ValueError(
            f"The estimator has metric={metric!r}; an index knows {list(_search.METRICS)}."
        )
    return metric


CrossModalIndex.__doc__ = CrossModalIndex.__doc__.format(
    trusted=", ".join(f"``{name}``" for name in _storage.TRUSTED)
)
