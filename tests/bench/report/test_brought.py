"""A model whose vocabulary was trimmed: others are compared with what the user brought."""

from small_reports import small_model, small_report

from bench.report.plots import draw_plots
from bench.report.tables import cost_table, latency_table, sentences
from compress.reports.bench import BroughtReport, Ratio, Report, Size


def report_of_trimmed() -> Report:
    """A teacher of 100 MB, trimmed from 470, and a form of its student of 5."""
    teacher = small_model("teacher", size=Size(total=100_000_000, embeddings=None, rest=None))
    form = small_model("onnx-int8", size=Size(total=5_000_000, embeddings=None, rest=None))
    against = form.against["teacher"].model_copy(update={"faster": {"1": Ratio(value=9.0, low=8.0, high=10.0)}})
    form = form.model_copy(update={"against": {"teacher": against}})
    brought = BroughtReport(
        size=Size(total=470_000_000, embeddings=384_000_000, rest=86_000_000), tokens=250_037, shape="12x384"
    )
    return small_report(("teacher", teacher), ("onnx-int8", form)).model_copy(update={"brought": brought})


def test_smaller_is_told_against_what_was_brought():
    report = report_of_trimmed()
    table = cost_table(report)
    place = table.headings.index("× smaller")
    assert [(row[0], row[place]) for row in table.rows] == [
        ("original", "1.0"),
        ("teacher", "4.7"),
        ("onnx-int8", "94.0"),
    ]
    assert table.rows[0][1:5] == ["12x384", "470.00", "384.00", "86.00"]
    assert {len(row) for row in table.rows} == {len(table.headings)}


def test_the_times_of_the_trimmed_model_are_its_own_and_that_is_said():
    report = report_of_trimmed()
    table = latency_table(report)
    assert [(row[0], row[1], row[-1]) for row in table.rows] == [
        ("original", "times of the teacher", "1.0"),
        ("teacher", "ONNX Runtime", "1.0"),
        ("onnx-int8", "ONNX Runtime", "9.0 (8.0–10.0)"),
    ]
    assert {len(row) for row in table.rows} == {len(table.headings)}
    told = next(line for line in sentences(report) if line.startswith("original: "))
    assert "its vocabulary of 250,037 tokens was trimmed, 470.00 MB" in told
    assert "trimming leaves all layers as they are, so that its times are the teacher's" in told


def test_what_was_not_trimmed_is_compared_with_itself():
    report = report_of_trimmed().model_copy(update={"brought": None})
    place = cost_table(report).headings.index("× smaller")
    assert [(row[0], row[place]) for row in cost_table(report).rows] == [("teacher", "1.0"), ("onnx-int8", "20.0")]
    assert not any(line.startswith("original") for line in sentences(report))


def test_the_plot_of_sizes_has_the_original():
    report = report_of_trimmed().model_copy(update={"samples_ms": {"teacher": {"1": [1.0]}, "onnx-int8": {"1": [0.1]}}})
    plots = {plot.caption: plot.svg for plot in draw_plots(report)}
    frontier = next(svg for caption, svg in plots.items() if caption.startswith("Size, latency"))
    assert "original" in frontier
