"""The built-in data set: expressions in fourteen languages, generated from the CLDR tables that Babel carries.

Every row is a short formatted expression (a date, an amount of money, a list of countries …) and its label is the kind
of expression. Nothing is downloaded. Every *named* entry of a table (a month, a unit, a currency, a country …) belongs
to one split only, in all languages at once; entries that share a written form with another entry, in any language,
are kept together. What all splits share is grammar: patterns, digits, separators and day periods.

Source: Unicode Common Locale Data Repository (https://cldr.unicode.org), as packaged by Babel.
"""

from __future__ import annotations

import random
import re
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Literal

from babel import Locale
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.numbers import format_currency, format_percent
from babel.units import format_unit

LANGUAGES = ("ar", "de", "el", "en", "es", "fr", "hi", "ja", "ko", "pl", "ru", "th", "tr", "zh")
SPLITS = ("train", "validation", "test")
ROWS_PER_KIND = {"train": 52, "validation": 10, "test": 60}
"""Rows of one kind in one language, before duplicates are dropped."""
_ROWS_PER_ENTRY = 4
"""Held-out rows for each entry of a kind's table: rows about the same few units are not so many independent tests."""

_MOST_PARALLEL = 20
"""Held-out groups of a kind that all languages write."""
_OF_DIGITS = ("time", "percentage")
"""Kinds that most languages write alike."""

_SHARES = {"train": 0.75, "validation": 0.1, "test": 0.15}
_DURATION_UNITS = ("century", "decade", "year", "quarter", "month", "week", "day", "hour", "minute", "second",
                   "millisecond", "microsecond", "nanosecond")  # fmt: skip
_FEWEST_ENTRIES = 5
_SHARE_OF_NAMED_CURRENCIES = 0.25
_PLURALS = ("zero", "one", "two", "few", "many", "other")
_FIRST_DAY, _LAST_DAY = date(1950, 1, 1), date(2049, 12, 31)


@dataclass(frozen=True)
class Entry:
    """One named entry of a CLDR table, for example ``("currency", "CHF")``."""

    table: str
    key: str


class SplitTables:
    """The table entries of one split and, for name tables, how each language writes them."""

    def __init__(self, split: str, entries: list[Entry], forms: dict[Entry, dict[str, list[str]]]):
        self.split = split
        self._forms = forms
        self._keys: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            self._keys[entry.table].append(entry.key)

    def keys(self, table: str, language: str) -> list[str]:
        """Keys of ``table`` that belong to this split and that ``language`` has a written form for."""
        return [key for key in self._keys[table] if language in self._forms[Entry(table, key)]]

    def name(self, table: str, key: str, language: str) -> str:
        """How ``language`` writes the entry, in its first form."""
        return self._forms[Entry(table, key)][language][0]

    def owns(self, number: object) -> bool:
        """Whether a number, day or time belongs to this split: values are spread by a fixed hash."""
        share = zlib.crc32(str(number).encode()) % 1000 / 1000
        low = 0.0
        for split, width in _SHARES.items():
            if split == self.split:
                return low <= share < low + width
            low += width
        raise KeyError(self.split)


