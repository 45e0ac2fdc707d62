"""The target follows from the processor's features, which are read without PyTorch."""

import subprocess
import sys

import pytest

from compress.machine import CpuFeatures, cpu_features, parse_cpuinfo
from compress.targets import TARGETS, calculates_alike, is_elsewhere, resolve_target, target_of, without_bf16

SAPPHIRE_RAPIDS = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8480+
flags\t\t: fpu sse4_2 avx2 avx512f avx512dq avx_vnni avx512_bf16 avx512_vnni amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GRAVITON = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd evtstrm aes asimddp sve i8mm bf16
CPU implementer\t: 0x41
"""


@pytest.mark.parametrize(
    ("architecture", "features", "name"),
    [
        ("x86_64", set(), "cpu-avx2"),  # what is not known is not used
        ("x86_64", {"avx2"}, "cpu-avx2"),
        ("x86_64", {"avx2", "avx512_f"}, "cpu-avx512"),
        ("x86_64", {"avx2", "avx512_f", "avx512_vnni"}, "cpu-vnni"),
        ("x86_64", {"avx2", "avx_vnni"}, "cpu-vnni"),
        ("x86_64", {"avx2", "avx512_f", "avx512_vnni", "avx512_bf16"}, "cpu-avx512-bf16"),
        ("x86_64", {"avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}, "cpu-amx"),
        ("x86_64", {"avx2", "avx512_f", "avx512_vnni", "amx_int8"}, "cpu-vnni"),
        ("x86_64", {"avx2", "avx512_f", "avx512_bf16"}, "cpu-avx512"),  # int8 decides first
        ("AMD64", {"avx2", "avx512_f"}, "cpu-avx512"),
        ("aarch64", set(), "cpu-arm"),
        ("arm64", set(), "cpu-arm"),
    ],
)
def test_the_target_follows_from_the_features(architecture: str, features: set[str], name: str):
    found = CpuFeatures(architecture, "a processor", **dict.fromkeys(features, True))
    assert target_of(found).name == name
    assert set(found.present) == features


def test_features_are_those_of_the_first_processor():
    found = parse_cpuinfo(SAPPHIRE_RAPIDS, "x86_64")
    assert found.cpu_name == "Intel(R) Xeon(R) Platinum 8480+"
    assert found.vendor == "GenuineIntel"
    assert found.present == ["avx2", "avx512_f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8"]


@pytest.mark.parametrize(("text", "architecture"), [(GRAVITON, "aarch64"), ("", "x86_64")])
def test_a_processor_without_name_or_flags_is_named_all_the_same(text: str, architecture: str):
    found = parse_cpuinfo(text, architecture)
    assert found.cpu_name
    assert found.present == []


def test_a_part_of_a_flag_s_name_is_not_the_flag():
    assert parse_cpuinfo("flags\t: avx_vnni_int8 avx512_4vnniw avx512vl", "x86_64").present == []


def test_pytorch_sees_the_same_processor():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.cpu.get_capabilities(), cpu_features()
    names = ("avx2", "avx512_f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    assert ours.present == [name for name in names if theirs.get(name)]
    assert theirs["architecture"].startswith("x86") == (target_of(ours).name != "cpu-arm")


def test_this_machine_has_a_target():
    target = resolve_target("auto")
    assert target is TARGETS[target.name]
    assert not is_elsewhere(target.name)
    assert not is_elsewhere("any")
    assert is_elsewhere("cuda-sm89")


@pytest.mark.parametrize(
    ("here", "elsewhere"),
    [
        ("cpu-amx", {"cpu-avx2", "cpu-avx512", "cpu-arm"}),
        ("cpu-avx512-bf16", {"cpu-avx2", "cpu-avx512", "cpu-arm"}),
        ("cpu-vnni", {"cpu-avx2", "cpu-avx512", "cpu-avx512-bf16", "cpu-amx", "cpu-arm"}),
        ("cpu-avx2", {"cpu-avx512", "cpu-vnni", "cpu-avx512-bf16", "cpu-amx", "cpu-arm"}),
    ],
)
def test_bf16_is_all_that_its_targets_add(here: str, elsewhere: set[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("compress.targets.target_of", lambda _: TARGETS[here])
    assert {name for name in TARGETS if name.startswith("cpu") and is_elsewhere(name)} == elsewhere
    assert bool(without_bf16()) == (here in ("cpu-vnni", "cpu-avx2"))
    assert calculates_alike("cpu-vnni", "cpu-vnni") == (here != "cpu-avx2")
    assert calculates_alike("cpu-amx", "any") == (here != "cpu-avx2")
    assert calculates_alike("cpu-amx", "cpu-amx") == (here == "cpu-amx")


def test_looking_at_the_processor_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from compress.targets import resolve_target\n"
        "resolve_target('auto')\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'transformers', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
