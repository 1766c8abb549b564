"""torch is asked for a GPU only where a driver shows that there may be one."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import torch

from sr_model import RuntimeUnavailableError
from sr_model.runtimes import devices
from sr_model.runtimes.devices import choose_device


def test_without_a_driver_the_cpu_is_chosen_and_torch_not_imported() -> None:
    program = """
import sys
from sr_model import Restorer
from sr_model.runtimes import devices
devices.may_have_gpu = lambda: False
assert Restorer.open().runtime.startswith("openvino cpu")
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(1, 0, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_where_there_may_be_a_gpu_torch_decides(
    cuda: int, mps: int, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert choose_device() == chosen
    assert choose_device("cpu") == "cpu"
    for device in ("cuda", "mps"):
        if device != chosen:
            with pytest.raises(RuntimeUnavailableError, match=f"finds no {device} device"):
                choose_device(device)


def test_a_gpu_without_torch_is_not_left_unused_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(devices, "may_have_gpu", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", None)
    with caplog.at_level(logging.WARNING):
        assert choose_device() == "cpu"
    assert "pip install 'orthosharp[torch]'" in caplog.text
    caplog.clear()
    assert choose_device("cpu") == "cpu"
    assert not caplog.text
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'orthosharp\[torch\]'"):
        choose_device("cuda")
