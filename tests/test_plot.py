"""Figures have a curve for each algorithm and each set of conditions, never a mixture."""

from __future__ import annotations

from itertools import pairwise

import pytest

pytest.importorskip("matplotlib")
import netsim
from netsim import plot
from netsim.machine import Machine
from netsim.models import own_sync
from netsim.rows import write_csv
from swing.algorithms import ALGORITHMS

FIRST = {
    "topology": "torus:4x4", "algorithm": "swing", "variant": "latency", "collective": "allreduce",
    "model": "packet", "bandwidth_gbps": "400.0", "ties": "adaptive",
    "parts": "schedule", "seed": "0",
}  # fmt: skip
OTHER = {
    "model": ("flow", "flow"), "bandwidth_gbps": ("100.0", "100 Gb/s"),
    "collective": ("allgather", "allgather"), "ties": ("split", "ties split"),
    "sync": ("local", "sync local"), "parts": ("free", "parts free"), "seed": ("1", "seed 1"),
    "machine": ("slow=0-1=0.5", "slow=0-1=0.5"), "placement": ("in-place", "in-place"),
}  # fmt: skip


def rows(microseconds, **conditions):
    rule = {"sync": own_sync(conditions.get("model", FIRST["model"]))}
    return [
        FIRST | rule | conditions | {"nbytes": str(n), "seconds": str(us * 1e-6)}
        for n, us in microseconds.items()
    ]


def curves(figure):
    (axes,) = figure.axes
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    return {line.get_label(): dict(zip(*line.get_data(), strict=True)) for line in lines}


@pytest.mark.parametrize("column", OTHER)
def test_rows_of_other_conditions_are_another_curve(column):
    value, words = OTHER[column]
    found = curves(
        plot.runtime(rows({32: 1.0, 64: 2.0}) + rows({32: 3.0, 64: 5.0}, **{column: value}))
    )
    assert len(found) == 2
    (other,) = (label for label in found if label.endswith(words))
    assert found.pop(other) == pytest.approx({32: 3.0, 64: 5.0})
    assert found.popitem()[1] == pytest.approx({32: 1.0, 64: 2.0})


@pytest.mark.parametrize("words", ["", "latency=1000ns fail=0-1", "bandwidth=400,200"])
def test_a_bound_is_that_of_the_machine_of_the_rows(words):
    """A row that takes its lower bound has the height 1."""
    network = Machine.parse(words).network(netsim.topology("torus:4x4"))
    at_bound = {n: netsim.lower_bound(network, n) * 1e6 for n in (32, 2**20)}
    gbps = str(network.bandwidth * 8 / 1e9)
    (heights,) = curves(plot.bound(rows(at_bound, machine=words, bandwidth_gbps=gbps))).values()
    assert heights == pytest.approx(dict.fromkeys(at_bound, 1.0))


def test_what_auto_chooses_is_no_rival_of_swing():
    best = {("swing", 32): 2.0, ("ring", 32): 4.0, ("auto", 32): 1.0}
    assert plot.swing_gain(best) == {32: 100.0}


def test_variants_are_one_curve_the_best_at_each_size():
    both = rows({32: 1.0, 64: 5.0}) + rows({32: 2.0, 64: 3.0}, variant="bandwidth")
    assert curves(plot.runtime(both)) == {"swing": pytest.approx({32: 1.0, 64: 3.0})}


def test_a_model_for_large_vectors_continues_one_for_small():
    both = rows({32: 1.0, 64: 2.0}) + rows({128: 3.0}, model="flow")
    assert curves(plot.runtime(both)) == {"swing": pytest.approx({32: 1.0, 64: 2.0, 128: 3.0})}


@pytest.mark.parametrize("kind", ["goodput", "runtime"])
def test_a_band_reaches_from_the_least_to_the_greatest_row_at_each_size(kind):
    topologies = ["torus:4x4", "torus:8"]
    figure = plot.KINDS[kind](
        [r for name in topologies for r in rows({32: 1.0, 64: 2.0}, topology=name)]
    )
    spread = rows({32: 0.5, 64: 2.0}) + rows({32: 4.0}, ties="split") + rows({32: 2.0}, seed="1")
    plot.shade(figure, spread, kind, topologies)
    (band,) = figure.axes[0].collections
    assert not figure.axes[1].collections
    heights = {"runtime": [0.5, 4.0], "goodput": [32 * 8 / us / 1e3 for us in (4.0, 0.5)]}[kind]
    corners = band.get_paths()[0].vertices
    at_first = corners[corners[:, 0] == 32][:, 1]
    assert [at_first.min(), at_first.max()] == pytest.approx(heights)


