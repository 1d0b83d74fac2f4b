"""A thread for one call: what it answers, and what becomes of one that nobody waits for."""

import asyncio
import threading

import pytest

from perfmon.threads import in_thread


async def test_it_answers_what_the_call_answers():
    assert "sampler" == await in_thread(lambda: threading.current_thread().name, "sampler")


async def test_an_exception_comes_to_who_waits():
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, "sampler")


async def test_a_call_that_is_left_to_itself_disturbs_nobody():
    complaints, go, over = [], threading.Event(), threading.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

    def call():
        go.wait()
        over.set()

    in_thread(call, "sampler").cancel()
    go.set()
    await asyncio.to_thread(over.wait)
    await asyncio.sleep(0.01)

    assert [] == complaints


def test_a_call_that_outlives_the_loop_is_no_error(monkeypatch):
    complaints, go = [], threading.Event()
    monkeypatch.setattr(threading, "excepthook", complaints.append)

    async def begin():
        in_thread(go.wait, "outlives")

    asyncio.run(begin())
    go.set()
    for thread in threading.enumerate():
        if thread.name == "outlives":
            thread.join(5)

    assert [] == complaints
