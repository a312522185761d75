"""The inbox between threads and the event loop."""

import asyncio
import threading

from voiced.edge.bridge import Inbox


async def test_what_threads_post_arrives_in_order() -> None:
    inbox: Inbox[tuple[int, int]] = Inbox(10_000)

    def post(thread: int) -> None:
        for number in range(500):
            inbox.post((thread, number))

    threads = [threading.Thread(target=post, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    taken = [await anext(inbox) for _ in range(2_000)]
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [order for thread, order in taken if thread == number] == list(range(500))
    assert inbox.dropped == 0


async def test_when_nobody_takes_the_oldest_are_dropped_and_counted() -> None:
    inbox: Inbox[int] = Inbox(3)
    for number in range(10):
        inbox.post(number)  # the loop stands still all the while
    inbox.close()
    assert [item async for item in inbox] == [7, 8, 9]
    assert inbox.dropped == 7


async def test_several_are_posted_at_once_in_order_and_within_the_bound() -> None:
    inbox: Inbox[int] = Inbox(3)
    inbox.post()
    inbox.post(1, 2)
    inbox.post(3, 4)
    inbox.close()
    assert [item async for item in inbox] == [2, 3, 4]
    assert inbox.dropped == 1


async def test_closing_ends_a_waiting_taker() -> None:
    inbox: Inbox[int] = Inbox(3)

    async def take() -> list[int]:
        return [item async for item in inbox]

    taker = asyncio.create_task(take())
    await asyncio.sleep(0)
    inbox.post(1)
    threading.Thread(target=inbox.close).start()
    assert await taker == [1]


def test_posting_after_the_loop_has_closed_is_harmless() -> None:
    async def make() -> Inbox[int]:
        return Inbox(2)

    inbox = asyncio.run(make())
    inbox.post(1)
    inbox.close()
