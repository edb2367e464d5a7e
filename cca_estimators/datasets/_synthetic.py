"""Generated views with known class structure and known canonical correlations."""

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from cca_estimators._compat import Interval, validate_params
from cca_estimators.views import Views


@validate_params(
    {
        "n_samples": [Interval(Integral, 2, None, closed="left")],
        "n_classes": [Interval(Integral, 2, None, closed="left")],
        "n_features": [tuple],
        "n_steps": [Interval(Integral, 1, None, closed="left"), None],
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
        If a view has too few features for the latent dimensions.

    Examples
    --------
    >>> from cca_estimators.datasets import make_views
    >>> X, y = make_views(n_samples=100, n_features=(16, 20), n_steps=3, random_state=0)
    >>> X
    Views(audio=(100, 3, 16), visual=(100, 3, 20))
    """
    rank = n_classes - 1 + shared_rank
    if len(n_features) != 2 or min(n_features) < rank:
        raise ValueError(
            f"n_features={n_features} must be two numbers of at least {rank}, the "
            "n_classes - 1 + shared_rank latent dimensions."
        )
    rng = check_random_state(random_state)
    shares = np.geomspace(imbalance, 1, n_classes)
    y = np.searchsorted(np.cumsum(shares / shares.sum()), (np.arange(n_samples) + 0.5) / n_samples)
    rng.shuffle(y)
    latent = np.hstack(
        [class_sep * _simplex(n_classes)[y], rng.standard_normal((n_samples, shared_rank))]
    )
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
