"""What this machine's processor calculates as it should."""

from compress.targets import TARGETS, resolve_target


def saturates(target: str) -> bool:
    """Whether sums of int8 products that are made for a target overflow here: they do without VNNI, with 8 bits."""
    return resolve_target("auto").reduce_range and not TARGETS[target].reduce_range
