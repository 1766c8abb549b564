import threading
import time

import numpy as np
import pytest
from training_data import write_photo

from tileserver.errors import ReadError
from tileserver.photo.dataset_pool import DatasetPool


@pytest.fixture
def path(tmp_path):
    return str(write_photo(tmp_path / "photo.tif", np.zeros((16, 16, 3), np.uint8), 1.0))


def test_a_borrower_gives_up_when_every_dataset_hangs(path):
    """A read of a hung network disk never comes back; those behind it must not wait with it."""
    pool = DatasetPool(path, 1, longest_wait_s=0.2)
    with pool.borrow(), pytest.raises(ReadError, match="has not answered"), pool.borrow():
        pytest.fail("lent a dataset twice")
    with pool.borrow() as dataset:
        assert dataset.shape == (16, 16)


def test_a_dataset_that_comes_back_is_lent_to_the_borrower_who_waits(path):
    pool = DatasetPool(path, 1, longest_wait_s=30.0)
    lent = threading.Event()

    def hold():
        with pool.borrow():
            lent.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    assert lent.wait(10)
    with pool.borrow() as dataset:
        assert dataset.count == 3
    holder.join(10)
