"""Writing behind what is worked on: in order, all of it, and never past an error."""

import threading

import pytest

from ml.pipelines.batches import write_behind


def test_items_are_written_in_order_by_another_thread_and_all_of_them() -> None:
    written: list[int] = []
    threads: set[int] = set()

    def write(item: int) -> None:
        threads.add(threading.get_ident())
        written.append(item)

    with write_behind(write) as hand_over:
        for item in range(20):
            hand_over(item)

    assert written == list(range(20))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("broken", [0, 3])
def test_what_cannot_be_written_ends_the_work(broken: int) -> None:
    written: list[int] = []

    def write(item: int) -> None:
        if item == broken:
            raise ValueError(f"no room for {item}")
        written.append(item)

    def write_four() -> None:
        with write_behind(write) as hand_over:
            for item in range(4):
                hand_over(item)

    with pytest.raises(ValueError, match=f"no room for {broken}"):
        write_four()

    assert written == list(range(broken))
