"""Draw ``lengths_learned.json`` as ``lengths.png`` and print its numbers; run it here."""

import json
from pathlib import Path

import numpy as np

from rlscale.analysis.figures.files import write_figure
from rlscale.analysis.figures.style import (
    ACCENT,
    INK,
    QUIET,
    TWO_PANELS,
    even_colours,
    house_style,
    line_mark,
    log_ticks,
    new_figure,
)

_MOST_ERROR = 1.3  # times that of values 0


def main() -> None:
    settings = json.loads(Path("lengths_learned.json").read_text())["settings"]
    trained_on = [setting["trained_on"] for setting in settings]
    colours = even_colours(len(settings))
    own, of_td = [], []
    for setting in settings:
        at = setting["length"].index(setting["trained_on"])
        for found, name in ((own, "error"), (of_td, "reference_error")):
            found.append([setting[name][end][at] for end in ("mean", "low", "high")])
        cosine = setting["final"]["weight_similarity"]
        print(
            f"trained on {setting['trained_on']}: {own[-1]}, TD {of_td[-1]}, cosine {cosine['value']:.3f} "
            f"{cosine['interval']}, step of TD {setting['final']['reference_step']['value']:.3f}; at all "
            "lengths "
            + ", ".join(
                f"{n:g}: {e:.3f}" for n, e in zip(setting["length"], setting["error"]["mean"], strict=True)
            )
        )
    with house_style():
        figure = new_figure(TWO_PANELS)
        matched, others = figure.subplots(1, 2, sharey=True)
        for values, colour, name in ((own, INK, "o"), (of_td, ACCENT, "s")):
            mean, low, high = np.array(values).T
            matched.fill_between(trained_on, low, high, color=colour, alpha=0.18, linewidth=0)
            matched.plot(trained_on, mean, color=colour, marker=name, markersize=3.5)
        matched.set_title("With the length that it trained on", loc="left")
        matched.set_ylabel("Squared value error, 0: exact")
        for setting, colour in zip(settings, colours, strict=True):
            others.plot(setting["length"], setting["error"]["mean"], color=colour)
            at = setting["length"].index(setting["trained_on"])
            others.plot(setting["trained_on"], setting["error"]["mean"][at], "o", color=colour, markersize=4)
        others.set_title("With other lengths", loc="left")
        for ax in (matched, others):
            ax.axhline(1, color=QUIET, linestyle=":", linewidth=0.9, zorder=0)
            ax.set_xscale("log")
            log_ticks(ax.xaxis, counts=True)
            ax.set_xlabel("Context $n$ (transitions)")
        matched.set_ylim(0.8, _MOST_ERROR)
        marks = [
            line_mark(INK, marker="o", markersize=3.5),
            line_mark(ACCENT, marker="s", markersize=3.5),
        ]
        matched.legend(marks, ["trained", "TD"], loc="upper right")
        keys = [line_mark(colour, marker="o", markersize=4) for colour in colours]
        others.legend(keys, [f"{n:g}" for n in trained_on], title="trained on", loc="upper right")
    write_figure(figure, Path("lengths.png"))


if __name__ == "__main__":
    main()
