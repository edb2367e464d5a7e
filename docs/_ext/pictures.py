"""The pictures of the gallery: what they show in words, and the panel that stands for an example.

An example whose thumbnail is one panel of its first figure says so by
``sphinx_gallery_thumbnail_number = 0``.
"""

import re
from pathlib import Path

import matplotlib.pyplot as plt
from docutils import nodes
from sphinx_gallery.scrapers import matplotlib_scraper

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = {
    "plot_compare_methods": [
        "Bars of the MAP of each method in both directions, the best method first, beside chance"
    ],
    "plot_embedding": [
        "Sounds, images and both as points of ten colours: in original features digits are mixed, "
        "after C-CCA they form clouds, and after TNN-C-CCA those of both views lie together",
        "Training and validation loss of TNN-C-CCA falling over the epochs, validation MAP rising",
    ],
    "plot_retrieved": [
        "Spectrograms of spoken digits and the five images that each finds, most of its digit",
        "Images of digits and the captions that each finds, most of its digit",
    ],
    "plot_search": [
        "Histogram of the distances of right and wrong answers, and the share of right answers, "
        "which falls as more queries get one"
    ],
    "plot_clips": [
        "Spectrograms of sounds and the first frames of the five clips that each finds",
        "First frames of clips and the five spectrograms that each finds",
    ],
    "plot_text_and_images": ["Captions and the six images of digits that each finds"],
    "plot_retrieval_curves": [
        "Precision by recall of five methods: TNN-C-CCA on top, CCA at the bottom",
        "Precision among the first k items of five methods, TNN-C-CCA on top",
        "Precision by recall of one method, nearly the same in both directions",
    ],
    "plot_grid_search_map": [
        "Table in colours: MAP in cross-validation by margin and number of principal components"
    ],
    "plot_poster_protocol": [
        "Bars of the MAP over five folds of five methods in both directions, with its deviation"
    ],
    "plot_kernel_cca": [
        "Rings embedded by C-CCA, mixed, and by C-KCCA, apart; the first correlation by the ridge, "
        "in training and on new rows"
    ],
    "plot_semantic": [
        "Bars of the MAP of C-CCA and C-KCCA, each alone and higher with class posteriors",
        "Class probabilities of eight digits, spoken and written: most on the diagonal",
    ],
    "plot_sequences": [
        "The mean sound of both classes, one rising where the other falls; bars of MAP: C-CCA of "
        "the mean at chance, LSTM-C-CCA and S-DCCA far above"
    ],
    "plot_steps": [
        "Spectrograms of four words, and the films of a mouth that each finds; bars above each are "
        "high where the word is, and low in the silence around it"
    ],
    "plot_own_towers": ["Loss of C-DCCA by epoch, with perceptrons and with convolutions"],
    "plot_adversarial": [
        "Sounds and images embedded after 1, 10 and 40 epochs, without and with the adversary; "
        "below, the accuracy of the adversary and the MAP, epoch by epoch"
    ],
    "plot_own_data": [
        "Bars of the MAP of clips held out at random, higher, and of whole videos held out; shares "
        "of the classes found for each class of sound, most on the diagonal"
    ],
    "plot_saving": ["Bars of the megabytes of files of save, joblib.dump and an index"],
    "plot_gpu": ["Loss by epoch on each device, and bars of the seconds of an epoch"],
    "plot_sequence_files": ["Loss by epoch from memory and from files: one line on the other"],
    "plot_hashing": ["MAP of AGAH and UGACH by the number of bits, and bars of memory"],
    "plot_own_method": ["Loss of the new method by epoch, and bars of the MAP of three methods"],
}
PANELS = {
    "plot_adversarial": 5,
    "plot_embedding": 8,
    "plot_gpu": 0,
    "plot_hashing": 0,
    "plot_kernel_cca": 1,
    "plot_own_data": 0,
    "plot_own_method": 1,
    "plot_search": 0,
    "plot_sequences": 1,
}


def scrape(block, block_vars, gallery_conf):
    """Save the open figures, with words for each, and the panel of the thumbnail."""
    example = Path(block_vars["src_file"]).stem
    paths = block_vars["image_path_iterator"]
    if example in PANELS and plt.get_fignums() and not paths.paths:
        figure = plt.figure(plt.get_fignums()[0])
        save_panel(figure.axes[PANELS[example]], paths.image_path.format(0))
    rst = matplotlib_scraper(block, block_vars, gallery_conf)
    return re.sub(
        r"(?<=image-sg:: /)(\S*_(\d{3})\.png\n *:alt: ).*",
        lambda found: found[1] + WORDS[example][int(found[2]) - 1],
        rst,
    )


def save_panel(axes, path):
    """Save one panel of a figure, with its title and labels, without legends of the figure."""
    figure = axes.figure
    figure.draw_without_rendering()
    for legend in figure.legends:
        legend.set_visible(False)
    inches = axes.get_tightbbox().transformed(figure.dpi_scale_trans.inverted())
    figure.savefig(path, bbox_inches=inches.padded(0.05), dpi=200)
    for legend in figure.legends:
        legend.set_visible(True)


def thumbnails(app, doctree):
    """Give the thumbnails of the gallery the titles of their examples in place of no words."""
    for image in doctree.findall(nodes.image):
        found = re.search(r"sphx_glr_(\w+)_thumb\.png", image["uri"])
        if found:
            lines = (EXAMPLES / f"{found[1]}.py").read_text(encoding="utf-8").splitlines()
            image["alt"] = lines[1]


def setup(app):
    """Connect to the reading of pages."""
    app.connect("doctree-read", thumbnails)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
