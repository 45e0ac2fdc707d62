"""The order of label names: of the data's own, and of a teacher that is taken with the labels it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from compress.errors import CompressError

_SHOWN = 5


def ordered_labels(labels: Iterable[str]) -> list[str]:
    """Label names in order: whole numbers by their size, others by the alphabet."""
    names = sorted(labels)
    return sorted(names, key=int) if all(re.fullmatch(r"-?[0-9]{1,9}", name) for name in names) else names


def in_teachers_order(own: Sequence[str], labels: Sequence[str], named: Mapping[str, str], teacher: str) -> list[str]:
    """The labels of a teacher in its order, by the data's names where the data has them; it may know more labels.

    They are the same if they are written alike, in capitals or not, or if the data numbers what the teacher has no name
    for (``LABEL_0``).

    :param named: What the teacher calls the data's labels, where not as the data does.
    :param teacher: Its folder or hub id.
    :raises CompressError: If the data has a label that the teacher lacks, or two that it takes for one.
    """
    strangers = sorted({*named} - {*labels})
    if strangers:
        raise CompressError(f"data.label_names: no row has the label '{strangers[0]}'; the data has {_some(labels)}")
    places = {label: _place(own, named.get(label, label)) for label in labels}
    unknown = [label for label, place in places.items() if place is None]
    if unknown:
        raise CompressError(
            f"data: {teacher} has no label '{named.get(unknown[0], unknown[0])}', but {_some(own)}; say what it calls "
            f"the data's in data.label_names ({{{unknown[0]}: {own[0]}, …}}), or have `compress distill` train it for "
            "them (in a recipe: teacher.fine_tune: true)"
        )
    by_place = {place: label for label, place in places.items()}
    result = [by_place.get(place, name) for place, name in enumerate(own)]
    unclear = [label for label in labels if result.count(label) != 1]
    if unclear:
        raise CompressError(
            f"data.label_names: '{unclear[0]}' must be one label of {teacher} ({_some(own)}), and no other label of "
            "the data the same"
        )
    return result


def _place(own: Sequence[str], name: str) -> int | None:
    if name in own:
        return own.index(name)
    alike = {name.casefold(), f"label_{name}".casefold()}
    found = [place for place, label in enumerate(own) if label.casefold() in alike]
    return found[0] if len(found) == 1 else None


def _some(labels: Sequence[str]) -> str:
    return ", ".join([*labels[:_SHOWN], *(["…"] if len(labels) > _SHOWN else [])])
