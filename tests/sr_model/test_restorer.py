import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.windows import Window

from sr_model import (
    InferenceError,
    InputError,
    ModelSpec,
    Restorer,
    RuntimeUnavailableError,
    save_weights,
)
from sr_model.network import build
from sr_model.photo import PhotoContext
from sr_model.pixels import LUMA
from sr_model.runtimes.torch_runtime import TorchRuntime

SPECS = {
    "compact": ModelSpec.compact(width=8, blocks=1),
    "half_scale": ModelSpec.half_scale(widths=(16, 16, 24), gsd_m=0.3),
    "colours of the photo": ModelSpec.half_scale(widths=(16, 16, 24)),
    "resnet34": ModelSpec.resnet34(),
}
# ResNet-34 is large: its tests take minutes.
NETWORKS = [pytest.param(name, marks=pytest.mark.slow) if name == "resnet34" else name for name in SPECS]
DEMO = Path(__file__).parents[2] / "tileserver" / "demo" / "2010.tif"


@pytest.fixture(scope="module", params=NETWORKS)
def weights(request, tmp_path_factory):
    torch.manual_seed(2)
    spec = SPECS[request.param]
    return save_weights(tmp_path_factory.mktemp("w") / "w.safetensors", spec, build(spec).state_dict())


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)


def test_openvino_and_torch_agree(weights):
    rgb = noise(2, 96, 64, 3)
    openvino, torch_ = (
        Restorer.from_weights(weights, runtime=r, device="cpu").restore(rgb) for r in ("openvino", "torch")
    )
    assert openvino.shape == rgb.shape
    assert np.abs(openvino.astype(int) - torch_).max() <= 1


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_grey_photograph_stays_grey_whatever_the_weights_do(weights, runtime):
    """Those of a pair translate colours, and of a grey photograph they can only invent them."""
    restorer = Restorer.from_weights(weights, runtime=runtime, device="cpu")
    ratio = weights.spec.ratio or 1.0
    grey = np.repeat(noise(1, 64, 64, 1), 3, axis=3).repeat(2, axis=0)
    first, second = restorer.restore(grey, [PhotoContext(ratio, grey=True), PhotoContext(ratio)])
    assert (first == first[..., :1]).all()
    assert np.abs(first[..., 0] - second @ np.array(LUMA)).max() <= 1.5
    if weights.spec.colours == "network":
        assert (second != second[..., :1]).any()


def test_openvino_sends_no_telemetry(tmp_path):
    """It would tell a web service that it was imported."""
    program = """
        import sys
        from sr_model import Restorer
        assert Restorer.open(device="cpu").runtime.startswith("openvino")
        sys.exit("openvino_telemetry.main" in sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    home = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, env=home, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.glob("**/openvino*"))  # the number that it would give the person


def test_a_signal_is_survived_after_another_thread_dropped_the_network():
    """As a server drops networks when it reads new ones: it ended at the next SIGHUP."""
    program = """
        import signal
        from threading import Thread
        from sr_model import Restorer
        restorers = [Restorer.open(device="cpu")]
        signal.signal(signal.SIGHUP, lambda *_: print("heard"))
        thread = Thread(target=restorers.clear)
        thread.start()
        thread.join()
        signal.raise_signal(signal.SIGHUP)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_an_openvino_that_does_not_run_names_the_way_out(weights):
    with pytest.raises(RuntimeUnavailableError, match="--runtime torch"):
        Restorer.from_weights(weights, runtime="openvino", threads=-1)


def test_every_size_of_window_and_batch_goes_through_one_session(weights):
    restorer = Restorer.from_weights(weights)
    stride = weights.spec.stride
    for batch, height, width in ((1, 1, 1), (3, 2, 1), (1, 4, 3)):
        rgb = noise(batch, height * stride, width * stride, 3)
        assert restorer.restore(rgb).shape == rgb.shape


def test_a_batch_gives_what_single_windows_give(weights):
    restorer = Restorer.from_weights(weights)
    rgb = noise(3, 64, 64, 3)
    single = np.concatenate([restorer.restore(window[None]) for window in rgb])
    assert np.abs(restorer.restore(rgb).astype(int) - single).max() <= 1


def test_auto_takes_openvino_where_there_is_no_gpu(weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    usual = ("openvino cpu f32", "openvino cpu bf16")
    # For the bundled architecture alone.
    faster = ("openvino cpu int8",) if weights.spec.architecture == "half_scale" else ()
    assert Restorer.from_weights(weights).runtime in (*usual, *faster)


def test_threads_that_share_one_network_get_their_own_pictures(weights):
    restorer = Restorer.from_weights(weights, runtime="openvino")
    windows = noise(8, 1, 64, 96, 3)
    alone = [restorer.restore(window) for window in windows]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(restorer.restore, np.concatenate([windows] * 4)))
    assert all((one == alone[number % 8]).all() for number, one in enumerate(together))