def generate(seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """Generate the data set.

    :param seed: Fixes the division into splits and every drawn value.
    :return: For each of ``train``, ``validation`` and ``test`` a list of rows with ``text``, ``label`` and ``lang``.
    """
    forms = _all_forms()
    divided = _divide(forms, random.Random(f"{seed}-divide"))
    data: dict[str, list[dict[str, str]]] = {}
    for split in SPLITS:
        tables = SplitTables(split, divided[split], forms)
        generator = random.Random(f"{seed}-{split}")
        rows = [row for language in LANGUAGES for row in _rows(tables, language, generator)]
        generator.shuffle(rows)
        data[split] = rows
    return _without_ambiguous(data)


def generate_parallel(seed: int = 0) -> dict[str, list[dict[str, str]]]:
    """The same expressions in all languages, of entries that all of them write.

    :param seed: As for `generate`.
    :return: For each split a list of rows with ``text``, ``lang`` and ``parallel``, which those share that say the
        same; in no language two of them read alike.
    """
    forms = _all_forms()
    divided = _divide(forms, random.Random(f"{seed}-divide"))
    data: dict[str, list[dict[str, str]]] = {}
    for split in SPLITS:
        common = [entry for entry in divided[split] if len(forms[entry]) == len(LANGUAGES)]
        rows: list[dict[str, str]] = []
        seen: set[tuple[str, str]] = set()
        for name, texts in _parallel_texts(SplitTables(split, common, forms), seed):
            if not seen & {*texts.items()}:
                seen |= {*texts.items()}
                rows += [{"text": text, "lang": language, "parallel": name} for language, text in texts.items()]
        random.Random(f"{seed}-parallel-{split}").shuffle(rows)
        data[split] = rows
    return data


def _parallel_texts(tables: SplitTables, seed: int) -> Iterator[tuple[str, dict[str, str]]]:
    """Names of groups and what each language writes: what is drawn is the same where the draws are."""
    for kind, draw in KINDS.items():
        wanted = 0 if kind in _OF_DIGITS else _wanted_rows(kind, tables, "en")
        for number in range(wanted if tables.split == "train" else min(wanted, _MOST_PARALLEL)):
            name = f"{kind} {number}"
            draws = f"{seed}-{tables.split}-{name}"
            texts = {language: draw(tables, language, random.Random(draws)) for language in LANGUAGES}
            if all(texts.values()):
                yield name, texts


def _rows(tables: SplitTables, language: str, generator: random.Random) -> Iterator[dict[str, str]]:
    for kind, draw in KINDS.items():
        seen: set[str] = set()
        wanted = _wanted_rows(kind, tables, language)
        for _ in range(wanted * 4):
            text = draw(tables, language, generator)
            if text and text not in seen:
                seen.add(text)
                yield {"text": text, "label": kind, "lang": language}
            if len(seen) == wanted:
                break


def _wanted_rows(kind: str, tables: SplitTables, language: str) -> int:
    table = {"duration": "duration", "measure": "unit"}.get(kind, kind)
    entries = len(tables.keys(table, language))
    rows = ROWS_PER_KIND[tables.split]
    return rows if tables.split == "train" or not entries else min(rows, _ROWS_PER_ENTRY * entries)


def _without_ambiguous(data: dict[str, list[dict[str, str]]]) -> dict[str, list[dict[str, str]]]:
    """Drop texts that were generated under two kinds, or by two splits: they have no single right answer."""
    homes: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for split, rows in data.items():
        for row in rows:
            homes[row["text"]].add((split, row["label"]))
    return {split: [row for row in rows if len(homes[row["text"]]) == 1] for split, rows in data.items()}


# The written forms of every named entry.


def _all_forms() -> dict[Entry, dict[str, list[str]]]:
    """For every named entry, its written forms in each language; the first form is the one that name rows use."""
    forms: dict[Entry, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for language in LANGUAGES:
        for table, key, form in _forms_of(Locale.parse(language)):
            form = unicodedata.normalize("NFC", form).strip()
            if form and form not in forms[Entry(table, key)][language]:
                forms[Entry(table, key)][language].append(form)
    return {entry: dict(by_language) for entry, by_language in forms.items()}


def _forms_of(locale: Locale) -> Iterator[tuple[str, str, str]]:
    for table, names in (
        ("country", {key: name for key, name in locale.territories.items() if re.fullmatch("[A-Z]{2}", key)}),
        ("language", {key: name for key, name in locale.languages.items() if re.fullmatch("[a-z]{2,3}", key)}),
        ("script", locale.scripts),
        ("currency", locale.currencies),
    ):
        for key, name in names.items():
            yield table, str(key), name
    for key in map(str, locale.currencies):
        yield "currency", key, locale.currency_symbols.get(key, key)
        for form in locale._data["currency_names_plural"].get(key, {}).values():
            yield "currency", key, form
    for key, zone in locale.time_zones.items():
        if "city" in zone:
            yield "city", key, zone["city"]
        elif locale.language == "en" and key.count("/") == 1 and not key.startswith("Etc"):
            yield "city", key, key.rpartition("/")[2].replace("_", " ")
    for key, zone in locale.meta_zones.items():
        for name in zone.get("long", {}).values():
            yield "time zone", key, name
    for table, names_by_width in (("month", locale.months), ("weekday", locale.days)):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for key, name in names_by_width[context][width].items():
                    yield table, str(key), str(name)
    for unit, by_width in locale._data["unit_patterns"].items():
        table = "duration" if unit.removeprefix("duration-") in _DURATION_UNITS else "unit"
        for plural, pattern in by_width.get(_unit_width(by_width), {}).items():
            if plural in _PLURALS:
                yield table, unit, pattern.replace("{0}", "")


def _unit_width(by_width: Mapping[str, Mapping[str, str]]) -> Literal["long", "short"]:
    """The width in which Babel carries the unit's pattern: languages that do not tell them apart have "short" alone."""
    return "long" if "other" in by_width.get("long", {}) else "short"


def _unit(value: float, unit: str, language: str) -> str:
    width = _unit_width(Locale.parse(language)._data["unit_patterns"][unit])
    return format_unit(value, unit, width, locale=language)


def _divide(forms: dict[Entry, dict[str, list[str]]], generator: random.Random) -> dict[str, list[Entry]]:
    """Give every group of entries that share a written form to one split, table by table in the wanted shares."""
    groups = _groups_sharing_a_form(forms)
    by_table: dict[str, list[list[Entry]]] = defaultdict(list)
    for group in groups:
        by_table[group[0].table].append(group)
    divided: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for table in sorted(by_table):
        # Largest groups first, into the split that is furthest below its share: every split gets some of each table.
        table_groups = sorted(by_table[table], key=lambda group: (group[0].table, group[0].key))
        generator.shuffle(table_groups)
        table_groups.sort(key=len, reverse=True)
        total = sum(len(group) for group in table_groups)
        counts = dict.fromkeys(SPLITS, 0)
        for group in table_groups:
            split = min(SPLITS, key=lambda name: counts[name] / max(_SHARES[name] * total, _FEWEST_ENTRIES))
            counts[split] += len(group)
            divided[split].extend(group)
    return {split: sorted(entries, key=lambda entry: (entry.table, entry.key)) for split, entries in divided.items()}


def _groups_sharing_a_form(forms: dict[Entry, dict[str, list[str]]]) -> list[list[Entry]]:
    parent = {entry: entry for entry in forms}

    def root(entry: Entry) -> Entry:
        while parent[entry] != entry:
            parent[entry] = parent[parent[entry]]
            entry = parent[entry]
        return entry

    first_with: dict[str, Entry] = {}
    for entry in sorted(forms, key=lambda entry: (entry.table, entry.key)):
        for written in forms[entry].values():
            for form in written:
                other = first_with.setdefault(form.casefold(), entry)
                parent[root(entry)] = root(other)
    groups: dict[Entry, list[Entry]] = defaultdict(list)
    for entry in sorted(forms, key=lambda entry: (entry.table, entry.key)):
        groups[root(entry)].append(entry)
    return list(groups.values())


# One function for each kind of expression.


def _number(tables: SplitTables, generator: random.Random) -> float:
    while True:
        digits = generator.choice((0, 0, 1, 2))
        number = round(10 ** generator.uniform(0.1, 4.5), digits)
        number = int(number) if digits == 0 else number
        if tables.owns(number):
            return number


def _date(tables: SplitTables, language: str, generator: random.Random) -> str:
    months, weekdays = tables.keys("month", language), tables.keys("weekday", language)
    style = generator.choice(("full", "long", "long", "medium", "short"))
    while True:
        day = _FIRST_DAY + timedelta(days=generator.randrange((_LAST_DAY - _FIRST_DAY).days))
        if str(day.month) in months and (style != "full" or str(day.weekday()) in weekdays):
            return format_date(day, style, locale=language)


def _time(tables: SplitTables, language: str, generator: random.Random) -> str:
    while True:
        moment = time(generator.randrange(24), generator.randrange(60), generator.randrange(60))
        if tables.owns(moment):
            return format_time(moment, generator.choice(("short", "medium")), locale=language)


def _duration(tables: SplitTables, language: str, generator: random.Random) -> str:
    units = tables.keys("duration", language)
    chosen = generator.sample(units, min(len(units), 3))
    chosen.sort(key=lambda unit: _DURATION_UNITS.index(unit.removeprefix("duration-")))
    parts = [_unit(generator.randrange(2, 60), unit, language) for unit in chosen]
    # Babel carries the unit list pattern whole for some languages only; the others write the plain list.
    whole = {"start", "middle", "end", "2"} <= set(Locale.parse(language).list_patterns.get("unit", {}))
    return format_list(parts, style="unit" if whole else "standard", locale=language)


def _money(tables: SplitTables, language: str, generator: random.Random) -> str:
    code = generator.choice(tables.keys("currency", language))
    style: Literal["standard", "name"] = "name" if generator.random() < _SHARE_OF_NAMED_CURRENCIES else "standard"
    return format_currency(_number(tables, generator), code, locale=language, format_type=style)


def _percentage(tables: SplitTables, language: str, generator: random.Random) -> str:
    while True:
        number = Decimal(generator.randrange(10, 40000)) / generator.choice((1, 10, 100)) % 400
        if tables.owns(number):
            return format_percent(number / 100, locale=language, decimal_quantization=False)


def _measure(tables: SplitTables, language: str, generator: random.Random) -> str:
    unit = generator.choice(tables.keys("unit", language))
    return _unit(_number(tables, generator), unit, language)


def _names(table: str) -> Callable[[SplitTables, str, random.Random], str]:
    def draw(tables: SplitTables, language: str, generator: random.Random) -> str:
        keys = tables.keys(table, language)
        chosen = generator.sample(keys, min(len(keys), generator.randrange(3, 7)))
        return format_list([tables.name(table, key, language) for key in chosen], locale=language)

    return draw


def _language(tables: SplitTables, language: str, generator: random.Random) -> str:
    """A list of locale names such as "French (Canada)", after CLDR's locale display pattern."""
    languages, countries = tables.keys("language", language), tables.keys("country", language)
    names = [
        f"{tables.name('language', generator.choice(languages), language)} "
        f"({tables.name('country', generator.choice(countries), language)})"
        for _ in range(generator.randrange(2, 4))
    ]
    return format_list(names, locale=language)


def _city(tables: SplitTables, language: str, generator: random.Random) -> str:
    """Cities with their local times, as a world clock shows them."""
    cities = generator.sample(tables.keys("city", language), generator.randrange(1, 4))
    entries = [f"{tables.name('city', city, language)} {_time(tables, language, generator)}" for city in cities]
    return format_list(entries, locale=language)


KINDS: dict[str, Callable[[SplitTables, str, random.Random], str]] = {
    "date": _date,
    "time": _time,
    "duration": _duration,
    "money": _money,
    "percentage": _percentage,
    "measure": _measure,
    "country": _names("country"),
    "language": _language,
    "currency": _names("currency"),
    "script": _names("script"),
    "city": _city,
    "time zone": _names("time zone"),
}
