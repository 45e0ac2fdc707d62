"""Reading YAML that anyone may have written: no more of it than a recipe can be, and nothing that is said twice."""

from __future__ import annotations

import yaml

from compress.errors import CompressError, first_line

_MOST_VALUES = 100_000
_BYTES = "tag:yaml.org,2002:binary"


def parse_yaml(text: str, place: str) -> object:
    """The value that a text in YAML stands for.

    :param place: Where it stands, for messages.
    :raises CompressError: If it is not valid, too large (aliases, which may multiply, are counted), or has a key twice.
    """
    try:
        _check(yaml.compose(text, Loader=yaml.SafeLoader), place)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise CompressError(f"{place}{line}: not valid YAML ({problem or first_line(error)})") from error
    except RecursionError as error:
        raise CompressError(f"{place}: nested too deeply for a recipe") from error
    except (ValueError, LookupError, AttributeError) as error:  # of dates, and of numbers with thousands of digits
        raise CompressError(f"{place}: not valid YAML ({first_line(error)})") from error


def _check(document: yaml.Node | None, place: str) -> None:
    """Refuse what would grow when it is read, and keys of which one would be lost."""
    left, count = [document], 0
    while left:
        node = left.pop()
        count += 1
        if count > _MOST_VALUES:
            raise CompressError(f"{place}: more than {_MOST_VALUES:,} values, aliases' included; no recipe has so many")
        if node is not None and node.tag == _BYTES:
            raise CompressError(
                f"{place}, line {node.start_mark.line + 1}: bytes (!!binary); no field of a recipe has any"
            )
        if isinstance(node, yaml.SequenceNode):
            left += node.value
        elif isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in keys:
                    line = key.start_mark.line + 1
                    raise CompressError(f"{place}, line {line}: the key '{key.value:.60}' comes twice; leave one out")
                keys |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
                left += [key, value]
