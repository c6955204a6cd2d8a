"""What stands after `--slurm`, and what is said of what is misspelt."""

from __future__ import annotations

import pytest

from uadbench.benchmarks.executors.batch.words import read_wish
from uadbench.errors import UserError


def test_the_words_of_the_readme() -> None:
    wish = read_wish("partition=gpu,time=12:00:00,gpus=1")
    assert wish.minutes == 720
    assert wish.options == (("partition", "gpu"), ("gpus", "1"))
    assert wish.has_gpus
    assert wish.warning == 120


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:30", 91), ("1:30:00", 90), ("1-0", 1440), ("1-12:30", 2190), ("2-00:00:01", 2881), ("0:30", 1)],
)
def test_times_are_those_of_sbatch(text: str, minutes: int) -> None:
    assert read_wish(f"time={text},signal=10").minutes == minutes


def test_a_comma_goes_on_with_a_list_and_a_word_without_value_is_a_flag() -> None:
    wish = read_wish("nodelist=a[1-3],b7,exclusive,time=60,--mem_per_cpu=4G,exclude=c1,c2,setup=module load a,b")
    assert dict(wish.options) == {"nodelist": "a[1-3],b7", "exclusive": True, "mem-per-cpu": "4G", "exclude": "c1,c2"}
    assert wish.setup == "module load a,b"


@pytest.mark.parametrize("text", ["gres=gpu:a100:1", "gpus-per-node=1", "tres-per-task=gres/gpu:1", "gpus=h200:1"])
def test_a_gpu_is_recognised(text: str) -> None:
    assert read_wish(f"time=60,{text}").has_gpus
    assert not read_wish("time=60,gres=tmp:10G,partition=gpu").has_gpus


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("partition=gpu", "--slurm needs the time that a job may take"),
        ("", "--slurm takes NAME=VALUE"),
        ("partion=gpu,time=60", "--slurm partion: .* did you mean partition?"),
        ("xyzzy=1,time=60", "--slurm xyzzy: .* see `man sbatch`"),
        ("time=60,array=0-3", "--slurm array: .* --parallel; leave it out"),
        ("time=60,ntasks=4", "--slurm ntasks: a cell is one process; leave it out"),
        ("time=60,time=30", "--slurm says time twice"),
        ("time=soon", "--slurm time=soon: write minutes"),
        ("time=0", "--slurm time=0: a cell needs some time"),
        ("time=60,mem", "--slurm mem: it needs a value, mem=…"),
        ("time=60,mem=", "--slurm mem=: nothing stands after mem="),
        ("time=60,signal=soon", "--slurm signal=soon: say how many seconds"),
        ("time=1,signal=60", "--slurm signal=60: a job of 1 min is warned 10 to 30 s before its end"),
        ("time=60,signal=5", "--slurm signal=5: .* 10 to 1800 s"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_wish(text)


def test_sbatch_s_way_of_writing_a_signal_is_understood() -> None:
    assert read_wish("time=60,signal=USR2@300").warning == 300
    assert read_wish("time=3").warning == 90
