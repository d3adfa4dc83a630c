"""Workers answer; one that dies is an answer, and nothing is left of any."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from codegen.triton_gpu.workers import WorkerDied, WorkerPool

SCRIPT = '''
import os, sys, time
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
while pipe.poll(IDLE):
    try:
        question = pipe.recv()
    except EOFError:
        break
    print("asked", question, flush=True)
    pipe.send(eval(question))
'''


@pytest.fixture
def make_pool(tmp_path: Path):
    made = []

    def make(most: int = 2, seconds: float = 60, idle: float = 60) -> WorkerPool:
        script = tmp_path / "worker.py"
        script.write_text(SCRIPT.replace("IDLE", str(idle)))
        made.append(WorkerPool(script, dict(os.environ), most, seconds))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


def is_alive(pid: int) -> bool:
    """Not a zombie either."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ended(pid: int) -> bool:
    until = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


def test_answers_come_in_the_order_of_questions(make_pool) -> None:
    assert make_pool().answers([f"{n} * {n}" for n in range(7)]) == [n * n for n in range(7)]


def test_workers_go_on_and_there_are_no_more_than_it_takes(make_pool) -> None:
    pool = make_pool()
    first = pool.answers(["os.getpid()"])
    assert pool.answers(["os.getpid()"]) == first
    assert len(set(pool.answers(["(time.sleep(0.05), os.getpid())[1]"] * 6))) == 2


def test_of_one_that_dies_is_told_how_and_what_it_said_and_the_others_answer(make_pool) -> None:
    pool = make_pool()
    one, crashed, left, two = pool.answers(["1", "os.abort()", "os._exit(7)", "2"])
    assert (one, two) == (1, 2)
    assert isinstance(crashed, WorkerDied) and "signal 6" in str(crashed) and "asked os.abort()" in str(crashed)
    assert isinstance(left, WorkerDied) and "code 7" in str(left)
    assert pool.answers(["3"]) == [3]


def test_one_that_does_not_return_is_ended(make_pool) -> None:
    pool = make_pool(seconds=0.5)
    died, fine = pool.answers(["time.sleep(1000)", "1"])
    assert isinstance(died, WorkerDied) and "longer than" in str(died)
    assert fine == 1


def test_one_that_has_waited_for_too_long_ends_and_another_answers(make_pool) -> None:
    pool = make_pool(idle=0.1)
    pid, = pool.answers(["os.getpid()"])
    assert ended(pid)
    assert pool.answers(["4"]) == [4]


def test_one_that_ends_just_when_it_is_asked_is_no_loss(make_pool) -> None:
    """The script leaves with code 0 at the first question it gets, as one does that has not seen it."""
    pool = make_pool()
    mark = f"{pool._script}.mark"
    assert pool.answers([f"os.path.exists({mark!r}) or (open({mark!r}, 'w').close(), os._exit(0))"]) == [True]


def test_who_is_interrupted_leaves_no_worker_with_half_a_question(make_pool) -> None:
    pool = make_pool()
    pid, = pool.answers(["os.getpid()"])
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pool.answers(["time.sleep(1000)"])
    timer.join()
    assert ended(pid)
    assert pool.answers(["5"]) == [5]


def test_a_forked_child_has_workers_of_its_own(make_pool) -> None:
    pool = make_pool(most=1)
    pid, = pool.answers(["os.getpid()"])
    child = os.fork()
    if child == 0:
        try:
            other, = pool.answers(["os.getpid()"])
            pool.close()
            os._exit(0 if other != pid else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.answers(["os.getpid()"]) == [pid]


@pytest.mark.parametrize("how", ["pass", "os._exit(0)", "os.kill(os.getpid(), 9)"], ids=["end", "exit", "killed"])
def test_no_worker_outlives_its_process(make_pool, how: str) -> None:
    pool = make_pool()
    code = ("import os, sys; from pathlib import Path; from codegen.triton_gpu.workers import WorkerPool\n"
            f"pool = WorkerPool(Path({str(pool._script)!r}), dict(os.environ), 1)\n"
            f"print(*pool.answers(['os.getpid()']), flush=True); {how}")
    pool.answers(["0"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": os.getcwd()})
    assert not done.stderr
    assert ended(int(done.stdout))


def test_a_worker_writes_nothing_to_this_process(make_pool, capfd) -> None:
    make_pool().answers(["os.write(2, b'error')", "print('out')"])
    assert capfd.readouterr() == ("", "")


def test_what_one_that_died_left_behind_is_gone(make_pool) -> None:
    pool = make_pool(most=1)
    (folder,) = pool.answers(["(open(os.environ['TMPDIR'] + '/left', 'w').close(), os.environ['TMPDIR'])[1]"])
    assert os.listdir(folder) == ["left"]
    pool.answers(["os._exit(3)"])
    assert not os.path.exists(folder)
