"""Canonical correlations by other libraries, patched where they no longer run with their own calls.

pyrcca calls SciPy's `eigh` by an argument that SciPy has since removed; mvlearn's classes lack a
base class that scikit-learn has since required. Both patches change nothing that is computed.
"""

import numpy as np


def correlations_of(x, y):
    """Return the correlations of the columns of two sets of variates."""
    pairs = zip(np.asarray(x).T, np.asarray(y).T, strict=True)
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in pairs])


def cca_zoo(x, y, n_components):
    from cca_zoo.linear import CCA

    return CCA(n_components).fit([x, y])


def pyrcca(x, y, n_components, reg=0.0):
    import scipy.linalg
    from rcca import rcca

    rcca.eigh = lambda a, b, eigvals: scipy.linalg.eigh(a, b, subset_by_index=eigvals)
    model = rcca.CCA(kernelcca=False, reg=reg, numCC=n_components, verbose=False)
    return model.train([x, y])


def patch_mvlearn(cls):
    """Give a class of mvlearn, and one that it uses, the method of the base class they lack."""
    from mvlearn.compose.split import SimpleSplitter
    from sklearn.base import BaseEstimator

    for each in (cls, SimpleSplitter):
        each.__sklearn_tags__ = lambda self: BaseEstimator().__sklearn_tags__()


def mvlearn(x, y, n_components, regs=None):
    from mvlearn.embed import CCA

    patch_mvlearn(CCA)
    return CCA(n_components=n_components, regs=regs).fit([x, y])


def scikit_learn(x, y, n_components):
    from sklearn.cross_decomposition import CCA

    return CCA(n_components, max_iter=500).fit(x, y)


def scikit_learn_svd(x, y, n_components):
    from sklearn.cross_decomposition import PLSCanonical

    return PLSCanonical(n_components, algorithm="svd").fit(x, y)


def statsmodels(x, y, n_components):
    from statsmodels.multivariate.cancorr import CanCorr

    return CanCorr(x, y)


def correlations(fit, x, y, n_components):
    """Return the canonical correlations that a peer finds."""
    model = fit(x, y, n_components)
    if fit is pyrcca:
        return np.asarray(model.cancorrs)
    if fit is statsmodels:
        return np.asarray(model.cancorr[:n_components])
    if fit is scikit_learn:
        return correlations_of(*model.transform(x, y))
    return correlations_of(*model.transform([x, y]))
