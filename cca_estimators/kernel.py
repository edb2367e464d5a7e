"""Kernel joint embeddings: KCCA of pairs and CKCCA of classes, exact or by landmarks."""

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.utils import check_random_state, gen_batches

from cca_estimators import _ranks, _reading
from cca_estimators._algebra.class_kernels import (
    class_directions,
    class_duals,
    left_out_variates,
)
from cca_estimators._algebra.kernel_solver import leading_pairs
from cca_estimators._algebra.kernels import (
    Centring,
    Kernel,
    NystroemMap,
    as_rows,
    check_range,
    resolved_gamma,
)
from cca_estimators._algebra.moments import (
    ClassScatter,
    PairedScatter,
    class_members,
    class_pair_weights,
    cluster_moments,
    paired_moments,
)
from cca_estimators._algebra.namespace import (
    cast,
    diagonal,
    free_bytes,
    joined,
    like,
    namespace,
    trace,
)
from cca_estimators._algebra.solver import bounded, solve, with_fixed_signs
from cca_estimators._base import CrossModalEstimator
from cca_estimators._compat import Interval, StrOptions
from cca_estimators._reading import arrays
from cca_estimators._reading.arrays import is_of_library, to_host
from cca_estimators._reading.labels import strata
from cca_estimators.metrics import mean_average_precision
from cca_estimators.views import n_rows, take_rows

__all__ = ["CKCCA", "KCCA"]

_DEFAULT_COMPONENTS = 10
_EXACT_ROWS = 8000
_EXACT_BYTES = 16  # of the kernels of two views, for each pair of rows
_DEVICE_BYTES = 32  # of the kernels, their sum and its factor: all that a device holds at once
_DEVICE_NUMBERS = 2**25  # of a kernel that are computed at once
_ROUNDING = 1e-13
_LEAST_VARIANCE = 1e-280
_AUTO = "auto"
_LEFT_OUT_ROWS = 1000
_GAMMA_FACTORS = (1.0, 0.5, 0.25, 0.125)  # of "scale"
_RIDGES = (1e-4, 1e-5, 1e-3)

_PARAMETERS = """kernel : str, callable or dict, default="rbf"
        Name of a kernel of :func:`sklearn.metrics.pairwise.pairwise_kernels`; a function of two
        arrays of rows which returns their kernel matrix, and receives sequences with their steps
        (named kernels see them flattened); or "precomputed". A dict sets the views apart by name,
        as it does for all parameters down to `reg`.
    gamma : float, "scale", "median", None or dict, default="scale"
        Of the kernels that have it. "scale": ``1 / (n_features * variance)``; "median": one over
        the median squared distance; None: ``1 / n_features``.
    degree, coef0 : float or dict, default=3, 1
        Of the kernels that have them.
    kernel_params : dict, default=None
        Further keyword arguments of the kernel, or such a dict for each view by name.
    reg : float or dict, default=1e-4
        Ridge as a multiple of the mean variance in feature space, the mean of the diagonal of the
        centred kernel. Positive: without a ridge all correlations are 1.
    weighted : bool, default=True
        Multiply each variate by its canonical correlation, which serves cosine similarity; False:
        unit-variance variates.
    approx : {"auto", "exact", "nystroem"}, default="auto"
        Solve the problem of all rows, or that of features by landmarks (Nystroem); "auto": the
        first for up to 8,000 rows whose two kernels fit into scikit-learn's `working_memory`; of
        arrays on a GPU, for as many rows `n` as its free memory holds, ``32 n^2`` bytes.
    n_landmarks : int, default=1000
        Number of rows to take as landmarks; all if there are fewer.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of landmarks.
    view_split : int, default=None
        Number of leading columns that form the first view, if X is one array; None: half."""

_ATTRIBUTES = """correlations_ : ndarray of shape (n_components_,)
        Canonical correlations (regularised), descending.
    dual_coef_ : dict of ndarray, shape (n_samples, n_components_)
        Coefficients of the training rows, by view name; of the exact solution only.
    weights_ : dict of ndarray
        Directions in the space of the features by landmarks; of the approximation only.
    gamma_, reg_ : dict of float
        Values used, by view name.
    kernels_ : dict of callable
        Kernel of each view, with its parameters.
    n_components_ : int
        Number of dimensions of the embedding.
    view_names_in_ : list of str
        Names of the views; "first" and "second" if X was one array.
    n_features_in_ : int, or dict of int by view name
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of str, or dict of them by view name
        Names of the features, if X was one DataFrame or held some; `transform` checks them."""


