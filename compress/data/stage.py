"""The data stage: read, clean, and write the run's own copy, which every later stage reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from compress.console import say
from compress.data.clean import clean
from compress.data.divide import MEASURING_SHARES, SHARES
from compress.data.labels import in_teachers_order
from compress.data.negatives import check_queries, with_negatives
from compress.data.plain_text import read_texts, text_files
from compress.data.read import READERS, SPLITS, UNLABELLED, have_labels, read_splits
from compress.data.summary import ANSWERS, DATA, DataSummary
from compress.data.table import RowTable, damaged
from compress.errors import CompressError
from compress.models.describe import label_names
from compress.models.load import load_config
from compress.models.source import fetch
from compress.recipe.data import Data
from compress.recipe.teacher import Teacher
from compress.runs.directory import Run
from compress.runs.files import file_sha256, write_json
from compress.runs.stages import run_stage
from compress.tasks.contract import Task, refuses
from compress.tasks.rows import Row, row_as_dict

_PLAIN_TEXT = "plain-text.ndjson"  # no file of rows, which end in .jsonl


@dataclass(frozen=True)
class DataSet:
    """The cleaned rows of a run: ``train``, ``validation``, ``test`` and, where there are some, ``unlabelled``."""

    splits: Mapping[str, RowTable]
    labels: list[str]

    def numbers(self, rows: RowTable) -> list[int]:
        """Label numbers of rows, where each has one."""
        number = {label: index for index, label in enumerate(self.labels)}
        return [number[label] for label in rows.column("label")]

    @property
    def training_rows(self) -> RowTable:
        """The rows of the train split and those without labels."""
        return RowTable.joined([self.splits[split] for split in ("train", UNLABELLED) if split in self.splits])

    def labelled(self, split: str, languages: Sequence[str] | None) -> RowTable:
        """Rows of a split in the languages whose labels may be used (none: all).

        :raises CompressError: If there is none.
        """
        rows = self.splits[split].in_languages(languages)
        if not rows:
            named = ", ".join(languages or [])
            raise CompressError(f"data.labelled_languages: the {split} split has no rows in {named}")
        return rows

    @property
    def languages(self) -> list[str]:
        """Languages of the test split, in order."""
        return sorted(set(self.splits["test"].column("lang")))


def run_data_stage(run: Run) -> DataSummary:
    """Fill ``data/`` with one JSON Lines file a split, the label names and the cleaning report."""
    data = run.recipe.data
    inputs = {
        "task": run.recipe.task,
        **data.model_dump(exclude={"labelled_languages", *run.tokenisation}),
        "seed": run.recipe.seed,
        "files": _fingerprints(run),
        "teacher_labels": (own := _labels_of_teacher(run.recipe.teacher)),
        "trains": run.recipe.trains,
    }
    return run_stage(run, DATA, inputs, (), lambda folder, _: _build(run, folder, own))


def load_data(run: Run) -> DataSet:
    """Read the cleaned rows of a run; where they have no labels, those that the model has answered have its answers."""
    folder = run.path_of(DATA.name)
    files = {split: folder / f"{split}.jsonl" for split in (*SPLITS, UNLABELLED)}
    files = {split: file for split, file in files.items() if file.exists()}
    if not run.summary(DATA).labelled and run.is_current(ANSWERS.name):
        files |= {file.stem: file for file in run.path_of(ANSWERS.name).glob("*.jsonl")}
    splits = {split: RowTable.open(file, run.folder / ".work" / "arrow") for split, file in files.items()}
    return DataSet(splits, load_labels(run))


def load_plain_text(run: Run) -> Iterator[tuple[str, str]]:
    """The run's own copy of other text than its rows', each with its language; none where the recipe names none."""
    path = run.path_of(DATA.name) / _PLAIN_TEXT
    if run.recipe.data.plain_text:
        with path.open(encoding="utf-8") as lines:
            yield from (tuple(json.loads(line)) for line in lines)


def load_labels(run: Run) -> list[str]:
    """The label names of a run, by number; none where labels are no closed set."""
    path = run.path_of(DATA.name) / "labels.json"
    try:
        return TypeAdapter(list[str]).validate_json(path.read_bytes(), strict=True)
    except (OSError, ValidationError) as error:
        raise damaged(path) from error


def _labels_of_teacher(teacher: Teacher) -> list[str] | None:
    """Of one that is taken as it is; none where there are to be the data's."""
    if teacher.model is None or teacher.fine_tune:
        return None
    return label_names(teacher.model, load_config(fetch(teacher), teacher.trust_remote_code))


