"""Fit, embed and search on a Dask cluster: here one of two processes on this machine.

    python examples/distributed/dask_cluster.py --rows 200000

Pass --scheduler tcp://... to use a cluster that is running. The rows are generated where they are
used, in chunks; what comes back are moments, correlations and scores. While it runs, the dashboard
shows which worker computes what.
"""

import argparse

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cca_estimators import CCCA, PerView, Views
from cca_estimators.datasets import make_views

N_CLASSES, WIDTHS = 10, (32, 48)


def rows_of(labels, view, block_id=None):
    """Return the rows of one view for the labels of a chunk, which are noise about class means."""
    means = np.random.default_rng(view).standard_normal((N_CLASSES, WIDTHS[view]))
    noise = np.random.default_rng((view, *block_id)).standard_normal((len(labels), WIDTHS[view]))
    return means[labels.ravel()] + 2 * noise


def make_collections(n_rows, chunk):
    """Return two views and the labels as Dask arrays."""
    labels = da.random.default_rng(0).integers(N_CLASSES, size=n_rows, chunks=chunk)
    views = {
        name: labels[:, None].map_blocks(
            rows_of, view, dtype=float, chunks=(labels.chunks[0], (width,))
        )
        for view, (name, width) in enumerate(zip(("audio", "visual"), WIDTHS, strict=True))
    }
    return views, labels


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--scheduler", help="address of a cluster; without it one is started here")
    options = parser.parse_args(arguments)
    cluster = options.scheduler or LocalCluster(n_workers=2, threads_per_worker=1)
    with Client(cluster) as client:
        print("Dashboard:", client.dashboard_link)
        X, y = make_collections(options.rows, chunk=max(1, options.rows // 20))
        ccca = CCCA().fit(X, y)
        print("Correlations:", ccca.correlations_.round(3))
        embedded = ccca.transform(X)["audio"]
        print("Embedding, not computed yet:", embedded)
        print("Its mean:", embedded.mean(axis=0).compute().round(2))
        search_on_the_cluster()
    if not options.scheduler:
        cluster.close()


def search_on_the_cluster():
    """Fit the folds of a search on the workers, to which X is sent once."""
    X, y = make_views(600, N_CLASSES, WIDTHS, random_state=0)
    X = Views(X)
    pipeline = make_pipeline(PerView(StandardScaler()), CCCA())
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(pipeline, {"ccca__reg": [0.01, 0.1, 1.0, "auto"]}, cv=folds)
    with parallel_config(backend="dask", scatter=[X]):
        search.fit(X, y)
    print("Best ridge:", search.best_params_["ccca__reg"])


if __name__ == "__main__":  # workers import this file
    main()
