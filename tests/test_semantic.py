"""SemanticMatching: class posteriors of views and of variates."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from cca_estimators import (
    CCA,
    CCCA,
    CDCCA,
    CKCCA,
    SDCCA,
    TNNCCCA,
    UGACH,
    CrossModalIndex,
    PerView,
    SemanticMatching,
    Views,
)
from cca_estimators._algebra.cross_fitting import cross_fitted
from cca_estimators.datasets import make_views

DEEP = {"hidden_layer_sizes": (8,), "max_epochs": 2, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def data():
    X, y = make_views(200, 4, (8, 12), shared_rank=3, imbalance=2.0, noise=1.5, random_state=0)
    return X, np.array(["d", "a", "c", "b"])[y]


def assert_same(left, right, tolerance=1e-10):
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=tolerance)


def posteriors(rows, labels, new):
    """Return posteriors by logistic regression, less the class shares."""
    _, counts = np.unique(labels, return_counts=True)
    fitted = LogisticRegression(max_iter=1000).fit(rows, labels)
    return fitted.predict_proba(new) - counts / len(labels)


def test_on_the_views_it_is_a_classifier_for_each(data):
    X, y = data
    train, new = X[:150], X[150:]
    fitted = SemanticMatching().fit(train, y[:150])
    expected = {name: posteriors(train[name], y[:150], new[name]) for name in X}
    assert_same(fitted.transform(new), expected)
    assert fitted.classes_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(
        fitted.class_shares_, np.unique(y[:150], return_counts=True)[1] / 150
    )
    steps = {name: rows.reshape(len(rows), 2, -1) for name, rows in X.items()}
    assert_same(
        SemanticMatching().fit(steps, y).transform(steps), SemanticMatching().fit(X, y).transform(X)
    )


@pytest.mark.parametrize("estimator", [CCCA(), CKCCA(), CCA(3)], ids=repr)
def test_the_classifiers_learn_from_cross_fitted_variates(data, estimator):
    X, y = data
    train, new = X[:150], X[150:]
    codes = np.unique(y[:150], return_inverse=True)[1]
    full, variates = cross_fitted(estimator, train, codes, y[:150], 5, np.random.RandomState(0))
    embedded = full.transform(new)
    fitted = SemanticMatching(estimator, random_state=0).fit(train, y[:150])
    expected = {name: posteriors(variates[name], y[:150], embedded[name]) for name in X}
    assert_same(fitted.transform(new), expected)
    assert not hasattr(estimator, "view_names_in_")


def test_posteriors_retrieve_classes_better_than_the_variates(data):
    X, y = data
    alone = CCCA().fit(X[:150], y[:150]).score(X[150:], y[150:])
    assert (
        SemanticMatching(CCCA(), random_state=0).fit(X[:150], y[:150]).score(X[150:], y[150:])
        > alone
    )


def test_any_classifier_with_posteriors(data):
    X, y = data
    lda = LinearDiscriminantAnalysis()
    fitted = SemanticMatching(classifier=lda).fit(X, y)
    expected = {
        name: lda.fit(rows, y).predict_proba(rows) - fitted.class_shares_
        for name, rows in X.items()
    }
    assert_same(fitted.transform(X), expected)
    with pytest.raises(
        ValueError, match="'classifier' parameter .* implementing 'fit' and 'predict_proba'"
    ):
        SemanticMatching(classifier=RidgeClassifier()).fit(X, y)


def test_appended_variates_tell_items_of_a_class_apart(data):
    X, y = data
    plain = SemanticMatching(CCA(8), random_state=0).fit(X, y)
    both = SemanticMatching(CCA(8), append_variates=True, random_state=0).fit(X, y)
    embedded, variates = both.transform(X), both.estimator_.transform(X)
    for name, rows in plain.transform(X).items():
        np.testing.assert_allclose(embedded[name], np.hstack([rows, normalize(variates[name])]))
    assert (plain.n_components_, both.n_components_) == (4, 12)
    with pytest.warns(
        UserWarning, match="cannot tell items of one class apart.*append_variates=True"
    ):
        of_partners = plain.score(X)
    assert both.score(X) > 1.5 * of_partners
    assert both.score(X, y) > 0.8
    with pytest.raises(ValueError, match="append_variates=True needs an estimator"):
        SemanticMatching(append_variates=True).fit(X, y)


def test_the_estimator_is_searched_in_a_pipeline(data):
    X, y = data
    pipe = make_pipeline(PerView(StandardScaler()), SemanticMatching(CKCCA(), random_state=0))
    grid = {"semanticmatching__estimator__reg": [1e-4, 10.0]}
    search = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_params_ == {"semanticmatching__estimator__reg": 1e-4}
    inside = SemanticMatching(make_pipeline(PerView(StandardScaler()), CKCCA()), random_state=0)
    assert inside.fit(X, y).score(X, y) > 0.8


def test_sequences_of_any_length_reach_the_estimator(data):
    X, y = data
    steps = Views({name: rows.reshape(len(rows), 4, -1).copy() for name, rows in X.items()})
    steps["audio"][:50, 3] = np.nan
    fitted = SemanticMatching(SDCCA(lstm_size=8, **DEEP), n_folds=2, random_state=0).fit(steps, y)
    shorter = fitted.transform({"audio": steps["audio"][:5, :3]})["audio"]
    np.testing.assert_allclose(shorter, fitted.transform(steps)["audio"][:5], atol=1e-5)


def test_codes_of_bits_are_not_turned(data):
    X, y = data
    coded = UGACH(n_bits=8, **DEEP)
    fitted = SemanticMatching(coded, random_state=0).fit(X, y)
    codes = fitted.estimator_.transform(X)
    expected = {name: posteriors(rows, y, rows) for name, rows in codes.items()}
    assert_same(fitted.transform(X), expected)


@pytest.mark.parametrize(
    "estimator",
    [
        SemanticMatching(),
        SemanticMatching(CKCCA(), append_variates=True, random_state=0),
        SemanticMatching(CDCCA(**DEEP), n_folds=2, random_state=0),
        SemanticMatching(make_pipeline(PerView(StandardScaler()), CDCCA(**DEEP)), n_folds=1),
        SemanticMatching(CCCA(), classifier=LinearDiscriminantAnalysis(), random_state=0),
        make_pipeline(PerView(StandardScaler()), SemanticMatching(CCA(3), random_state=0)),
        TNNCCCA(4, first=CDCCA(3, **DEEP), n_folds=2, **DEEP),
        TNNCCCA(4, first=SemanticMatching(CCCA(), n_folds=1), n_folds=1, **DEEP),
    ],
    ids=repr,
)
def test_files_hold_what_an_estimator_is_made_of(data, estimator, tmp_path):
    X, y = data
    index = CrossModalIndex(estimator).fit(X, y)
    index.save(tmp_path / "index")
    loaded = CrossModalIndex.load(tmp_path / "index")
    assert_same(loaded.estimator_.transform(X), index.estimator_.transform(X), 1e-6)
    assert repr(loaded.estimator_) == repr(index.estimator_)
    np.testing.assert_array_equal(
        *(each.kneighbors({"audio": X["audio"]})[1] for each in (loaded, index))
    )