def test_bands_need_heights_of_their_own(tmp_path):
    write_csv(tmp_path / "rows.csv", rows({32: 1.0}))
    with pytest.raises(ValueError, match="bands are drawn in figures of goodput and runtime"):
        plot.plot([tmp_path / "rows.csv"], tmp_path, "ratio", bands=[tmp_path / "rows.csv"])


def test_gains_are_taken_between_rows_of_the_same_conditions():
    quick, slow = ({32: us} for us in (1.0, 2.0))
    both = rows(quick) + rows(slow, algorithm="ring")
    for_other = rows(slow, model="flow") + rows(quick, algorithm="ring", model="flow")
    assert curves(plot.gain(both + for_other)) == {
        "torus:4x4, 400 Gb/s, packet": pytest.approx({32: 100.0}),
        "torus:4x4, 400 Gb/s, flow": pytest.approx({32: -100.0}),
    }


def test_no_two_curves_look_alike():
    names = [*ALGORITHMS, "auto", "mpi", "of_a_plug_in", "of_another", "bucket,segments=4"]
    assert len({color for color, _ in plot.styles(names).values()}) == len(names)


def test_ratios_are_to_the_fastest_of_the_same_conditions():
    both = rows({32: 1.0, 64: 6.0}) + rows({32: 2.0, 64: 3.0}, algorithm="ring")
    slower = rows({32: 9.0, 64: 9.0}, seed="1")
    found = curves(plot.ratio(both + slower))
    assert found["swing, seed 0"] == pytest.approx({32: 1.0, 64: 2.0})
    assert found["ring, seed 0"] == pytest.approx({32: 2.0, 64: 1.0})
    assert found["swing, seed 1"] == pytest.approx({32: 1.0, 64: 1.0})


def test_times_are_divided_by_the_bound_of_their_collective():
    network = netsim.paper_network("torus:4x4")
    for collective in ("allreduce", "allgather"):
        least = {n: netsim.lower_bound(network, n, collective=collective) for n in (32, 2**20)}
        found = curves(
            plot.bound(rows({n: 3e6 * s for n, s in least.items()}, collective=collective))
        )
        assert found == {"swing": pytest.approx(dict.fromkeys(least, 3.0))}
    with pytest.raises(ValueError, match="only for simulated rows"):
        plot.bound(rows({32: 1.0}, model="measured"))


@pytest.mark.parametrize(
    ("place", "root"), [("mesh:4x4", 5), ("mesh:4x4", 0), ("mesh:4x4", 15), ("mesh:7", 3)]
)
def test_times_of_a_broadcast_are_divided_by_the_bound_of_their_root(place, root):
    network = netsim.paper_network(place)
    least = {n: netsim.lower_bound(network, n, "broadcast", root) for n in (32, 2**20)}
    asked = {"topology": place, "collective": "broadcast"}
    others = [
        rows({n: 3e6 * s for n, s in least.items()}, algorithm=f"{name},root={root}", **asked)
        for name in ("swing,collective=broadcast", "bucket,collective=broadcast")
    ]
    found = curves(plot.bound([*others[0], *others[1]]))
    assert found == dict.fromkeys(("swing", "bucket"), pytest.approx(dict.fromkeys(least, 3.0)))


@pytest.mark.parametrize("asked", ["allgather", "broadcast,root=5", "alltoall"])
def test_gains_of_other_collectives_are_taken_too(asked):
    collective = asked.partition(",")[0]
    both = [
        *rows({32: 1.0}, algorithm=f"swing,collective={asked}", collective=collective),
        *rows({32: 2.0}, algorithm=f"bucket,collective={asked}", collective=collective),
    ]
    assert curves(plot.gain(both)) == {"torus:4x4, 400 Gb/s": pytest.approx({32: 100.0})}