class KernelEmbedding(CrossModalEstimator):
    """Embedding of each view by a kernel with its training rows, or with landmarks of them."""

    _parameter_constraints = {
        **CrossModalEstimator._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "kernel": [StrOptions({*PAIRWISE_KERNEL_FUNCTIONS, "precomputed"}), callable, dict],
        "gamma": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"scale", "median"}),
            dict,
            None,
        ],
        "degree": [Interval(Real, 0, None, closed="left"), dict],
        "coef0": [Interval(Real, None, None, closed="neither"), dict],
        "kernel_params": [dict, None],
        "reg": [Interval(Real, 0, None, closed="neither"), dict],
        "weighted": ["boolean"],
        "approx": [StrOptions({"auto", "exact", "nystroem"})],
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        kernel: str | Callable | dict[str, Any] = "rbf",
        gamma: float | str | dict[str, Any] | None = "scale",
        degree: float | dict[str, Any] = 3,
        coef0: float | dict[str, Any] = 1,
        kernel_params: dict[str, Any] | None = None,
        reg: float | str | dict[str, Any] = 1e-4,
        weighted: bool = True,
        approx: str = "auto",
        n_landmarks: int = 1000,
        random_state: Any = None,
        view_split: int | None = None,
    ):
        self.n_components = n_components
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.reg = reg
        self.weighted = weighted
        self.approx = approx
        self.n_landmarks = n_landmarks
        self.random_state = random_state
        self.view_split = view_split

    _adds_up = True  # over the ranks of a sharded fit

    def _fit(self, views, y):
        ranks = _ranks.current()
        n_samples = max(ranks.place(n_rows(rows))[1] for rows in views.values())
        if ranks.size > 1 and self._is_exact(n_samples):
            views, _ = ranks.joined_views(views, None)
            y = _labels_of_all(y)
            with _ranks.among(_ranks.ALONE):
                fitted = None if ranks.rank else self._fit(views, y) or vars(self)
            vars(self).update(ranks.of_first(fitted))
            return
        kinds = self._by_view("kernel")
        rows = {name: as_rows(rows, name, callable(kinds[name])) for name, rows in views.items()}
        self._check_square(rows, kinds)
        for name, kind in kinds.items():
            if not callable(kind):
                check_range(rows[name], name)
        self.reg_ = self._by_view("reg")
        self.gamma_ = _resolved(self._by_view("gamma"), rows)
        self._choose(rows, y, kinds)
        self.kernels_ = self._kernels(kinds, rows)
        if self._is_exact(n_samples, free_bytes(next(iter(rows.values())))):
            self._fit_exact(rows, y)
        else:
            self._fit_landmarks(rows, y)
        self.n_components_ = self.correlations_.shape[0]

    def _choose(self, rows, y, kinds):
        """Replace "auto" in `reg_` and `gamma_`, if it is known."""

    @abstractmethod
    def _row_weights(self, rows, y):
        """Return the weights of the rows of each view, which sum to 1."""

    @abstractmethod
    def _solve_exact(self, kernels, ridges, y):
        """Return correlations and dual coefficients for centred kernels, given away."""

    @abstractmethod
    def _moments(self, features, y):
        """Return the moments of features by landmarks."""

    @abstractmethod
    def _most_components(self):
        """Return a bound on the number of components beside the ranks of the views, or None."""

    @abstractmethod
    def _landmark_rows(self, rows, y, rng):
        """Return the numbers of the rows of each view to take as landmarks."""

    def _fit_exact(self, rows, y):
        kernels, ridges, centrings = [], [], []
        for (name, view), weights in zip(rows.items(), self._row_weights(rows, y), strict=True):
            with _reading.naming(name):
                kernel = self.kernels_[name](view, view)
            size = weights @ np.abs(to_host(diagonal(kernel)))
            centrings.append(Centring(kernel, weights))
            kernels.append(centrings[-1].train(kernel))
            variance = float(weights @ to_host(diagonal(kernels[-1])))
            self._check_varies(name, variance, size)
            ridges.append(self.reg_[name] * variance)
        try:
            self.correlations_, duals = self._solve_exact(kernels, ridges, y)
        except np.linalg.LinAlgError as error:
            raise self._indefinite_error() from error
        self.dual_coef_, self._offsets_ = {}, {}
        for name, centring, dual in zip(rows, centrings, duals, strict=True):
            self.dual_coef_[name], self._offsets_[name] = centring.folded(dual)
        self.X_fit_ = {name: self.kernels_[name].kept(view) for name, view in rows.items()}

    def _fit_landmarks(self, rows, y):
        ranks, rng = _ranks.current(), check_random_state(self.random_state)
        chosen = ranks.of_first(self._landmark_rows(rows, _labels_of_all(y), rng))
        self.maps_ = {}
        for (name, view), numbers in zip(rows.items(), chosen, strict=True):
            landmarks = _picked(view, numbers)
            with _reading.naming(name):
                self.maps_[name] = NystroemMap(self.kernels_[name], landmarks)
        moments = self._moments(rows, y)
        for name, covariance, mean in zip(rows, moments[1:3], moments.means, strict=True):
            self._check_varies(name, trace(covariance), float(mean @ mean))
        ridges = [self.reg_[name] * c.shape[0] for name, c in zip(rows, moments[1:3], strict=True)]
        solution = solve(moments, self.n_components, tuple(ridges), self._most_components())
        self.correlations_ = solution.correlations
        self.weights_ = dict(zip(rows, solution.weights, strict=True))
        self.means_ = dict(zip(rows, moments.means, strict=True))

    def _features(self, rows):
        """Yield a slice of rows and the features of each view by its landmarks."""
        for taken, _ in _reading.blocks(rows):
            yield (
                taken,
                [self.maps_[name].transform(view[taken, ...]) for name, view in rows.items()],
            )

    def _transform_view(self, name, rows):
        model = arrays.moved(self, arrays.place_of(rows))
        xp = namespace(rows)
        dtype = xp.float32 if rows.dtype == xp.float32 else xp.float64
        scales = model.correlations_ if self.weighted else 1.0
        rows = as_rows(rows, name, callable(self.kernels_[name].kernel))
        parts = []
        for taken in model._slices(name, rows):
            with _reading.naming(name):
                parts.append(cast(model._variates(name, rows[taken, ...]) * scales, dtype))
        return joined(parts)

    def _slices(self, name, rows):
        """Yield slices of rows whose kernels fit into a block."""
        if is_of_library(rows):
            width = self._kernel_sized(name, rows[:1, ...]).shape[1]
            return gen_batches(rows.shape[0], max(1, _DEVICE_NUMBERS // width))
        return (taken for taken, _ in _reading.blocks({name: self._kernel_sized(name, rows)}))

    _works_in_place = True

    def _settling(self):
        fitted = vars(self)
        names = ("weights_", "means_", "correlations_", "dual_coef_", "_offsets_", "X_fit_")
        return {n: fitted[n] for n in (*names, "maps_", "kernels_") if n in fitted}

    def _variates(self, name, rows):
        if hasattr(self, "maps_"):
            return (self.maps_[name].transform(rows) - self.means_[name]) @ self.weights_[name]
        kernel = self.kernels_[name](rows, self.X_fit_[name])
        return kernel @ self.dual_coef_[name] - self._offsets_[name]

    def _kernel_sized(self, name, rows):
        """Return a stand-in, without memory of its own, as wide as the kernel of the rows."""
        known = self.maps_[name].landmarks if hasattr(self, "maps_") else self.dual_coef_[name]
        return np.broadcast_to(np.zeros(1), (rows.shape[0], known.shape[0]))

    def _kernels(self, kinds, rows):
        """Return the kernel of each view, with its parameters."""
        degrees, offsets = self._by_view("degree"), self._by_view("coef0")
        further = self.kernel_params or {}
        if set(further) != set(kinds) or not all(isinstance(own, dict) for own in further.values()):
            further = dict.fromkeys(kinds, further)
        kernels = {}
        for name, kind in kinds.items():
            params = {"gamma": self.gamma_[name], "degree": degrees[name], "coef0": offsets[name]}
            kernels[name] = Kernel(kind, params, further[name], rows[name])
        return kernels

    def _is_exact(self, n_rows, free=None):
        if self.approx != "auto":
            return self.approx == "exact"
        precomputed = "precomputed" in list(self._by_view("kernel").values())
        if free is not None:
            return precomputed or _DEVICE_BYTES * n_rows**2 <= free
        memory = get_config()["working_memory"] * 2**20
        return precomputed or (n_rows <= _EXACT_ROWS and _EXACT_BYTES * n_rows**2 <= memory)

    def _check_square(self, rows, kinds):
        for name, kernel in rows.items():
            if kinds[name] != "precomputed":
                continue
            if tuple(kernel.shape) != (kernel.shape[0], kernel.shape[0]):
                raise ValueError(
                    f"View {name!r} has shape {kernel.shape}; kernel='precomputed' needs the "
                    "square kernel matrix of the training rows."
                )
            if self.approx == "nystroem":
                raise ValueError("approx='nystroem' needs rows, not a precomputed kernel matrix.")

    def _indefinite_error(self):
        return ValueError(
            f"The kernels of the views, {self._by_view('kernel')}, are not positive semi-definite "
            "on these rows, as a kernel must be: 'sigmoid' seldom is, and powers of large numbers "
            "lose all digits. Name another kernel, such as 'rbf', scale the features, or set a "
            "larger reg."
        )

    def _check_varies(self, name, variance, size):
        if variance < -_ROUNDING * size:
            raise self._indefinite_error()
        if not variance > max(_ROUNDING * size, _LEAST_VARIANCE):
            raise ValueError(
                f"View {name!r} does not vary: its centred kernel is zero, or too small to be told "
                "from it. Check how its features were made, and their scale."
            )


class KCCA(KernelEmbedding):
    """Kernel canonical correlation analysis (KCCA).

    CCA in the feature spaces of two kernels: with centred kernel matrices `K` of the training rows,
    it finds dual coefficients `a`, `b` by ::

        max a' K_x K_y b / (n - 1)   s.t.   a' (K_x^2 / (n - 1) + e_x K_x) a = 1,   b alike

    and ``e = reg * trace(K) / (n - 1)``. The labels are not used. The exact solution needs one
    Cholesky factorisation of the size of a kernel; for many rows, Nystroem features of some of them
    (landmarks) turn the problem into a linear one.

    A precomputed kernel is one square matrix per view in `fit`; `transform` takes test x train
    matrices. Cross-validation cannot cut such matrices in both directions: pass a callable kernel
    and the rows instead.

    Read more in the :ref:`User Guide <kernel>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of dimensions of the embedding; None: 10, or as many as there are.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    CCA : The linear method.
    CKCCA : KCCA of all pairs of the same class.

    References
    ----------
    .. [1] P. Lai, C. Fyfe, "Kernel and nonlinear canonical correlation analysis", International
       Journal of Neural Systems 10(5), 365-377, 2000.
    .. [2] S. Akaho, "A kernel method for canonical correlation analysis", IMPS, 2001.
    .. [3] D. Hardoon, S. Szedmak, J. Shawe-Taylor, "Canonical correlation analysis: An overview
       with application to learning methods", Neural Computation 16(12), 2639-2664, 2004.

    Examples
    --------
    >>> from cca_estimators import KCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=100, n_classes=4, n_features=(8, 12), random_state=0)
    >>> KCCA(3, reg=0.1).fit(X).transform({{"audio": X["audio"][:5]}})
    Views(audio=(5, 3))
    """

    def _row_weights(self, rows, y):
        counts = map(n_rows, rows.values())
        return [np.full(count, 1.0 / count) for count in counts]

    def _solve_exact(self, kernels, ridges, y):
        n_rows = kernels[0].shape[0]
        for kernel, ridge in zip(kernels, ridges, strict=True):
            kernel /= ridge * n_rows
        n_components = min(self.n_components or n_rows, self._most_components() or n_rows)
        correlations, *duals = leading_pairs(*kernels, n_components)
        bounded(self.n_components, correlations.shape[0])
        scales = [float(np.sqrt(n_rows - 1) / (ridge * n_rows)) for ridge in ridges]
        duals = [scale * dual for scale, dual in zip(scales, duals, strict=True)]
        return correlations, with_fixed_signs(*duals)

    def _most_components(self):
        return _DEFAULT_COMPONENTS if self.n_components is None else None

    def _landmark_rows(self, rows, y, rng):
        order = rng.permutation(n_rows(next(iter(rows.values()))))
        return [order[: self.n_landmarks]] * len(rows)

    def _moments(self, rows, y):
        scatter = PairedScatter()
        for _, blocks in self._features(rows):
            scatter.update(*blocks)
        return paired_moments(_ranks.current().merged(scatter))


class CKCCA(KernelEmbedding):
    """Cluster kernel canonical correlation analysis (C-KCCA): KCCA over pairs of the same class.

    CCA in the feature spaces of two kernels over all `M` pairs of a row of one view and a row of
    the other that have the same class. With `D` the number of pairs of each row, `A` which rows
    have the same class, and kernels centred at the pair-weighted means::

        max a' K_x A K_y b / M   s.t.   a' (K_x D K_x / M + e_x K_x) a = 1,   b alike

    and `e` is `reg` times the pair-weighted mean of the diagonal of `K`. Since `A` has the rank of
    the classes, the exact solution needs one Cholesky factorisation of each kernel with as many
    right-hand sides as there are classes; for many rows, Nystroem features of some of them
    (landmarks, of each class in its proportion) turn the problem into a linear one.

    ``gamma="auto"``, ``reg="auto"`` or both take what has the best MAP among rows that are left
    out one by one: of 1, 1/2, 1/4 and 1/8 times "scale", of ridges of 1e-5, 1e-4 and 1e-3, the same
    for both views. The residuals of left-out rows have a closed form, and 1,000 rows at most are
    looked at, drawn as landmarks are.

    Rows may have several labels, as an indicator matrix: `A` is then the number of labels that two
    rows share, `D` its sums over the rows, and `M` its sum. Views may lack rows, which are NaN
    throughout: `A` is then of the rows of one view that are there by those of the other.

    Read more in the :ref:`User Guide <kernel>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of dimensions of the embedding; None: the number of classes less one.
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    {attributes}

    See Also
    --------
    CCCA : The linear method.
    KCCA : Without labels.

    References
    ----------
    .. [1] N. Rasiwasia, D. Mahajan, V. Mahadevan, G. Aggarwal, "Cluster canonical correlation
       analysis", AISTATS, PMLR 33, 823-831, 2014.

    Examples
    --------
    >>> from cca_estimators import CKCCA
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=100, n_classes=4, n_features=(8, 12), random_state=0)
    >>> CKCCA().fit(X, y).score(X, y) > 0.5
    True
    """

    _parameter_constraints = {
        **KernelEmbedding._parameter_constraints,
        "gamma": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"scale", "median", "auto"}),
            dict,
            None,
        ],
        "reg": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"}), dict],
    }
    _supervised = True
    _several_labels = True
    _missing_partners = "own rows"

    def _fit(self, views, y):
        """Fit on the labels of the rows, or, if views have rows of their own, of those of each."""
        super()._fit(views, y if isinstance(y, list) else [y, y])

    def _fit_incomplete(self, views, y, present, counts):
        """Fit on the rows that each view has: the pairs of a class need no partners."""
        self._fit(*self._own_rows(views, y, present, counts))

    def _row_weights(self, rows, y):
        return [pairs / pairs.sum() for pairs, _ in self._pairs(y)]

    def _pairs(self, y):
        """Return the number of pairs of each row, and an indicator of the classes, by view."""
        x, z = (class_members(labels, len(self.classes_)) for labels in y)
        return [(own @ other.sum(axis=0), own.toarray()) for own, other in ((x, z), (z, x))]

    def _solve_exact(self, kernels, ridges, y):
        sides = self._pairs(y)
        n_pairs = sides[0][0].sum()
        parts = [
            class_duals(kernel, float(ridge * n_pairs), *side)[:2]
            for kernel, ridge, side in zip(kernels, ridges, sides, strict=True)
        ]
        (dual_x, root_x), (dual_y, root_y) = parts
        correlations, (turn_x, turn_y) = class_directions(root_x, root_y)
        n_components = bounded(self.n_components, self._most_components())
        duals = [
            float(np.sqrt(n_pairs)) * dual @ like(turn[:, :n_components], dual)
            for dual, turn in ((dual_x, turn_x), (dual_y, turn_y))
        ]
        return correlations[:n_components], with_fixed_signs(*duals)

    def _most_components(self):
        return len(self.classes_) - 1

    def _choose(self, rows, y, kinds):
        """Take for "auto" what retrieves best among rows left out one by one."""
        gammas, regs = self._by_view("gamma"), self._by_view("reg")
        if _AUTO not in (*gammas.values(), *regs.values()):
            return
        ranks, y = _ranks.current(), _labels_of_all(y)
        drawn = self._in_proportion(y, _LEFT_OUT_ROWS, check_random_state(self.random_state))
        drawn = ranks.of_first(drawn)
        sides = self._pairs([labels[own] for labels, own in zip(y, drawn, strict=True)])
        drawn = [own[pairs > 0] for own, (pairs, _) in zip(drawn, sides, strict=True)]
        part = {}
        for (name, view), own in zip(rows.items(), drawn, strict=True):
            if kinds[name] == "precomputed":
                part[name] = to_host(take_rows(view, own))[:, own]
            else:
                part[name] = to_host(_picked(view, own))
        y = [labels[own] for labels, own in zip(y, drawn, strict=True)]
        with _ranks.among(_ranks.ALONE):
            self._choose_by(part, y, kinds, gammas, regs)

    def _choose_by(self, part, y, kinds, gammas, regs):
        """Take what retrieves best among some rows, left out one by one."""
        best, chosen, scales = -1.0, None, self.gamma_
        for factor in _GAMMA_FACTORS if _AUTO in gammas.values() else [1.0]:
            gamma = {n: g * factor if gammas[n] == _AUTO else g for n, g in scales.items()}
            kernels, sides = self._kernels_of(part, y, kinds, gamma)
            for ridge in _RIDGES if _AUTO in regs.values() else [None]:
                reg = {name: ridge if own == _AUTO else own for name, own in regs.items()}
                variates = left_out_variates(kernels, reg.values(), sides)
                score = _map_of_both(variates, y)
                if score > best:
                    best, chosen = score, (gamma, reg)
        self.gamma_, self.reg_ = chosen

    def _kernels_of(self, rows, y, kinds, gamma):
        """Return centred kernels of some rows, and what `_pairs` tells of these."""
        self.gamma_ = gamma
        sides, kernels = self._pairs(y), []
        for (name, kernel), (pairs, _) in zip(
            self._kernels(kinds, rows).items(), sides, strict=True
        ):
            weights = pairs / pairs.sum()
            matrix = kernel(rows[name], rows[name])
            size = weights @ np.abs(matrix.diagonal())
            kernels.append(Centring(matrix, weights).train(matrix))
            self._check_varies(name, weights @ kernels[-1].diagonal(), size)
        return kernels, sides

    def _landmark_rows(self, rows, y, rng):
        return self._in_proportion(y, self.n_landmarks, rng)

    def _in_proportion(self, y, n_rows, rng):
        """Return numbers of rows of each view that hold the classes in their proportions.

        They are the same in both views if these have the same rows.
        """
        x, z = y
        drawn = _in_proportion(strata(x), rng)[:n_rows]
        return [drawn, drawn if x is z else _in_proportion(strata(z), rng)[:n_rows]]

    def _moments(self, rows, y):
        ranks = _ranks.current()
        own = [class_members(labels, len(self.classes_)).sum(axis=0) for labels in y]
        counts = np.sum(ranks.gathered(own), axis=0)
        pair_weights = class_pair_weights(*counts)
        sides = [ClassScatter(pair_weights / count) for count in counts]
        for (name, view), labels, side in zip(rows.items(), y, sides, strict=True):
            for taken, (block,) in self._features({name: view}):
                side.update(block, labels[taken])
        return cluster_moments(*map(ranks.merged, sides), pair_weights)


