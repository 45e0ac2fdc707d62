"""The first weights of a static student: its teacher's vectors of single tokens (Tulkens & van Dongen, 2024).

Each token goes through the teacher alone; its vector is brought onto the principal components of all or, of a student
that gives vectors, onto the axes of those that it learns: tokens that no text has agree with those that are learnt.
Rare tokens weigh more than frequent ones (SIF: Arora et al., 2017). What the student learns of texts comes on top.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compress.console import progress
from compress.models.describe import embeddings_of
from compress.models.outputs import mean_pooled
from compress.models.sentence_folder import MODULES, has_head
from compress.runs.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from compress.data.table import RowTable
    from compress.student.vectors import VectorTargets
    from compress.tasks.contract import Encode

MODEL2VEC = "model2vec"
"""The folder beside a static student's files with its vectors as that library opens them."""
_BATCH = 512
_RARITY = 1e-3  # the frequency at which a token weighs half


def fill_table(
    teacher: PreTrainedModel | None,
    student: PreTrainedModel,
    tokenizers: tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase],
    texts: Iterable[list[int]],
    targets: VectorTargets | None = None,
) -> None:
    """Give a static student its token vectors.

    :param teacher: None where those of a checkpoint take their place: then they are all nothing.
    :param tokenizers: The teacher's, and the student's, whose tokens the teacher knows too.
    :param texts: The student's tokens of what it learns from: they tell how frequent each is.
    :param targets: Which vectors it learns, where it gives some: its tokens' begin on the same axes.
    """
    theirs, own = tokenizers
    width = student.config.hidden_size
    numbers = own.get_vocab()
    names = sorted(numbers, key=lambda token: numbers[token])
    places = torch.tensor([numbers[name] for name in names])
    weightless = sorted({*own.all_special_ids, *([] if own.unk_token_id is None else [own.unk_token_id])})
    table = torch.zeros(int(places.max()) + 1, width)
    if teacher is not None:
        known = theirs.get_vocab()
        asked = _asked_alone(teacher, theirs, [known[name] for name in names])
        vectors = _principal(asked, width) if targets is None else targets.of(asked)
        table[places] = vectors * _weights(texts, places)[:, None]
        table[weightless] = 0.0
    student.set_input_embeddings(nn.Embedding.from_pretrained(table, freeze=False))
    student.config.update({"vocab_size": len(table), "weightless": weightless})


def _asked_alone(teacher: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: list[int]) -> Tensor:
    """What the teacher says of each token between those that begin and end a text: its vector, or of a teacher that
    gives none the mean of what its last layer has."""
    before, after = _around_texts(tokenizer)
    found = []
    teacher.eval()
    with torch.inference_mode(), progress() as bar:
        task = bar.add_task("asking the teacher about tokens", total=len(tokens))
        for start in range(0, len(tokens), _BATCH):
            batch = tokens[start : start + _BATCH]
            ids = torch.tensor([[*before, token, *after] for token in batch])
            mask = torch.ones_like(ids)
            if has_head(teacher.config):
                found.append(teacher(input_ids=ids, attention_mask=mask)["sentence_embedding"].float())
            else:
                states = teacher.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
                found.append(mean_pooled(states.float(), mask))
            bar.advance(task, len(batch))
    return torch.cat(found).clone()


def _around_texts(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that begin a text, and those that end it."""
    around: list[int]
    around, text = (tokenizer(text)["input_ids"] for text in ("", "a"))
    begin = int(around[:1] == text[:1])
    return around[:begin], around[begin:]


def _principal(vectors: Tensor, width: int) -> Tensor:
    """Vectors on the leading principal components of all, float (rows, width)."""
    centred = vectors - vectors.mean(dim=0)
    directions: Tensor = torch.linalg.eigh(centred.T @ centred).eigenvectors
    return centred @ directions.flip(1)[:, :width]


def tokens_read(encode: Encode, rows: RowTable) -> Iterator[list[int]]:
    """The tokens of rows, with what stands before their texts."""
    for start in range(0, len(rows), _BATCH):
        yield from (example["input_ids"] for example in encode(list(rows[start : start + _BATCH])))


def _weights(texts: Iterable[list[int]], places: Tensor) -> Tensor:
    """What tokens weigh, float (tokens,); those that no text has as if they were in it once."""
    counts: Counter[int] = Counter()
    for ids in texts:
        counts.update(ids)
    total = sum(counts.values()) + len(places)
    return torch.tensor([_RARITY / (_RARITY + (counts[place] + 1) / total) for place in places.tolist()])


def write_model2vec(
    student: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, folder: Path
) -> None:
    """Write a static student's vectors as model2vec and sentence-transformers (StaticEmbedding) open them.

    :param max_length: Tokens of a row, with those that begin and end it.
    """
    from safetensors.torch import save_file

    place = folder / MODEL2VEC
    place.mkdir()
    table = embeddings_of(student).detach().contiguous()
    save_file({"embeddings": table}, place / "model.safetensors", {"format": "pt"})
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.save(str(place / "tokenizer.json"))
    content: dict[str, Any] = {"model_type": MODEL2VEC, "architectures": ["StaticModel"], "normalize": True}
    write_json(place / "config.json", {**content, "max_length": max_length - len(tokenizer("")["input_ids"])})
    write_json(place / MODULES, _modules(""))
    if has_head(student.config):  # whose own folder opens there too, with its prompts
        shutil.rmtree(folder / "1_Pooling")
        write_json(folder / MODULES, _modules(MODEL2VEC))


def _modules(vectors: str) -> list[dict[str, object]]:
    """What sentence-transformers opens a folder by.

    :param vectors: The folder of the table.
    """
    kinds = [(vectors, "StaticEmbedding"), (f"{2 if vectors else 1}_Normalize", "Normalize")]
    return [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
