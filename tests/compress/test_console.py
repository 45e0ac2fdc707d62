"""What is said, what is kept in the log, and what neither may do: end a command."""

import logging
import warnings
from pathlib import Path

import pytest

from compress import console


@pytest.fixture(autouse=True)
def quiet():
    """Handlers of one test are gone in the next."""
    yield
    console.quiet_libraries()


def test_the_log_keeps_our_lines_and_what_libraries_log_print_and_warn(tmp_path: Path, capsys: pytest.CaptureFixture):
    logging.captureWarnings(False)  # of an earlier test, in whose place pytest has put its own
    console.quiet_libraries()
    console.start_log(tmp_path)
    console.say("data: 3 rows")
    logging.getLogger("datasets.builder").warning("cache is full")
    with console.swallowed_output():
        print("a library talks")
    warnings.warn("a library warns", stacklevel=1)
    kept = (tmp_path / "logs/compress.log").read_text()
    for line in ("compress INFO data: 3 rows", "WARNING cache is full", "a library talks", "a library warns"):
        assert line in kept
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "cache is full" not in shown.err
    assert "a library" not in shown.err


def test_verbose_shows_what_libraries_log_and_our_lines_once(tmp_path: Path, capsys: pytest.CaptureFixture):
    console.quiet_libraries(verbose=True)
    logging.getLogger("datasets.builder").warning("cache is full")
    logging.getLogger("compress").info("data: 3 rows")  # as `say` logs what it has printed
    assert capsys.readouterr().err == "cache is full\n"


def test_each_command_of_a_process_has_a_log_of_its_own(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        console.quiet_libraries()
        console.start_log(tmp_path / name)
        console.say(name)
    assert "two" not in (tmp_path / "one/logs/compress.log").read_text()
    assert console.log_error(ValueError("why")) == tmp_path / "two/logs/compress.log"
    console.quiet_libraries()
    assert console.log_error(ValueError("why")) is None


def test_a_log_on_a_full_disk_ends_silently(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/compress.log").symlink_to("/dev/full")
    console.quiet_libraries()
    console.start_log(tmp_path)
    console.say("student: epoch 1")
    assert "Traceback" not in capsys.readouterr().err


HOSTILE = "[/] [conceal]a[/b] :smile: \x1b[31mred\x07 \u202egpj.exe\udc80\n\tb"
SHOWN = r"[/] [conceal]a[/b] :smile: \x1b[31mred\x07 \u202egpj.exe\udc80 b"


def test_text_that_is_not_ours_is_never_markup_and_steers_no_terminal(monkeypatch: pytest.MonkeyPatch):
    from rich.console import Console

    drawn = Console(force_terminal=True, width=200, record=True)
    monkeypatch.setattr(console, "console", drawn)
    monkeypatch.setattr(console, "_terminal", drawn)
    console.say(f"said {HOSTILE}")
    with console.working(f"done {HOSTILE}"):
        pass
    with console.progress() as bar:
        bar.add_task("[/x]", total=1)
    drawn.print(console.table(f"title {HOSTILE}", [f"heading {HOSTILE}"], [[f"cell {HOSTILE}"]]))
    shown = drawn.export_text()
    for place in ("said", "done", "title", "heading", "cell"):
        assert f"{place} {SHOWN}" in shown


def test_in_markdown_it_is_text_in_one_cell_of_a_table():
    assert console.markdown("<img src=x> | *a*\n`b` [c](d) \x1b[0m") == (
        r"\<img src=x\> \| \*a\* \`b\` \[c\](d) \\x1b\[0m"
    )


def test_the_log_steers_no_terminal_either(tmp_path: Path, capsys: pytest.CaptureFixture):
    console.quiet_libraries(verbose=True)
    console.start_log(tmp_path)
    logging.getLogger("datasets.builder").warning("two\nlines \x1b[31m")
    console.log_error(ValueError("\x1b]0;title\x07"))
    kept = (tmp_path / "logs/compress.log").read_text()
    assert "two\nlines \\x1b[31m" in kept
    assert r"ValueError: \x1b]0;title\x07" in kept
    assert capsys.readouterr().err == "two\nlines \\x1b[31m\n"


def test_long_work_says_how_far_it_is_where_nothing_can_be_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
):
    now = iter([0.0, 30.0, 90.0, 100.0, 600.0])  # begun; after each step
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    console.start_log(tmp_path)
    with console.progress() as bar:
        task = bar.add_task("asking", total=4000)
        for _ in range(4):
            bar.advance(task, 1000)
    said = capsys.readouterr().err.splitlines()
    assert said == ["asking: 2,000 of 4,000, 0:01:30 left"]
    assert said[0] in (tmp_path / "logs/compress.log").read_text()
