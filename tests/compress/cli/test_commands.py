"""The command line as users meet it: a process, its two outputs and its exit code."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from safetensors import safe_open
from transformers import MBartConfig

from compress.recipe.file import load_recipe


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_recipe: dict) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe))
    return path


def assert_one_clear_line(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line


def test_help_imports_nothing_heavy():
    program = (
        "import sys, compress.cli.app as cli\n"
        "try: cli.app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'numpy', 'datasets', 'pydantic_core'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "distill" in done.stdout


@pytest.mark.parametrize("command", ["distill", "export", "bench", "check", "bundle", "run", "trim", "doctor"])
def test_every_command_has_help_with_an_example(compress_command, command: str):
    done = compress_command(command, "--help")
    assert done.returncode == 0
    assert f"compress {command}" in done.stdout
    assert "--json" in done.stdout
    assert "--output" in done.stdout


def test_run_prints_one_json_object_and_tells_the_rest_elsewhere(finished_run: Path):
    content = json.loads((finished_run.parents[1] / "stdout.json").read_text())
    assert content["evaluation"]["student_against_teacher"]["worst_language_drop"]["language"] in ("de", "en", "ja")
    assert set(content["variants"]) == {"onnx", "onnx-fused", "onnx-int8", "onnx-fp16", "tensorrt-fp16"}
    assert content["bench"]["models"]["onnx-int8"]["size"]["total"] > 0
    told = (finished_run.parents[1] / "stderr.txt").read_text()
    assert "student: epoch 3 of 3" in told
    for chatter in ("Warning", "torchvision", "[torch.onnx]", "experimental"):
        assert chatter not in told


def test_the_run_directory_is_complete(finished_run: Path):
    assert os.readlink(finished_run.parent / "latest") == "tiny"
    manifest = json.loads((finished_run / "manifest.json").read_text())
    stages = {
        "data",
        "teacher",
        "cache",
        "student",
        "evaluation",
        "onnx",
        "onnx-fused",
        "onnx-int8",
        "onnx-fp16",
        "tensorrt-fp16",
        "bench",
    }
    assert set(manifest["stages"]) == stages
    for entry in manifest["stages"].values():
        for file in entry["files"]:
            assert (finished_run / file["path"]).stat().st_size == file["bytes"]
    for folder in ("teacher", "student"):
        with safe_open(finished_run / folder / "model.safetensors", "np") as weights:
            assert not [name for name in weights.keys() if "projection" in name]  # noqa: SIM118


def test_the_evaluation_is_shown_language_by_language(finished_run: Path, compress_command):
    done = compress_command("distill", finished_run / "recipe.yaml", "--output", finished_run.parent)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("unchanged, skipped") == 5
    for shown in ("language", "teacher", "student", "drop (points)", "ja", "worst-language drop"):
        assert shown in done.stdout


def test_doctor_tells_what_is_missing(compress_command, tmp_path: Path):
    done = compress_command("doctor", "--json", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    abilities = {ability["what"]: ability for ability in report["abilities"]}
    assert abilities["export to ONNX and check it"]["available"]
    assert report["machine"]["processors"] >= 1
    if not report["machine"]["gpus"]:
        assert "extra `trt`" in abilities["build TensorRT engines for this GPU"]["note"]


def test_an_unknown_field_is_refused(compress_command, tmp_path: Path):
    done = compress_command("distill", "--set", "student.layer=3", "--output", tmp_path, "--json")
    assert_one_clear_line(done, "student.layer: unknown field; did you mean 'layers'?")
    assert "did you mean" in json.loads(done.stdout)["error"]
    assert not list(tmp_path.iterdir())


def test_plain_text_that_says_nothing_is_refused(compress_command, tmp_path: Path):
    done = compress_command("distill", "--set", "data.plain_text=[more.txt]", "--output", tmp_path)
    told = "data.plain_text says which tokens are kept, and all are: set teacher.vocabulary.trim or student.vocab"
    assert_one_clear_line(done, told)
    assert not list(tmp_path.iterdir())


def test_an_unknown_option_is_refused(compress_command):
    done = compress_command("distill", "--alhpa", "1")
    assert done.returncode == 2
    assert "--alpha" in done.stderr


def test_export_without_a_run_says_what_to_do(compress_command, tmp_path: Path):
    assert_one_clear_line(compress_command("export", "--output", tmp_path), "no run here; run `compress distill` first")


def test_a_broken_line_of_data_is_named_and_nothing_is_written(compress_command, recipe_file: Path, data_folder: Path):
    damaged = recipe_file.parent / "damaged"
    shutil.copytree(data_folder, damaged)
    with (damaged / "train.jsonl").open("a") as file:
        file.write('{"text": \n')
    number = len((damaged / "train.jsonl").read_text().splitlines())
    done = compress_command("distill", recipe_file, "--data", damaged, "--output", recipe_file.parent / "out")
    assert_one_clear_line(done, f"train.jsonl:{number}: not a JSON object")
    assert not (recipe_file.parent / "out/tiny/data").exists()


def test_a_teacher_folder_without_tokenizer_is_refused(compress_command, recipe_file: Path, finished_run: Path):
    teacher = recipe_file.parent / "teacher"
    shutil.copytree(finished_run / "teacher", teacher)
    for path in teacher.glob("tokenizer*"):
        path.unlink()
    done = compress_command("distill", recipe_file, "--teacher", teacher, "--output", recipe_file.parent / "out")
    assert_one_clear_line(done, "the tokenizer is missing")


def test_a_teacher_with_pickled_weights_only_is_refused(compress_command, recipe_file: Path, finished_run: Path):
    teacher = recipe_file.parent / "teacher"
    shutil.copytree(finished_run / "teacher", teacher)
    (teacher / "model.safetensors").rename(teacher / "pytorch_model.bin")
    done = compress_command("distill", recipe_file, "--teacher", teacher, "--output", recipe_file.parent / "out")
    assert_one_clear_line(done, "pickled weights only (pytorch_model.bin), which can run code")


def test_a_teacher_is_taken_as_it_is(compress_command, recipe_file: Path, finished_run: Path):
    done = compress_command(
        "distill",
        recipe_file,
        *("--teacher", finished_run / "teacher", "--set", "teacher.fine_tune=false"),
        *("--set", "student.every_nth_layer=2", "--output", recipe_file.parent / "out", "--json"),
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    before = json.loads((finished_run / "evaluation/report.json").read_text())
    assert content["evaluation"]["models"]["teacher"] == before["models"]["teacher"]
    assert content["student"]["shape"] == "2x64"


def test_a_teacher_whose_student_could_not_be_exported_is_refused_at_once(
    compress_command, recipe_file: Path, finished_run: Path
):
    teacher = recipe_file.parent / "teacher"
    shutil.copytree(finished_run / "teacher", teacher)
    parts = {f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    MBartConfig(vocab_size=500, d_model=64, **parts).save_pretrained(teacher)
    (teacher / "model.safetensors").write_bytes(b"")
    done = compress_command("distill", recipe_file, "--teacher", teacher, "--output", recipe_file.parent / "out")
    assert_one_clear_line(done, "mbart cannot be exported")
    assert_one_clear_line(done, "name a model of another architecture, such as XLM-R")


def test_an_output_that_cannot_be_written_is_said(compress_command, tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = compress_command("distill", "--output", tmp_path / "file")
    assert_one_clear_line(done, "cannot be written")


PRINTING = (["recipe"], ["--help"], ["verify", "nowhere", "--json"])


def test_standard_output_that_takes_no_more_is_said():
    for command in PRINTING:
        with Path("/dev/full").open("w") as full:
            words = [sys.executable, "-m", "compress", *command]
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines()[-1] == "error: standard output: No space left on device; let it go elsewhere"
        assert "Traceback" not in done.stderr


def test_whoever_reads_the_output_may_stop_and_streams_may_be_closed():
    for command, redirected, code in (
        ("recipe", "| true; exit ${PIPESTATUS[0]}", 141),
        ("verify nowhere --json", "2>&- | true; exit ${PIPESTATUS[0]}", 141),
        ("recipe", ">&-", 0),
        ("verify nowhere", "2>&-", 2),
        ("verify nowhere", "2>/dev/full", 2),
    ):
        # The reader has gone before anything is written: it waits for nobody.
        words = f"{sys.executable} -m compress {command} {redirected}"
        done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", ""), words


def test_a_full_disk_is_said_and_nothing_is_half_written(recipe_file: Path):
    """A limit on the size of files stands for the full disk: the same writes fail in the same places."""
    done = subprocess.run(
        [sys.executable, "-m", "compress", "distill", recipe_file, "--output", recipe_file.parent / "out"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert_one_clear_line(done, "free space or choose another --output")
    assert not (recipe_file.parent / "out/tiny/teacher").exists()


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(recipe_file: Path, compress_command):
    arguments = ["distill", recipe_file, "--output", recipe_file.parent / "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "compress", *map(str, arguments), "--set", "teacher.training.epochs=3"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("teacher: epoch 1"):
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    told = process.stderr.read()
    assert process.wait() == 130
    assert "Traceback" not in told
    assert "interrupted; the same command goes on" in told
    run = recipe_file.parent / "out/tiny"
    assert not (run / "teacher").exists()
    assert (run / "data/train.jsonl").exists()
    again = compress_command(*arguments, "--set", "teacher.training.epochs=3")
    assert again.returncode == 0, again.stderr
    assert "teacher: going on from checkpoint-" in again.stderr


def test_the_version_is_the_package_s(compress_command):
    done = compress_command("--version")
    assert (done.returncode, done.stdout) == (0, f"compress {metadata.version('compress-export')}\n")


def test_a_printed_recipe_can_be_run(compress_command, tmp_path: Path):
    done = compress_command("recipe")
    assert done.returncode == 0, done.stderr
    (tmp_path / "recipe.yaml").write_text(done.stdout, "utf-8")
    assert load_recipe(tmp_path / "recipe.yaml") == load_recipe(None)
    schema = json.loads(compress_command("recipe", "--schema").stdout)
    assert schema["properties"]["student"]


def test_a_measurement_leaves_the_recipe_as_it_was(compress_command, finished_run: Path, tmp_path: Path):
    run = shutil.copytree(finished_run, tmp_path / "tiny")
    before = (run / "recipe.yaml").read_bytes()
    done = compress_command("bench", run, "--set", "bench.rows=6", "--set", "bench.starts=1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bench"]["rows"]["latency"] == 6
    assert json.loads((run / "bench/report.json").read_text())["overrides"] == {"bench.rows": 6, "bench.starts": 1}
    assert (run / "recipe.yaml").read_bytes() == before


def test_a_refused_export_leaves_the_recipe_as_it_was(compress_command, finished_run: Path, tmp_path: Path):
    run = shutil.copytree(finished_run, tmp_path / "tiny")
    before = (run / "recipe.yaml").read_bytes()
    done = compress_command("export", run, "--target", "cuda-sm86", "--budget", "1")
    assert_one_clear_line(done, "--budget: the search times every form on this machine's processor")
    assert (run / "recipe.yaml").read_bytes() == before
    with FileLock(run / ".lock"):
        done = compress_command("export", run, "--variants", "onnx-fused")
    assert_one_clear_line(done, "another compress is working in this run")
    assert (run / "recipe.yaml").read_bytes() == before


def test_the_cause_of_an_error_is_in_the_log_or_shown_if_asked_for(
    compress_command, finished_run: Path, tmp_path: Path
):
    run = shutil.copytree(finished_run, tmp_path / "tiny")
    (tmp_path / "rows.jsonl").write_text("no JSON")
    command = ("distill", run / "recipe.yaml", "--data", tmp_path / "rows.jsonl", "--output", tmp_path)
    done = compress_command(*command)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith(f"[log: {run / 'logs/compress.log'}]")
    assert "The above exception was the direct cause" in (run / "logs/compress.log").read_text()
    assert "Traceback (most recent call last)" in compress_command(*command, "--verbose").stderr


@pytest.mark.parametrize("command", ["bench", "check"])
def test_a_measurement_cannot_change_what_is_measured(compress_command, finished_run: Path, command: str):
    baseline = ["--baseline", finished_run] if command == "check" else []
    done = compress_command(command, finished_run, *baseline, "--set", "data.max_length=8")
    assert_one_clear_line(done, "--set data.max_length: a measurement changes fields of `bench` alone")


def test_a_value_that_is_not_yaml_is_named(compress_command, tmp_path: Path):
    done = compress_command("distill", "--set", "bench.threads=[", "--output", tmp_path)
    assert_one_clear_line(done, "--set bench.threads=[, line 1: not valid YAML (expected the node content")


def test_a_refused_recipe_leaves_the_run_s_own(compress_command, finished_run: Path, tmp_path: Path):
    run = shutil.copytree(finished_run, tmp_path / "tiny")
    before = (run / "recipe.yaml").read_bytes()
    command = ("distill", run / "recipe.yaml", "--output", tmp_path, "--set", "data.max_length=16")
    done = compress_command(*command, "--data", tmp_path / "nowhere.jsonl")
    assert_one_clear_line(done, "no such file or folder (data.source)")
    assert (run / "recipe.yaml").read_bytes() == before
    done = compress_command(*command, "--teacher", tmp_path / "nowhere")  # its rows can be read
    assert done.returncode == 2
    assert (run / "recipe.yaml").read_bytes() == before
    with FileLock(run / ".lock"):
        done = compress_command(*command)
    assert_one_clear_line(done, "another compress is working in this run")
    assert (run / "recipe.yaml").read_bytes() == before


def test_a_bundle_cannot_change_what_is_packed(compress_command, finished_run: Path):
    done = compress_command("bundle", finished_run, "--set", "data.max_length=16")
    assert_one_clear_line(done, "--set data.max_length: a bundle is told fields of `bundle` alone")


def test_files_that_were_altered_are_neither_exported_nor_measured(
    compress_command, finished_run: Path, tmp_path: Path
):
    run = shutil.copytree(finished_run, tmp_path / "tiny")
    weights = run / "student/model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1  # of the same size
    weights.write_bytes(raw)
    for command in ("export", "bench", "bundle"):
        done = compress_command(command, run)
        assert_one_clear_line(done, f"{weights} was altered after the stage was finished")
