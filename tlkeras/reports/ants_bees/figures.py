"""How often what is called probable happens: the reliability diagram."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.figure import Figure

from tlkeras.experiments import figures


@matplotlib.rc_context(figures.STYLE)
def reliability_diagram(bins: Mapping[str, Sequence[Mapping]], *, positive: str = "class 1") -> Figure:
    """Draw the frequency of a class against its predicted probability, bin by bin; reliable ones lie on the diagonal.

    Args:
        bins: name of a series -> rows with `predicted`, `observed` (0..1) and `n`; the larger n, the larger the marker.
        positive: name of the class.

    Returns:
        A figure with one axes.

    Raises:
        ValueError: no series, or one without rows.
    """
    if not bins or not all(bins.values()):
        received = {name: len(rows) for name, rows in bins.items()}
        raise ValueError(f"Expected one series or more, with rows. Received: {received}")
    figure, (panel,) = figures.subplots(1, 1, height=5.5)
    panel.plot([0, 1], [0, 1], color=figures.GREY, linewidth=1, linestyle=":", label="reliable")
    for (name, rows), (color, marker) in zip(bins.items(), figures.series(), strict=False):
        x, y = ([row[key] for row in rows] for key in ("predicted", "observed"))
        panel.plot(x, y, color=color, linewidth=1)
        total = sum(row["n"] for row in rows)
        sizes = [20 + 400 * row["n"] / total for row in rows]
        panel.scatter(x, y, s=sizes, color=color, marker=marker, label=f"{name} (n={total})")
    panel.set_xlabel(f"predicted probability of {positive}")
    panel.set_ylabel(f"fraction that are {positive}")
    panel.set_aspect("equal")
    figures.legend_below(figure, panel)
    return figure
