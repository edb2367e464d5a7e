"""What lies behind one figure: by class, how sure it is, and in the form that others read."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from cca_estimators._reading.arrays import on_host
from cca_estimators._reading.labels import read_labels
from cca_estimators.metrics import _ranking
from cca_estimators.metrics._figures import _compared
from cca_estimators.metrics._relevance import indicators
from cca_estimators.views import Views

__all__ = [
    "bootstrap_map",
    "map_per_class",
    "permutation_test",
    "retrieved_classes",
    "to_frame",
    "to_mteb",
]


def map_per_class(
    query, gallery, query_labels, gallery_labels, *, metric="cosine", exclude_self=False
):
    """Compute the mean average precision of the queries of each class.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`. With several labels for a row, a query counts for each of
        its own.

    Returns
    -------
    dict of float
        MAP by class, or by number of the label; classes without a query that has relevant items
        are left out.

    Examples
    --------
    >>> from cca_estimators.metrics import map_per_class
    >>> query, gallery = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [1.0, 0.2]]
    >>> map_per_class(query, gallery, ["cat", "dog"], ["cat", "dog"])
    {'cat': 1.0, 'dog': 1.0}
    """
    labels = query_labels, gallery_labels
    precisions, answered = _precisions(query, gallery, *labels, metric, exclude_self)
    classes, (members,) = indicators(read_labels(query_labels, warn=False))
    return {
        name: float(precisions[rows].mean())
        for name, rows in zip(classes.tolist(), members[answered].T, strict=True)
        if rows.any()
    }


def retrieved_classes(
    query,
    gallery,
    query_labels,
    gallery_labels,
    *,
    k=10,
    metric="cosine",
    exclude_self=False,
):
    """Compute which classes are found in the place of which: a confusion matrix of retrieval.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric, exclude_self
        As in `mean_average_precision`.
    k : int, default=10
        Number of items that are looked at, from 1 to the size of the gallery. Where they cut a
        group of tied items, the expected shares are taken.

    Returns
    -------
    shares : ndarray of shape (n_classes, n_classes)
        Row `i` holds the mean shares of the classes among the first `k` items of the queries of
        class `i`. With one class for each item its sum is 1; NaN for a class without queries.
    classes : ndarray of shape (n_classes,)
        Classes of rows and columns, or numbers of the labels.

    Examples
    --------
    >>> from cca_estimators.metrics import retrieved_classes
    >>> query, gallery = [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [1.0, 0.2]]
    >>> shares, classes = retrieved_classes(query, gallery, ["cat", "dog"], ["cat", "dog"], k=1)
    >>> shares[0], classes
    (array([1., 0.]), array(['cat', 'dog'], dtype='<U3'))
    """
    labels = on_host([query_labels, gallery_labels])
    compared = _compared(query, gallery, *labels, metric, k, exclude_self)
    classes, (of_query, of_gallery) = indicators(*(read_labels(one, warn=False) for one in labels))
    shares = _ranking.shares_retrieved(*compared, of_gallery, metric, k)
    with np.errstate(invalid="ignore"):
        return of_query.T @ shares / of_query.sum(axis=0)[:, None], classes


def bootstrap_map(
    query,
    gallery,
    query_labels,
    gallery_labels,
    *,
    metric="cosine",
    n_resamples=1000,
    confidence_level=0.95,
    random_state=None,
):
    """Compute an interval of the mean average precision, by resampling the queries.

    The interval holds the MAP of other queries of the same kind for the same gallery and embedding
    [1]_. It says nothing about another split, or another seed of the training.

    Parameters
    ----------
    query, gallery, query_labels, gallery_labels, metric
        As in `mean_average_precision`.
    n_resamples : int, default=1000
        Number of times that queries are drawn, with replacement.
    confidence_level : float in (0, 1), default=0.95
        Share of the draws that lie in the interval.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws.

    Returns
    -------
    low, high : float
        Percentiles of the resampled MAP.

    References
    ----------
    .. [1] B. Efron, R. Tibshirani, "An introduction to the bootstrap", Chapman & Hall, 1993.

    Examples
    --------
    >>> import numpy as np
    >>> from cca_estimators.metrics import bootstrap_map
    >>> rows, labels = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) % 3
    >>> low, high = bootstrap_map(rows, rows + 0.5, labels, labels, random_state=0)
    >>> 0.3 < low < high < 0.5
    True
    """
    precisions, _ = _precisions(query, gallery, query_labels, gallery_labels, metric)
    rng = check_random_state(random_state)
    drawn = rng.randint(len(precisions), size=(n_resamples, len(precisions)))
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(precisions[drawn].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def permutation_test(estimator, X, *, n_permutations=200, random_state=None):
    """Test whether canonical correlations are larger than those of views that have no relation.

    The rows of the second view are permuted, and the estimator is fitted anew: whatever
    correlation is left is due to the number of features. Each correlation is compared with the
    largest one of each permuted fit, so that the chance of any false alarm among all components
    is at most the level of the test.

    Parameters
    ----------
    estimator : estimator
        Of the true pairs, with `correlations_` after its fit, such as `CCA` or `KCCA`.
    X : mapping of two arrays by view name
        Rows to fit on.
    n_permutations : int, default=200
        The smallest p-value is ``1 / (n_permutations + 1)``.
    random_state : int, RandomState instance or None, default=None
        Seed of the permutations.

    Returns
    -------
    correlations : ndarray of shape (n_components,)
        Of the views as they are.
    p_values : ndarray of shape (n_components,)
        Share of the fits, the one of the views as they are included, whose largest correlation is
        at least as large.

    Examples
    --------
    >>> from cca_estimators import CCA
    >>> from cca_estimators.datasets import make_views
    >>> from cca_estimators.metrics import permutation_test
    >>> X, _ = make_views(n_samples=100, n_classes=3, n_features=(8, 9), random_state=0)
    >>> correlations, p_values = permutation_test(CCA(3), X, n_permutations=19, random_state=0)
    >>> float(p_values[0])
    0.05
    """
    views, rng = Views(X), check_random_state(random_state)
    first, second = views
    correlations = clone(estimator).fit(views).correlations_
    largest = [
        clone(estimator)
        .fit({first: views[first], second: views[rng.permutation(len(views))][second]})
        .correlations_[0]
        for _ in range(n_permutations)
    ]
    as_large = np.array(largest)[:, None] >= correlations
    return correlations, (1 + as_large.sum(axis=0)) / (1 + n_permutations)


def to_mteb(scores, task_name, *, split="test", main_score="map", languages=()):
    """Return scores in the form of a result of MTEB, the benchmark of embeddings, for JSON.

    Parameters
    ----------
    scores : dict of float
        What `cross_modal_scores` returned.
    task_name : str
        Name of the task.
    split : str, default="test"
        Part of the data that the scores are of.
    main_score : str, default="map"
        Name of the score to rank by.
    languages : sequence of str, default=()
        Languages of the data, such as "eng-Latn".

    Returns
    -------
    dict
        For ``json.dump``.

    Examples
    --------
    >>> from cca_estimators.metrics import to_mteb
    >>> to_mteb({"map": 0.5}, "Digits")["scores"]["test"][0]["main_score"]
    0.5
    """
    entry = {"hf_subset": "default", "languages": list(languages), **scores}
    return {
        "task_name": task_name,
        "dataset_revision": None,
        "mteb_version": None,
        "scores": {split: [{**entry, "main_score": scores[main_score]}]},
    }


def to_frame(scores):
    """Return scores as a DataFrame: a row for each direction and their mean, a column per figure.

    Parameters
    ----------
    scores : dict of float
        What `cross_modal_scores` returned.

    Returns
    -------
    pandas.DataFrame
        Of the rows "mean" and, such as, "audio_to_visual".

    Raises
    ------
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> from cca_estimators.metrics import to_frame
    >>> scores = {"map": 0.5, "map_audio_to_visual": 0.4, "map_visual_to_audio": 0.6}
    >>> to_frame(scores | {"mrr": 0.7, "mrr_audio_to_visual": 0.8, "mrr_visual_to_audio": 0.6})
                     map  mrr
    mean             0.5  0.7
    audio_to_visual  0.4  0.8
    visual_to_audio  0.6  0.6
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise ImportError(
            "A DataFrame needs the package pandas: pip install pandas. The scores are a dict."
        ) from error
    figures = [name for name in scores if "_to_" not in name]
    rows = {"mean": {name: scores[name] for name in figures}}
    for key, value in scores.items():
        if key not in rows["mean"]:
            figure = max((name for name in figures if key.startswith(f"{name}_")), key=len)
            rows.setdefault(key.removeprefix(f"{figure}_"), {})[figure] = value
    return DataFrame.from_dict(rows, orient="index", columns=figures)


def _precisions(query, gallery, query_labels, gallery_labels, metric, exclude_self=False):
    """Return the average precision of each query that has relevant items, and which these are."""
    labels = query_labels, gallery_labels
    *embeddings, relevance = _compared(query, gallery, *labels, metric, None, exclude_self)
    figures = {"map": _ranking.average_precisions}
    measured = _ranking.measure(*embeddings, relevance, metric, figures)
    return measured["map"], relevance.counts > 0
