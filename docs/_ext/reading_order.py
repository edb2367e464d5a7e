"""The order of the gallery."""

from pathlib import Path

ORDER = [
    "plot_compare_methods",
    "plot_embedding",
    "plot_retrieved",
    "plot_search",
    "plot_own_data",
    "plot_saving",
    "plot_clips",
    "plot_text_and_images",
    "plot_retrieval_curves",
    "plot_grid_search_map",
    "plot_poster_protocol",
    "plot_kernel_cca",
    "plot_semantic",
    "plot_sequences",
    "plot_steps",
    "plot_sequence_files",
    "plot_gpu",
    "plot_own_towers",
    "plot_adversarial",
    "plot_hashing",
    "plot_own_method",
]


class ReadingOrder:
    """Sort key of an example; those that are not in the list come last, by name."""

    def __init__(self, src_dir):
        self.src_dir = src_dir

    def __call__(self, filename):
        """Return the place of an example."""
        name = Path(filename).stem
        return (ORDER.index(name) if name in ORDER else len(ORDER), name)
