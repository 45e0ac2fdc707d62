"""The stage that packs variants for browsers: `web/`, which any server of files can give out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from compress.console import say, working
from compress.data.stage import DataSet, load_data
from compress.data.summary import DATA
from compress.errors import CompressError
from compress.models.describe import thresholds_in
from compress.models.load import load_tokenizer
from compress.models.reranker import activation_in
from compress.reports.bench import Report
from compress.runs.directory import Run
from compress.runs.files import file_sha256, write_json
from compress.runs.stages import run_stage
from compress.runtimes.generation import ENCODER, MERGED
from compress.serving.format import description_of
from compress.student.summary import exported_name
from compress.tasks.contract import Task
from compress.tasks.rows import Row
from compress.variants.registry import VARIANTS
from export.bundle.choice import PackedVariant, choose_variants
from export.bundle.packing import canary_rows
from export.bundle.stage import Wanted, check_no_code
from export.bundle.web.libraries import LIBRARIES, add_libraries, check_node
from export.bundle.web.summary import WEB, WebExample, WebPack, WebSummary, WebVariant, WebWay
from export.bundle.web.tokens import (
    check_texts,
    check_tokens,
    questions_about,
    read_in_python,
    told_in_javascript,
    typed_otherwise,
    write_for_browsers,
)
from export.bundle.web.ways import way_of, ways_of
from export.onnx.graphs import graph_bytes
from export.onnx.weights import SINGLE_FILE_LIMIT, write_alone

PAGE = Path(__file__).with_name("page")
_SUFFIXES = {"fp32": "", "q8": "_quantized", "fp16": "_fp16", "q4": "_q4"}
"""Of files, as transformers.js maps them (``DEFAULT_DTYPE_SUFFIX_MAPPING``)."""


def run_web_stage(run: Run, wanted: Wanted, report: Report | None) -> WebSummary:
    """Fill ``web/`` of a run, beside its bundle.

    :param wanted: Variants alone: those that are named, or all that a browser runs.
    :param report: Of the run's bench stage, if it has been run.
    :raises CompressError: If the task or a variant cannot run there, or JavaScript makes other tokens than Python.
    :raises UnavailableError: If Node.js, npm or its registry lack.
    """
    run = run.as_made
    _check_model(run)
    check_no_code(run.path_of(exported_name(run)))
    own = [name for name in run.manifest.stages if name in VARIANTS and VARIANTS[name].browser]
    _check_names([*wanted.variants, *wanted.accepted])
    chosen = choose_variants(run, report, wanted.variants or ([] if wanted.accepted else own), wanted.accepted)
    _check_files(run, chosen)
    check_node()
    inputs = {
        "variants": [variant.name for variant in chosen],
        "libraries": [library.integrity for library in LIBRARIES],
        "page": [[path.name, file_sha256(path)] for path in sorted(PAGE.iterdir())],
        **run.tokenisation,
    }
    parents = [DATA.name, exported_name(run), *(variant.name for variant in chosen)]
    return run_stage(run, WEB, inputs, parents, lambda folder, _: _build(run, chosen, folder))


def _check_model(run: Run) -> None:
    model = run.path_of(exported_name(run))
    if not (model / "tokenizer.json").is_file():
        raise CompressError(f"--web: {model} has no tokenizer.json, which transformers.js reads; pack without --web")


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name in VARIANTS and VARIANTS[name].browser is None:
            able = ", ".join(variant.name for variant in VARIANTS.values() if variant.browser)
            raise CompressError(f"--web: {name} is not for browsers; they run {able}: name one of these with --variant")


def _check_files(run: Run, chosen: Sequence[PackedVariant]) -> None:
    for variant in chosen:
        folder = run.path_of(variant.name)
        if missing := next((name for name in _graphs(run) if not (folder / name).is_file()), None):
            raise CompressError(f"--web: {variant.name} has no {missing}, which transformers.js opens; leave it out")
        if graph_bytes(folder) > SINGLE_FILE_LIMIT:
            raise CompressError(f"--web: {variant.name} is too large for a browser; use a smaller student")


def _graphs(run: Run) -> Sequence[str]:
    """The graphs that transformers.js opens."""
    return (ENCODER, MERGED) if run.task.GENERATES else run.task.GRAPHS


def _build(run: Run, chosen: Sequence[PackedVariant], folder: Path) -> WebSummary:
    data, source = load_data(run), run.path_of(chosen[0].name)
    page, model = folder / "page", folder / "model"
    shutil.copytree(PAGE, page)
    (page / "index.html").rename(folder / "index.html")
    (page / "libraries").mkdir()
    with working("web: taking the page's libraries from npm"):
        add_libraries(page / "libraries")
    (model / "onnx").mkdir(parents=True)
    for name in ("config.json", "generation_config.json"):
        if (source / name).is_file():
            shutil.copy(source / name, model / name)
    write_for_browsers(source, model)
    variants = [_add_variant(run, variant, model / "onnx") for variant in chosen]
    pack = _described(run, data, source, variants)
    write_json(page / "pack.json", pack.model_dump(mode="json"))
    with working("web: comparing tokens"):
        texts = _compare_tokens(run, data, folder, pack)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return WebSummary(variants=variants, bytes=size, texts=texts)


def _described(run: Run, data: DataSet, source: Path, variants: list[WebVariant]) -> WebPack:
    """What the page must know.

    :param source: A folder of one of the variants.
    """
    model = description_of(
        run.recipe,
        data.labels,
        thresholds_in(source),
        activation=activation_in(source),
        name=run.recipe.name,
        runtime="ONNX Runtime",
    )
    languages = sorted({lang for rows in data.splits.values() for lang in rows.column("lang")})
    ways = ways_of(run.task, load_tokenizer(str(source)), model, languages)
    rows = {row.lang: row for row in reversed(canary_rows(run, data))}
    examples = [_example(run.task, rows[lang], ways) for lang in sorted(rows)]
    return WebPack(name=run.recipe.name, model=model, ways=ways, variants=variants, examples=examples)


def _example(task: Task, row: Row, ways: Sequence[WebWay]) -> WebExample:
    way = way_of(task, task.rows_learnt(row)[0], ways)
    return WebExample(lang=row.lang, text=row.text, text_pair=row.text_pair, way=way)


def _add_variant(run: Run, chosen: PackedVariant, folder: Path) -> WebVariant:
    say(f"web: {chosen.name}")
    dtype = VARIANTS[chosen.name].browser
    assert dtype is not None  # others were refused by name
    size = 0
    for name in _graphs(run):
        path = folder / f"{name.removesuffix('.onnx')}{_SUFFIXES[dtype]}.onnx"
        write_alone(run.path_of(chosen.name) / name, path)
        size += path.stat().st_size
    return WebVariant(name=chosen.name, dtype=dtype, bytes=size)


def _compare_tokens(run: Run, data: DataSet, folder: Path, pack: WebPack) -> int:
    """Compare what is read of canary rows, also typed in another form, of some that are cut, and of all test rows; how
    many texts or pairs these were."""
    settings, tokenizer = run.recipe.data, load_tokenizer(str(run.path_of(exported_name(run))))
    encode = run.task.encoder(tokenizer, settings, data.labels)
    canary = [text for row in canary_rows(run, data) for text in run.task.rows_learnt(row)]
    everything = [text for row in data.splits["test"] for text in run.task.rows_learnt(row)]
    longest = max(everything, key=lambda row: len(row.text) + len(row.text_pair or ""))
    asked = [*canary, *everything, *_too_long(longest, settings.max_length)]
    expected = [read_in_python(encode, row) for row in asked]
    questions = questions_about(run.task, asked, pack.ways)
    questions += [typed_otherwise(question) for question in questions[: len(canary)]]
    expected += expected[: len(canary)]
    written = [np.array(example["labels"]) for example in encode(everything)] if run.task.GENERATES else []
    texts = run.task.decode(written, [], everything, [], tokenizer) if written else []
    told = told_in_javascript(folder, pack, questions, [tokens.tolist() for tokens in written])
    check_tokens(questions, expected, told.read)
    check_texts(texts, told.texts)
    return len(questions)


def _too_long(row: Row, times: int) -> Iterator[Row]:
    """A row so often repeated that it must be cut: its text, of pairs the other one, and both."""

    def repeated(text: Any) -> Any:
        return text * times if isinstance(text, list) else " ".join([text] * times)

    bare = replace(row, label="", parallel=None)
    yield replace(bare, text=repeated(row.text))
    if row.text_pair is not None:
        yield replace(bare, text_pair=repeated(row.text_pair))
        yield replace(bare, text=repeated(row.text), text_pair=repeated(row.text_pair))