def test_a_legend_names_the_root_only_if_there_are_several():
    first, other = (
        rows({32: us}, algorithm=f"disjoint_trees,collective=broadcast,root={root}")
        for root, us in ((0, 1.0), (5, 2.0))
    )
    assert set(curves(plot.runtime(first))) == {"disjoint trees"}
    assert len(curves(plot.runtime(first + other))) == 2


def test_panels_of_one_file_are_ordered_by_dimensions_then_ranks(tmp_path):
    names = ["torus:16", "mesh:4x4", "torus:8x8:wrap=1,0", "torus:16x16", "torus:4x4x4"]
    table = [r for name in sorted(names) for r in rows({32: 1.0, 64: 2.0}, topology=name)]
    write_csv(tmp_path / "tori.csv", table)
    plot.plot([tmp_path / "tori.csv"], tmp_path, formats=["svg"])
    words = (tmp_path / "tori.svg").read_text()
    assert sorted(names, key=lambda name: words.index(f"{name} (packet model)")) == names


@pytest.mark.parametrize(
    ("width", "columns"), [(None, 3), (3.35, 1), (5, 2), (7, 3)], ids=["none", "one", "two", "page"]
)
@pytest.mark.parametrize("kind", ["goodput", "ratio"])
def test_panels_fill_the_width_of_a_figure_and_nothing_is_cut(kind, width, columns):
    names = ["torus:4x4", "torus:8x8", "torus:4x4x4"]
    table = [r for name in names for r in rows({2**i: 1.0 for i in range(5, 26)}, topology=name)]
    with plot.text_sizes(width):
        figure = plot.KINDS[kind](table, width)
        figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in figure.axes]
    assert len({round(box.x0) for box in boxes}) == columns
    assert all(box.width > 1.2 * figure.dpi for box in boxes)
    for axes in figure.axes:
        words = axes.title.get_window_extent()
        assert figure.bbox.x0 <= words.x0 < words.x1 <= figure.bbox.x1
        assert words.width <= figure.bbox.width / columns


def test_formats_and_the_width_of_a_column(tmp_path):
    write_csv(tmp_path / "some.csv", rows({32: 1.0, 64: 2.0}))
    files = plot.plot([tmp_path / "some.csv"], tmp_path, formats=["svg", "pdf"], width=3.35)
    assert [file.suffix for file in files] == [".svg", ".pdf"]
    assert 'width="241.2pt"' in files[0].read_text()  # 3.35 inches of 72 points
    before = files[1].read_bytes()
    plot.plot([tmp_path / "some.csv"], tmp_path, formats=["svg", "pdf"], width=3.35)
    assert files[1].read_bytes() == before


@pytest.mark.parametrize("width", [3.35, 4.5, None])
@pytest.mark.parametrize(
    "sizes",
    [
        *([32 * 2**i for i in range(count)] for count in (2, 6, 11, 14, 23)),
        [32, 512, 1024, 2**13, 2**16, 2**17, 2**19, 2**21, 2**22, 2**25],  # of two files
        [2**20, 2**20 + 4, 2**21, 2**30],
    ],
)
def test_the_labels_of_sizes_do_not_collide(sizes, width):
    with plot.text_sizes(width):
        figure = plot.goodput(rows({n: 1.0 + n for n in sizes}), width)
        figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("kind", ["goodput", "ratio", "gain"])
@pytest.mark.parametrize("names", [["swing", "ring"], list(ALGORITHMS)])
def test_the_legend_of_a_narrow_figure_is_below_the_curves_and_leaves_them_room(kind, names):
    table = [
        r for i, name in enumerate(names) for r in rows({32: 1.0 + i, 64: 2.0}, algorithm=name)
    ]
    with plot.text_sizes(3.35):
        figure = plot.KINDS[kind](table, 3.35)
        figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    box = legend.get_window_extent()
    assert not axes.get_legend()
    assert box.y1 < axes.get_window_extent().y0
    assert axes.get_window_extent().height > 1.5 * figure.dpi
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("width", [2.5, 3.35, 4.5, None, 7])
@pytest.mark.parametrize("models", [["flow"], ["packet", "flow"]])
def test_no_legend_is_cut(width, models):
    """Two models have their names in the labels."""
    table = [
        row
        for model in models
        for name in ALGORITHMS
        for row in rows({32: 1.0, 64: 2.0}, algorithm=name, model=model)
    ]
    with plot.text_sizes(width):
        figure = plot.goodput(table, width)
        figure.draw_without_rendering()
    (box,) = (legend.get_window_extent() for legend in figure.legends)
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("count", range(2, 12))
def test_a_legend_below_has_no_more_columns_than_its_rows_need(count):
    """Four names are two and two, not three and one."""
    names = list(ALGORITHMS)[:count]
    table = [r for name in names for r in rows({32: 1.0, 64: 2.0}, algorithm=name)]
    table += [row | {"topology": "torus:8"} for row in table]
    (legend,) = plot.goodput(table, 7).legends
    columns = len(legend._legend_handle_box.get_children())
    assert columns == {2: 2, 4: 2}.get(count, 3)


