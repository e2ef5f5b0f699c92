from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import torch

from trainer.distributed import FollowedRun, Ranks, joined

PROGRAM = Path(__file__).with_name("joined_program.py")
ROOT = Path(__file__).parents[3]


def two(what: str) -> list[str]:
    """Runs ``joined_program`` twice, joined; gives what each said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    common |= {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo", "TORCHELASTIC_RUN_ID": "test"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), what],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        return [process.communicate(timeout=100)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_alone_nothing_is_exchanged():
    ranks = Ranks.current()
    assert (ranks.rank, ranks.count, ranks.is_first) == (0, 1, True)
    network, value = torch.nn.Linear(1, 1), torch.ones(1)
    assert ranks.learner(network, torch.device("cpu")) is network
    assert ranks.total(value) is value
    before = torch.get_rng_state()
    ranks.draw_apart(3)
    assert torch.equal(torch.get_rng_state(), before)
    with joined("cuda:1") as device:
        assert device == "cuda:1"
    assert not torch.distributed.is_initialized()


def test_two_processes_have_one_sum_one_answer_and_numbers_of_their_own():
    rows = [said.split() for said in two("agrees")]
    assert [row[:4] for row in rows] == [["0", "3.0", "of", "0"], ["1", "3.0", "of", "0"]]
    assert rows[0][4] != rows[1][4]


def test_processes_that_go_by_other_data_say_so():
    for said in two("differs"):
        assert "ConfigError process 1 has another data than process 0: data 1, not data 0" in said


def test_a_process_that_loses_the_other_says_so():
    said, _ = two("lost")
    assert re.search("HeadraceError process 0 lost the others: .*--resume goes on", said), said
    assert "Traceback" not in said


def test_a_parameter_that_nothing_uses_is_an_error_that_says_what_to_do():
    for said in two("unused"):
        assert "ConfigError the network has parameters that its forward pass doesn't use" in said


def test_a_followed_run_writes_nothing(tmp_path: Path):
    run = FollowedRun(tmp_path / "run")
    run.begin({"net": "any"})
    run.save_best(torch.nn.Linear(1, 1))
    run.write_history([])
    assert not run.path.exists()
