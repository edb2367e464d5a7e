"""Generated views with known class structure and known canonical correlations."""

from collections.abc import Sequence
from math import factorial
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from cca_estimators._compat import Interval, StrOptions, validate_params
from cca_estimators.views import Views


@validate_params(
    {
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "n_classes": [Interval(Integral, 2, None, closed="left")],
        "n_features": [tuple],
        "n_steps": [Interval(Integral, 1, None, closed="left"), None],
        "signal": [StrOptions({"means", "order"})],
        "class_sep": [Interval(Real, 0, None, closed="left")],
        "shared_rank": [Interval(Integral, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "imbalance": [Interval(Real, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_views(
    n_samples=1000,
    n_classes=10,
    n_features: Sequence[int] = (128, 1024),
    *,
    n_steps=None,
    signal="means",
    class_sep=2.0,
    shared_rank=5,
    noise=1.0,
    imbalance=1.0,
    random_state=None,
) -> tuple[Views, np.ndarray]:
    """Generate two views that share a class and some variation beyond it.

    A sample of class `c` has the latent vector ``h = [class_sep * v_c, s]``: `v_c` is a corner of
    a regular simplex with `n_classes` corners and unit variance in each of its ``n_classes - 1``
    dimensions, and ``s ~ N(0, I)`` has `shared_rank` dimensions. Each view is ``h Q + noise * e``
    with a random `Q` of orthonormal rows and ``e ~ N(0, I)``, independent between the views.

    If classes are balanced, the canonical correlations of the population are therefore
    ``class_sep**2 / (class_sep**2 + noise**2)``, ``n_classes - 1`` times, and
    ``1 / (1 + noise**2)``, `shared_rank` times. The first are those of cluster CCA.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of samples.
    n_classes : int, default=10
        Number of classes.
    n_features : tuple of two int, default=(128, 1024)
        Number of features of each view, at least ``n_classes - 1 + shared_rank``. The default is
        that of VGGish and Inception features of videos.
    n_steps : int, default=None
        Number of steps of a sequence, each of which shows the latent vector with noise of its own;
        the noise is larger by ``sqrt(n_steps)``, so that the correlations stay the same. None: no
        steps.
    signal : {"means", "order"}, default="means"
        Where sequences have their class: in the means over the steps, or in the order of the steps
        alone. The steps of each class then show the same `n_steps` patterns, the corners of a
        simplex, in an order of its own that begins anew at its end, and each sequence of each view
        begins at a random step of it: no step by itself, and no mean over steps, tells a class.
        The noise of a step is `noise`.
    class_sep : float, default=2.0
        Standard deviation of the class part of the latent vector.
    shared_rank : int, default=5
        Number of latent dimensions that tell one pair from another within a class.
    noise : float, default=1.0
        Standard deviation of the noise.
    imbalance : float, default=1.0
        Size of the first class relative to the last; between, sizes fall geometrically.
    random_state : int, RandomState instance or None, default=None
        Seed of the generator.

    Returns
    -------
    X : Views
        "audio" and "visual", float64, shape (n_samples, n_features) or (n_samples, n_steps,
        n_features).
    y : ndarray of int, shape (n_samples,)
        Classes from 0.

    Raises
    ------
    ValueError
        If a view has too few features for the latent dimensions, or if there are fewer orders of
        the steps than classes.

    Examples
    --------
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=100, n_features=(16, 20), n_steps=3, random_state=0)
    >>> X
    Views(audio=(100, 3, 16), visual=(100, 3, 20))
    """
    of_order = signal == "order"
    if of_order and (n_steps is None or factorial(n_steps - 1) < n_classes):
        raise ValueError(
            f"n_steps={n_steps} steps have fewer cyclic orders, (n_steps - 1)!, than the "
            f"n_classes={n_classes} classes that signal='order' tells by them. Raise n_steps."
        )
    n_corners = n_steps if of_order else n_classes
    rank = n_corners - 1 + shared_rank
    if len(n_features) != 2 or min(n_features) < rank:
        raise ValueError(
            f"n_features={n_features} must be two numbers of at least {rank}, the latent "
            f"dimensions: {n_corners} corners of a simplex less one, and shared_rank."
        )
    rng = check_random_state(random_state)
    shares = np.geomspace(imbalance, 1, n_classes)
    y = np.searchsorted(np.cumsum(shares / shares.sum()), (np.arange(n_samples) + 0.5) / n_samples)
    rng.shuffle(y)
    corners = class_sep * _simplex(n_corners)
    shared = rng.standard_normal((n_samples, shared_rank))
    if of_order:
        orders = _cyclic_orders(n_classes, n_steps, rng)[y]
        views = [_ordered_view(corners, orders, shared, width, noise, rng) for width in n_features]
    else:
        latent = np.hstack([corners[y], shared])
        views = [_view(latent, width, n_steps, noise, rng) for width in n_features]
    return Views(zip(("audio", "visual"), views, strict=True)), y


def _simplex(n_corners):
    """Return the corners of a regular simplex with mean 0 and covariance I."""
    centred = np.eye(n_corners) - 1 / n_corners
    left, _, _ = np.linalg.svd(centred)
    return left[:, :-1] * np.sqrt(n_corners)


def _view(latent, width, n_steps, noise, rng):
    loadings = np.linalg.qr(rng.standard_normal((width, latent.shape[1])))[0].T
    steps = rng.standard_normal((len(latent), n_steps or 1, width))
    steps *= noise * np.sqrt(n_steps or 1)
    steps += (latent @ loadings)[:, None]
    return steps if n_steps else steps[:, 0]


def _cyclic_orders(n_orders, n_steps, rng):
    """Return orders of the steps, shape (n_orders, n_steps), none a rotation of another."""
    orders = set()
    while len(orders) < n_orders:
        orders.add((0, *(1 + rng.permutation(n_steps - 1)).tolist()))
    return np.array(sorted(orders))


def _ordered_view(corners, orders, shared, width, noise, rng):
    """Return sequences that show the corners in the order of each row, from a random step on."""
    n_samples, n_steps = orders.shape
    starts = rng.randint(n_steps, size=(n_samples, 1))
    shown = np.take_along_axis(orders, (starts + np.arange(n_steps)) % n_steps, axis=1)
    constant = np.broadcast_to(shared[:, None], (n_samples, n_steps, shared.shape[1]))
    latent = np.concatenate([corners[shown], constant], axis=2)
    loadings = np.linalg.qr(rng.standard_normal((width, latent.shape[2])))[0].T
    return latent @ loadings + noise * rng.standard_normal((n_samples, n_steps, width))
