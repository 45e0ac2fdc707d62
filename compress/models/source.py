"""Where a model from elsewhere lies: a folder of the user's, or the files of one commit of the hub."""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from compress.contract import Contract
from compress.errors import CompressError, first_line

if TYPE_CHECKING:
    from compress.recipe.teacher import Teacher

StrPath = str | os.PathLike[str]
"""A folder, which messages call by what `str` makes of it: of a `Source` its name."""

_REPOSITORY = re.compile(r'"([^"]+)--')
# No pickled weights, and none in other formats than safetensors, of which a repository may hold many gigabytes.
_WANTED = ("*.json", "*.py", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.spm", "model*.safetensors",
           "[0-9]*_*/model.safetensors")  # fmt: skip


class Code(Contract):
    """Code of a model that lies in another repository of the hub than the model."""

    repository: str
    revision: str = Field(description="commit")


@dataclass(frozen=True)
class Source(os.PathLike[str]):
    """A model's folder, which messages call by its ``name``, as the recipe does.

    ``revision`` is the commit of the hub that its files are of; none for a folder of the user's. ``code`` is where code
    lies that its configuration names and that is to be run; none where it lies beside it.
    """

    name: str
    folder: Path
    revision: str | None = None
    code: Code | None = None

    @property
    def code_revision(self) -> str | None:
        """What transformers is to be told, which reads the newest code otherwise."""
        return self.code.revision if self.code else None

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return self.name


def fetch(teacher: Teacher) -> Source:
    """The files of the model that a recipe names; of one on the hub those of one commit, in the cache of
    `huggingface_hub`, where what is there already is not asked for again.

    A branch is looked up once in a process: configuration, tokenizer and weights are of one commit.

    :raises CompressError: If it is no folder, and the hub does not give it.
    """
    assert teacher.model is not None
    source = _fetched(teacher.model, teacher.revision, teacher.subfolder, teacher.token)
    repositories = _of_code(source.folder) if teacher.trust_remote_code else []
    if not repositories:
        return source
    if len(repositories) > 1:
        raise CompressError(
            f"{source}: its code lies in several repositories ({', '.join(repositories)}), of which one can be pinned; "
            "copy the code beside its config.json and name it there without them"
        )
    if source.revision and repositories == [teacher.model]:
        return replace(source, code=Code(repository=teacher.model, revision=source.revision))
    return replace(source, code=_fetched_code(str(source), repositories[0], teacher.code_revision, teacher.token))


def pinned(teacher: Teacher, revision: str | None, code: Code | None) -> Teacher:
    """A model as it was found: the same commits, whatever came out since."""
    return teacher.model_copy(update={"revision": revision, "code_revision": code.revision if code else None})


def _of_code(folder: Path) -> list[str]:
    """Repositories whose code a model's files name: ``auto_map: {AutoModel: "owner/name--module.Class"}``."""
    found: dict[str, None] = {}
    for name in ("config.json", "tokenizer_config.json"):
        try:
            told = json.loads((folder / name).read_bytes())["auto_map"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):  # it is told where it is loaded
            continue
        references = json.dumps(told)
        found |= dict.fromkeys(_REPOSITORY.findall(references))
    return list(found)


@functools.cache
def _fetched_code(model: str, repository: str, revision: str | None, token: str | bool | None) -> Code:
    """The code of one commit, in the cache, where transformers finds it."""
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(repository, revision=revision, token=_secret(token), allow_patterns=["*.py"])
    except Exception as error:
        raise CompressError(
            f"{model}: its code lies in {repository}, which the hub does not give ({first_line(error)}); fetch it "
            "where the hub can be reached, or name a teacher.code_revision that it has"
        ) from error
    return Code(repository=repository, revision=Path(snapshot).name)


@functools.cache
def _fetched(model: str, revision: str | None, subfolder: str | None, token: str | bool | None) -> Source:
    below = Path(subfolder or "")
    if Path(model).is_dir():
        if revision is not None:
            raise CompressError(f"teacher.revision: {model} is a folder, of which there is one only; leave it out")
        return Source(str(Path(model) / below), Path(model) / below)
    from huggingface_hub import snapshot_download

    wanted = [(below / pattern).as_posix() for pattern in _WANTED]
    try:
        snapshot = Path(snapshot_download(model, revision=revision, token=_secret(token), allow_patterns=wanted))
    except Exception as error:  # of the hub's client, and of the one that it speaks HTTP with
        raise CompressError(_reason(model, revision, error)) from error
    if not (snapshot / below).is_dir():
        raise CompressError(f"teacher.subfolder: {model} has no folder '{subfolder}'; name one that it has")
    return Source((Path(model) / below).as_posix(), snapshot / below, snapshot.name)


def _secret(token: str | bool | None) -> str | bool | None:
    """What the hub is shown: of an environment variable what it holds."""
    if not isinstance(token, str):
        return token
    if not os.environ.get(token):
        raise CompressError(f"teacher.token: the environment variable {token} is not set; export it with your token")
    return os.environ[token]


def _reason(model: str, revision: str | None, error: Exception) -> str:
    """What is wrong and what to do, in a line."""
    from huggingface_hub import errors

    if isinstance(error, CompressError):
        return str(error)
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "teacher.token: true needs a login here; run `hf auth login`, or name an environment variable"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"teacher.model: {model} is open to those who accepted its terms; do so on its page and set teacher.token"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"teacher.revision: {model} has no branch, tag or commit '{revision}'; name one that it has"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"teacher.model: no folder {model}, and no such model on the hub; if it is private set teacher.token"
    if isinstance(error, errors.HFValidationError):
        return f"teacher.model: no folder {model}, and no name that the hub's models have; name a folder that is there"
    return (
        f"teacher.model: no folder {model}, and the hub does not give it ({first_line(error)}); fetch it where the hub "
        "can be reached, or name a folder"
    )
