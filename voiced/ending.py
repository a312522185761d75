"""Ends the process at once where an orderly end would hang: without memory, or in a sound system that stands still.

Whoever closes needs memory too, and threads, and waits for what will never come. systemd starts the daemon again.
"""

import asyncio
import faulthandler
import logging
import mmap
import os
import sys
import threading
from collections.abc import Coroutine, Generator
from typing import Any, NoReturn

logger = logging.getLogger(__name__)

EXHAUSTED = (
    "out of memory, or of threads: the machine or the unit (MemoryMax=, TasksMax=) gives no more; "
    "the daemon ends, to be started again"
)

_reserve = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
"""Given back so that there is enough to say why; until then it is no page of memory, only the right to some."""


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, end the process if a thread fails, or memory or threads are used up in a thread, task or callback.

    A task or callback is seen to fail before anybody who waits for it begins to close. A crash in a library, a sound
    system's mostly, ends the process anyway; at least it is told where each thread stood.
    """
    faulthandler.enable()
    threading.excepthook = thread_failed
    sys.unraisablehook = _unraisable
    loop.set_exception_handler(_callback_failed)
    loop.set_task_factory(_task)


def is_exhausted(exc: BaseException | None) -> bool:
    """Whether that was no mistake of ours, but the end of what the machine gives."""
    if isinstance(exc, BaseExceptionGroup):
        return any(map(is_exhausted, exc.exceptions))
    # CPython has no class of its own for it: no memory for the stack, or too many threads
    return isinstance(exc, MemoryError) or (isinstance(exc, RuntimeError) and "start new thread" in str(exc))


def thread_failed(args: threading.ExceptHookArgs) -> None:
    """End at once: what a thread did, hearing or speaking or writing, nobody does any more."""
    if is_exhausted(args.exc_value):
        exhausted()
    try:
        name = args.thread.name if args.thread else "a thread"
        info = (args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
        logger.critical("%s failed; the daemon ends, to be started again", name, exc_info=info)
    finally:
        _end(1)


def give_up(why: str) -> None:
    """End at once: a sound device hangs, and so would an orderly exit."""
    try:
        logger.error("%s; the daemon ends, to be started again", why)
    finally:
        _end(75)


def exhausted() -> NoReturn:
    """End at once: there is nothing left to close with."""
    _reserve.close()
    try:
        logger.critical("%s", EXHAUSTED)
    finally:  # even if there was no memory for the sentence
        _end(1)


def _end(status: int) -> NoReturn:
    try:
        logging.shutdown()
    finally:
        os._exit(status)


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    """A thread that could not even begin is one of these, and whoever started it waits for ever."""
    if is_exhausted(args.exc_value):
        exhausted()
    sys.__unraisablehook__(args)


def _callback_failed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if is_exhausted(context.get("exception")):
        exhausted()
    loop.default_exception_handler(context)


def _task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **options: Any
) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    # exception() would count as if somebody had taken notice, and nobody were told of it any more.
    if is_exhausted(task._exception):  # noqa: SLF001
        exhausted()