def test_what_serves_is_nearly_what_was_trained():
    """The bundled weights on real ground: bfloat16, where the CPU has it, against torch in float32."""
    with rasterio.open(DEMO) as photo:
        rgb = np.moveaxis(photo.read((1, 2, 3), window=Window(400, 400, 320, 256)), 0, -1)[None]
    fast, exact = (Restorer.open(runtime=name, device="cpu") for name in ("openvino", "torch"))
    difference = np.abs(fast.restore(rgb).astype(int) - exact.restore(rgb))
    assert difference.mean() < (0.1 if fast.runtime.endswith("bf16") else 0.01)
    assert difference.max() <= 2


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_a_trim_that_is_not_a_multiple_or_leaves_nothing_is_refused(weights, name):
    stride = weights.spec.stride
    for trim_px in (-stride, stride // 2, 15):
        with pytest.raises(InputError, match="multiple of the stride"):
            Restorer.from_weights(weights, runtime=name, device="cpu", trim_px=trim_px)
    restorer = Restorer.from_weights(weights, runtime=name, device="cpu", trim_px=stride)
    for height, width in ((2, 3), (3, 2), (1, 1)):
        with pytest.raises(InputError, match="smaller trim_px"):
            restorer.restore(noise(1, height * stride, width * stride, 3))
    assert restorer.restore(noise(1, 3 * stride, 4 * stride, 3)).shape == (1, stride, 2 * stride, 3)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is counted in /proc")
def test_windows_of_ever_new_sizes_do_not_fill_the_memory(tiny_weights):
    """OpenVINO prepares its layers for each size, and would keep four megabytes for each."""
    restorer = Restorer.open(tiny_weights, runtime="openvino")
    used_mb = []
    for height in range(4, 16):
        for width in range(4, 16):
            restorer.restore(noise(1, 16 * height, 16 * width, 3))
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used_mb.append(pages * os.sysconf("SC_PAGESIZE") / 2**20)
    assert used_mb[-1] - used_mb[3] < 150


def test_a_missing_gpu_that_was_asked_for_is_an_error(weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeUnavailableError, match="--device cpu"):
        Restorer.from_weights(weights, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(RuntimeUnavailableError, match="CPU only"):
        Restorer.from_weights(weights, runtime="openvino", device="cuda")


def test_wrong_input_is_refused(weights):
    with pytest.raises(InputError, match="multiples of"):
        Restorer.from_weights(weights).restore(noise(1, 33, 64, 3))


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_output_that_is_not_a_picture_is_an_error(weights, monkeypatch, name):
    restorer = Restorer.from_weights(weights, runtime=name, device="cpu")
    runtime = restorer._runtime
    if name == "openvino":
        monkeypatch.setattr(runtime, "_infer", lambda planes: np.full_like(planes[:, :3], np.nan))
    else:
        monkeypatch.setattr(runtime, "_infer", lambda planes: torch.full_like(planes[:, :3], torch.nan))
    with pytest.raises(InferenceError, match="not finite"):
        restorer.restore(noise(1, 32, 32, 3))


class SmallMemory:
    """A torch runtime on the CPU that behaves as a GPU which holds so many windows."""

    def __init__(self, weights, monkeypatch, holds: int) -> None:
        self.runtime = TorchRuntime(weights, "cpu")
        self.seen: list[int] = []
        self._holds = holds
        self._infer = self.runtime._infer
        monkeypatch.setattr(self.runtime, "_infer", self.infer)

    def infer(self, planes):
        self.seen.append(len(planes))
        if len(planes) > self._holds:
            raise torch.OutOfMemoryError
        return self._infer(planes)


def test_batches_that_do_not_fit_are_halved_and_later_ones_stay_small(weights, monkeypatch, caplog):
    memory = SmallMemory(weights, monkeypatch, holds=2)
    restorer = Restorer(weights.spec, weights.digest, memory.runtime)
    rgb = noise(7, 64, 64, 3)
    alone = Restorer.from_weights(weights, runtime="torch", device="cpu")
    expected = np.concatenate([alone.restore(window[None]) for window in rgb])
    assert np.abs(restorer.restore(rgb).astype(int) - expected).max() <= 1
    assert memory.seen == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert len(caplog.messages) == 2
    memory.seen.clear()
    restorer.restore(rgb[:3])
    assert memory.seen == [1, 1, 1]


def test_the_warm_up_finds_out_what_fits(weights, monkeypatch):
    memory = SmallMemory(weights, monkeypatch, holds=3)
    monkeypatch.setattr(type(memory.runtime), "batch", property(lambda self: min(8, self._fits or 8)))
    restorer = Restorer(weights.spec, weights.digest, memory.runtime)
    restorer.warm_up(64)
    assert memory.seen == [1, 8, 4, 2, 2, 2, 2, 2], "the last one is timed"
    assert restorer.batch == 2
    memory.seen.clear()
    restorer.warm_up(64)
    assert memory.seen == [], "not twice"
    restorer.restore(noise(2, 64, 64, 3))
    assert memory.seen == [2]


def test_a_single_window_that_does_not_fit_says_so(weights, monkeypatch):
    memory = SmallMemory(weights, monkeypatch, holds=0)
    with pytest.raises(InferenceError, match="does not fit"):
        memory.runtime.restore(noise(2, 64, 64, 3), [PhotoContext()] * 2)
