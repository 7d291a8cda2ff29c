"""Colours of pictures, which the colour-blind tell apart; a test looks at them as they do."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.colors import LinearSegmentedColormap

from g2v_dask.analysis import biotypes

COLOURS = (
    # Okabe and Ito 2008, which the colour-blind tell apart; black, which is for names, is Paul Tol's indigo
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#332288", "#f0e442"),
    # Paul Tol's muted ones and four more: from here on numbers tell categories apart
    *("#882255", "#999933", "#117733", "#cc6677", "#44aa99", "#aa4499", "#ddcc77", "#88ccee"),
    *("#661100", "#6699cc", "#f4a582", "#8f6bb3"),
)
UNKNOWN, OTHER, PLAIN, INK = "#d6d6d6", "#a6a6a6", "#4477aa", "#222222"
FAINT = "#e2e2e2"  # of what is unknown among diverging colours, some of which look grey to the colour-blind
PALE = "#a9c3de"  # of a category that more than half of the genes have: the others must be seen among them
BIOTYPES: Mapping[str, str] = {  # those that are many are bright; all lie far from pale, grey and white
    biotypes.CODING: PALE,
    biotypes.NCRNA: "#cc3311",
    biotypes.MICRO: "#661100",
    biotypes.SNO: "#000000",
    biotypes.PSEUDO: "#0055cc",
    biotypes.LOCUS: "#e69f00",
    biotypes.FRAME: "#aa4499",
    biotypes.CLONE: "#009e73",
}
# blue and red of ColorBrewer's RdBu; its middle, which is white, would not be seen on paper, nor told from grey
DIVERGING = LinearSegmentedColormap.from_list(
    "g2v-diverging", ["#053061", "#2166ac", "#92b3c4", "#f0dca0", "#e39464", "#b2182b", "#67001f"]
)