def _labels_of_all(y):
    """Return the labels of the rows of all ranks, who give both views the same."""
    ranks = _ranks.current()
    return y if ranks.size == 1 else [ranks.joined(y[0])] * 2


def _in_proportion(classes, rng):
    """Return an order of the rows whose leading parts hold the classes in their proportions."""
    order = rng.permutation(len(classes))
    ranks = np.empty(len(classes))
    for code in range(classes.max() + 1):
        members = order[classes[order] == code]
        ranks[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(ranks)


def _picked(rows, numbers):
    """Return some rows by their numbers among those of all ranks."""
    if is_of_library(rows):
        return take_rows(rows, numbers)
    return _ranks.current().picked(rows, numbers)


def _map_of_both(variates, y):
    """Return the mean MAP of retrieval among some rows, of either direction."""
    (x, z), (of_x, of_z) = variates, y
    return (mean_average_precision(x, z, of_x, of_z) + mean_average_precision(z, x, of_z, of_x)) / 2


def _resolved(gammas, rows):
    """Return the numbers that settings of gamma stand for, from the training rows."""
    return {
        name: resolved_gamma(
            gamma, namespace(rows[name]).reshape(rows[name], (rows[name].shape[0], -1))
        )
        for name, gamma in gammas.items()
    }


for _method in (KCCA, CKCCA):
    _method.__doc__ = _method.__doc__.format(parameters=_PARAMETERS, attributes=_ATTRIBUTES)
