"""The stage that packs variants for browsers: `web/`, which any server of files can give out."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from compress.console import say, working
from compress.data.stage import DataSet, load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.models.load import load_tokenizer
from compress.reports.bench import Report
from compress.runs.directory import Run
from compress.runs.files import write_json
from compress.runs.stages import run_stage
from compress.student.summary import exported_name
from compress.tasks.rows import Row
from compress.tasks.usual import written_prefix
from compress.variants.registry import VARIANTS
from export.bundle.choice import PackedVariant, choose_variants
from export.bundle.packing import canary_rows
from export.bundle.stage import Wanted, check_no_code
from export.bundle.web.libraries import LIBRARIES, add_libraries, check_node
from export.bundle.web.summary import WEB, WebExample, WebPack, WebSummary, WebVariant
from export.bundle.web.tokens import check_tokens, tokens_in_javascript, write_for_browsers
from export.onnx.graphs import graph_files

PAGE = Path(__file__).with_name("page")
_SUFFIXES = {"fp32": "", "q8": "_quantized", "q4": "_q4"}
"""Of files, as transformers.js maps them (``DEFAULT_DTYPE_SUFFIX_MAPPING``)."""


def run_web_stage(run: Run, wanted: Wanted, report: Report | None) -> WebSummary:
    """Fill ``web/`` of a run, beside its bundle.

    :param wanted: Variants alone: those that are named, or all that a browser runs.
    :param report: Of the run's bench stage, if it has been run.
    :raises CompressError: If the task or a variant cannot run there, or JavaScript makes other tokens than Python.
    :raises UnavailableError: If Node.js, npm or its registry lack.
    """
    run = run.as_made
    _check_task(run)
    check_no_code(run.path_of(exported_name(run)))
    own = [name for name in run.manifest.stages if name in VARIANTS and VARIANTS[name].browser]
    _check_names([*wanted.variants, *wanted.accepted])
    chosen = choose_variants(run, report, wanted.variants or ([] if wanted.accepted else own), wanted.accepted)
    _check_files(run, chosen)
    check_node()
    inputs = {
        "variants": [variant.name for variant in chosen],
        "libraries": [library.integrity for library in LIBRARIES],
        **run.tokenisation,
    }
    parents = [DATA.name, exported_name(run), *(variant.name for variant in chosen)]
    return run_stage(run, WEB, inputs, parents, lambda folder, _: _build(run, chosen, folder))


def _check_task(run: Run) -> None:
    if not run.task.SINGLE_LABEL or run.recipe.data.fields.text_pair:
        raise CompressError(
            f"--web: packs classes of single texts, and not {run.recipe.task}"
            f"{' of pairs' if run.recipe.data.fields.text_pair else ''} yet; pack without --web"
        )


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name in VARIANTS and VARIANTS[name].browser is None:
            able = ", ".join(variant.name for variant in VARIANTS.values() if variant.browser)
            raise CompressError(f"--web: {name} is not for browsers; they run {able}: name one of these with --variant")


def _check_files(run: Run, chosen: Sequence[PackedVariant]) -> None:
    for variant in chosen:
        files = graph_files(run.path_of(variant.name))
        if [path.name for path in files] != ["model.onnx"]:
            raise CompressError(
                f"--web: {variant.name} has its weights beside its graph: too large; use a smaller student"
            )


def _build(run: Run, chosen: Sequence[PackedVariant], folder: Path) -> WebSummary:
    data, source = load_data(run), run.path_of(chosen[0].name)
    page, model = folder / "page", folder / "model"
    shutil.copytree(PAGE, page)
    (page / "index.html").rename(folder / "index.html")
    (page / "libraries").mkdir()
    with working("web: taking the page's libraries from npm"):
        add_libraries(page / "libraries")
    (model / "onnx").mkdir(parents=True)
    for name in ("config.json", "tokenizer_config.json"):
        shutil.copy(source / name, model / name)
    write_for_browsers(source / "tokenizer.json", model / "tokenizer.json")
    variants = [_add_variant(run, variant, model / "onnx") for variant in chosen]
    rows = canary_rows(run, data)
    with working("web: comparing tokens"):
        texts = _compare_tokens(run, data, rows, folder)
    examples = {row.lang: WebExample(lang=row.lang, text=row.text) for row in reversed(rows)}
    settings = run.recipe.data
    pack = WebPack(
        name=run.recipe.name,
        max_length=settings.max_length,
        prefix=written_prefix(settings),
        variants=variants,
        examples=[examples[lang] for lang in sorted(examples)],
    )
    write_json(page / "pack.json", pack.model_dump(mode="json"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return WebSummary(variants=variants, bytes=size, texts=texts)


def _add_variant(run: Run, chosen: PackedVariant, folder: Path) -> WebVariant:
    say(f"web: {chosen.name}")
    dtype = VARIANTS[chosen.name].browser
    assert dtype is not None  # others were refused by name
    path = folder / f"model{_SUFFIXES[dtype]}.onnx"
    shutil.copy(run.path_of(chosen.name) / "model.onnx", path)
    return WebVariant(name=chosen.name, dtype=dtype, bytes=path.stat().st_size)


def _compare_tokens(run: Run, data: DataSet, rows: Sequence[Row], folder: Path) -> int:
    """Compare the tokens of canary rows, also typed in another form, of one that is cut, and of all test rows; how many
    these were."""
    settings, tokenizer = run.recipe.data, load_tokenizer(str(run.path_of(exported_name(run))))
    everything = [*rows, *data.splits["test"]]
    longest = max(everything, key=lambda row: len(row.text))
    long = Row(text=" ".join([longest.text] * settings.max_length), text_pair=None, label=longest.label, lang="")
    asked = [*everything, long]
    expected = [example["input_ids"] for example in run.task.encoder(tokenizer, settings, data.labels)(asked)]
    texts = [row.text for row in asked] + [f"\u00a0{unicodedata.normalize('NFD', row.text)}\x1f\n" for row in rows]
    expected += expected[: len(rows)]
    found = tokens_in_javascript(folder, written_prefix(settings), texts, settings.max_length)
    check_tokens(texts, expected, found)
    return len(texts)