def _build(run: Run, folder: Path, own: Sequence[str] | None) -> DataSummary:
    data, task, trains = run.recipe.data, run.recipe.task, run.recipe.trains
    learnt = trains and not run.task.VECTORS and not data.negatives.per_query
    labelled = learnt or have_labels(data, task)
    shares = SHARES if trains else MEASURING_SHARES
    raw = read_splits(data, run.recipe.seed, task, labelled=labelled, shares=shares)
    with ExitStack() as stack:
        files = {split: stack.enter_context((folder / f"{split}.jsonl").open("w", encoding="utf-8")) for split in raw}

        def keep(split: str, row: Row) -> None:
            files[split].write(json.dumps(row_as_dict(row), ensure_ascii=False) + "\n")

        cleaned = clean(raw, run.task, data, keep, labelled=labelled, learnt=trains)
    if run.task.RANKS:
        cleaned = replace(cleaned, summary=_with_negatives(run, folder, cleaned.summary))
    labels = cleaned.labels
    if own is not None and labels:
        labels = in_teachers_order(own, labels, data.label_names, str(run.recipe.teacher.model))
    elif own is not None and not refuses(run.task, "data.label_names", ""):
        labels = list(own)
    write_json(folder / "labels.json", labels)
    counts = _copy_plain_text(data, run.task, folder / _PLAIN_TEXT)
    summary = cleaned.summary.model_copy(update={"plain_text": counts})
    write_json(folder / "report.json", summary.model_dump(mode="json"))
    _tell(summary)
    return summary


def _copy_plain_text(data: Data, task: Task, path: Path) -> dict[str, int]:
    """Write texts with their languages, those of the rows that are kept, and tell how many there are of each.

    :raises CompressError: If there is none.
    """
    if not data.plain_text:
        return {}
    counts: Counter[str] = Counter()
    wanted = {language for lang in data.languages or [] for language in task.languages_in(lang)}
    with path.open("w", encoding="utf-8") as lines:
        for language, text in read_texts(text_files(data.plain_text)):
            if data.languages is None or language in wanted:
                counts[language] += 1
                lines.write(json.dumps([language, text], ensure_ascii=False) + "\n")
    if not counts:
        raise CompressError(f"data.plain_text: no text in {', '.join(sorted(wanted) or ['these files'])}")
    return dict(sorted(counts.items()))


def _with_negatives(run: Run, folder: Path, summary: DataSummary) -> DataSummary:
    """Put the passages that answer other queries into the files of the splits."""
    settings, splits, languages = run.recipe.data.negatives, {}, summary.languages
    labelled = summary.labelled or settings.per_query > 0
    for number, (split, found) in enumerate(summary.splits.items()):
        path = folder / f"{split}.jsonl"
        with path.open(encoding="utf-8") as lines:  # other ends of lines than \n stand in texts
            rows = [Row(**json.loads(line)) for line in lines]
        if settings.per_query:
            before, rows = len(rows), with_negatives(rows, settings, run.recipe.seed + number)
            path.write_text("".join(json.dumps(row_as_dict(row), ensure_ascii=False) + "\n" for row in rows), "utf-8")
            found = found.model_copy(update={"rows": len(rows), "negatives": len(rows) - before})
        if labelled:
            check_queries(split, rows)
        if split == "train":
            languages = dict(sorted(Counter(row.lang for row in rows).items()))
        splits[split] = found
    return summary.model_copy(update={"splits": splits, "labelled": labelled, "languages": languages})


def _tell(summary: DataSummary) -> None:
    for split, counts in summary.splits.items():
        dropped = ", ".join(f"{number} {reason}" for reason, number in counts.dropped.items() if number)
        added = f", {counts.negatives:,} of them passages of other queries" if counts.negatives else ""
        say(f"data: {split}: {counts.rows:,} rows{added}" + (f" (dropped: {dropped})" if dropped else ""))
    labels = f"{len(summary.labels)} labels, " if summary.labels else ""
    say(f"data: {labels}{len(summary.languages)} languages")
    if summary.plain_text:
        say(f"data: plain text: {sum(summary.plain_text.values()):,} texts, {len(summary.plain_text)} languages")
    for shared in summary.shared_texts:
        between = f"{shared.first} and {shared.second}"
        if shared.texts:
            say(f"data: warning: {shared.texts:,} texts occur in {between}: figures on rows seen before are too good")
        if shared.parallel:
            say(f"data: warning: {shared.parallel:,} groups of parallel rows have some in {between}")


def _fingerprints(run: Run) -> dict[str, str]:
    """Hashes of the local files behind the recipe, so that edited data is noticed."""
    data = run.recipe.data
    named = [Path(name) for name in (data.train, data.validation, data.test) if name] or [Path(data.source)]
    named += [Path(data.unlabelled)] if data.unlabelled else []
    files = [file for path in named for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    read = [file for file in files if file.suffix in READERS and file.is_file()]
    read += [file.path for file in text_files(data.plain_text or [])]
    return {str(file): file_sha256(file) for file in read}
