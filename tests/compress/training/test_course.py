"""A training is saved by steps, by time and at Ctrl-C, and goes on from there."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from transformers import TrainerControl, TrainerState

from compress.recipe.training import Training
from compress.training.course import TrainingCourse

LONG_TRAINING = """
import sys
from pathlib import Path
import torch
from transformers import BertConfig, BertForSequenceClassification
from compress.data.table import RowTable
from compress.models.tokenizers import train_tokenizer
from compress.processes import remember_interrupts
from compress.recipe.data import Data
from compress.recipe.training import NewTokenizer, Training
from compress.tasks.registry import task_named
from compress.tasks.rows import Row
from compress.training.collator import Collator
from compress.training.rows import training_data
from compress.training.trainer import TrainingJob, train

folder, task = Path(sys.argv[1]), task_named("text-classification")
remember_interrupts()
tokenizer = train_tokenizer(["eins zwei drei"] * 5, NewTokenizer(vocabulary_size=100), max_length=16)
rows = RowTable.from_rows([Row(text, text[0], "de") for text in ["eins", "zwei", "drei"] * 4000])
data = training_data(rows, rows[:3], task.encoder(tokenizer, Data(max_length=16), ["d", "e", "z"]), folder / "rows")
torch.manual_seed(0)
shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
model = BertForSequenceClassification(BertConfig(vocab_size=100, num_labels=3, **shape))
settings = Training(epochs=100000, batch_size=1)  # within an epoch: an evaluation would end at once
collate = Collator(tokenizer, 0.0, 0)
train(model, TrainingJob("teacher", task, data, settings, 0, folder / "training", folder / "logs", collate))
"""


def interrupted(folder: Path, log: Path) -> str:
    """Begin a long training, press Ctrl-C when some steps are made, and wait for its end."""
    with log.open("w") as errors:
        child = subprocess.Popen([sys.executable, "-c", LONG_TRAINING, str(folder)], stderr=errors)
    until = time.monotonic() + 240
    before = len(list((folder / "logs").glob("*"))) if (folder / "logs").exists() else 0
    while child.poll() is None and time.monotonic() < until:
        if (folder / "logs").exists() and len(list((folder / "logs").glob("*"))) > before:
            time.sleep(1)
            child.send_signal(signal.SIGINT)
            break
        time.sleep(0.1)
    assert child.wait(120) != 0
    return log.read_text()


def test_ctrl_c_saves_the_step_and_the_next_run_goes_on_from_it(tmp_path: Path):
    first = interrupted(tmp_path, tmp_path / "first.log")
    assert "KeyboardInterrupt" in first, first
    step = int(re.search(r"teacher: step (\d+) of \d+ is saved", first)[1])
    assert (tmp_path / "training" / f"checkpoint-{step}" / "trainer_state.json").exists()
    second = interrupted(tmp_path, tmp_path / "second.log")
    assert f"teacher: going on from checkpoint-{step}" in second
    assert int(re.search(r"teacher: step (\d+) of \d+ is saved", second)[1]) > step


def test_a_checkpoint_is_written_after_some_minutes(monkeypatch):
    clock = {"now": 1000.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    course = TrainingCourse("teacher", Training(checkpoint_steps=1000, checkpoint_minutes=5))

    def saves(step: int) -> bool:
        state, control = TrainerState(global_step=step), TrainerControl()
        course.on_step_end(None, state, control)
        if control.should_save:
            course.on_save(None, state, control)
        return control.should_save

    assert not saves(1)
    clock["now"] += 301
    assert saves(2)
    clock["now"] += 299
    assert not saves(3)
    clock["now"] += 2
    assert saves(4)
    assert saves(1000)