def test_plot_takes_paths_as_text_and_one_as_well_as_several(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, netsim.sweep("torus:4", "swing", [32, 64]))
    for paths in (path, str(path), [str(path)], (path,)):
        assert plot.plot(paths, str(tmp_path), formats=["svg"]) == [tmp_path / "a.svg"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"paths": []}, "pass at least one CSV file"),
        ({"kind": "ratios"}, r"no kind of figure 'ratios' \(did you mean 'ratio'\?\)"),
        ({"formats": ["svg", "tiff"]}, "no format of figures 'tiff'.*: choose from svg, png, pdf"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_file_is_read(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        plot.plot(**{"paths": "none.csv", "out": tmp_path, **change})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (["", "goodput"], ["a.svg", "a.svg"]),
        (["", "ratio", "bound"], ["a.svg", "a-ratio.svg", "a-bound.svg"]),
        (["runtime", "gain"], ["a-runtime.svg", "a-gain.svg"]),
    ],
)
def test_figures_of_other_kinds_of_one_file_are_other_files(tmp_path, kind, names):
    network = netsim.paper_network("torus:4x4")
    write_csv(tmp_path / "a.csv", netsim.sweep([network], ["swing", "bucket"], [32, 64]))
    drawn = [plot.plot([tmp_path / "a.csv"], tmp_path, k, formats=["svg"]) for k in kind]
    assert drawn == [[tmp_path / name] for name in names]


def test_a_panel_names_the_only_model_of_its_rows():
    (axes,) = plot.goodput(rows({32: 1.0, 64: 2.0})).axes
    assert axes.get_title() == "torus:4x4 (packet model)"
    (axes,) = plot.goodput(rows({32: 1.0}) + rows({64: 2.0}, model="flow")).axes
    assert axes.get_title() == "torus:4x4 (simulated)"
    paper = rows({32: 1.0}, model="paper")
    (axes,) = plot.goodput(rows({32: 1.0}, model="analytic") + paper).axes
    assert axes.get_title() == "torus:4x4 (analytic model, paper hollow)"
    (axes,) = plot.goodput(rows({32: 1.0}, model="measured")).axes
    assert axes.get_title() == "torus:4x4 (measured)"


def test_link_maps_have_units_and_hold_all_stubs():
    torus = netsim.topology("torus:3x3x3")
    ends = torus.ends.tolist()
    table = [
        FIRST | {"topology": torus.name, "nbytes": "32", "step": "all", "bytes": str(2**21 + i)}
        | {"src": str(src), "dst": str(dst), "direction": "+", "dim": "0"}
        for i, (src, dst) in enumerate(ends)
    ]  # fmt: skip
    axes, bar = plot.links(table).axes
    assert bar.get_ylabel() == "MiB on the link"
    x, y = axes.get_xlim(), sorted(axes.get_ylim())
    for path in axes.collections[0].get_paths():
        assert (path.vertices >= (x[0], y[0])).all()
        assert (path.vertices <= (x[1], y[1])).all()


@pytest.mark.parametrize(
    ("kind", "writer"),
    [("links", "simulate --links"), ("ratio", "sweep --csv"), ("goodput", "sweep --csv")],
)
def test_a_file_of_another_command_is_refused_with_the_command_that_writes_one(
    kind, writer, tmp_path
):
    rows = [FIRST | {"nbytes": 1024, ("seconds" if kind == "links" else "src"): 1e-6}]
    write_csv(tmp_path / "rows.csv", rows)
    with pytest.raises(
        ValueError, match=f"has no column '.*': draw {kind} of a file of .*{writer}"
    ):
        plot.plot([tmp_path / "rows.csv"], tmp_path, kind)
