"""The bench report as one HTML file: no scripts, nothing from the network, light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from bench.report.plots import draw_plots
from bench.report.tables import noise_line, sentences
from bench.report.text import all_tables
from compress.console import plain
from compress.metrics.languages import ALL
from compress.reports.bench import Report


def write_html(report: Report, path: Path) -> None:
    """Write the report for a browser."""
    environment = Environment(
        loader=PackageLoader("bench.report", "."),
        autoescape=True,
        finalize=lambda value: plain(value) if type(value) is str else value,  # not what is markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    noise = noise_line(report)
    page = environment.get_template("report.html.jinja").render(
        report=report,
        machine=_machine(report),
        headline=[*([noise] if noise else []), *sentences(report)],
        plots=draw_plots(report),
        tables=all_tables(report),
        all=ALL,
    )
    path.write_text(page, "utf-8")


def _machine(report: Report) -> dict[str, str]:
    machine = report.machine
    return {
        "made": report.made,
        **({"for this measurement alone": _told(report)} if report.overrides else {}),
        "processor": machine.processor,
        "system": machine.system,
        "memory": f"{machine.memory_bytes / 2**30:.1f} GiB",
        "GPUs": ", ".join(machine.gpus) or "none",
        "quota": f"{machine.quota:g} processors" if machine.quota else "none",
        "threads of a model": f"{machine.threads}, kept on processor {', '.join(map(str, machine.cpus))}",
        "rows": f"{report.rows.quality:,} for accuracy, {report.rows.latency} for latency",
        "rounds and starts": f"{report.rounds} rounds, {report.starts} starts",
        **report.versions,
    }


def _told(report: Report) -> str:
    return ", ".join(f"{field}={value}" for field, value in report.overrides.items())
