import hashlib
import importlib
import json
import re
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pystac
import pytest
import torch
from conftest import write_tiny_weights
from PIL import Image
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from stac_model.schema import SCHEMA_URI, MLModelProperties
from training_data import make_ground, write_run, write_site

import training.export.onnx_file
from sr_model import PhotoContext, Restorer, bundled_weights_path, load_weights, save_weights
from sr_model.onnx_model import to_onnx
from sr_model.pixels import correct, normalise
from training.data.dataset import load_pairs
from training.errors import DatasetError, RunError
from training.evaluate.options import EvaluateOptions
from training.evaluate.score import check_options, document, evaluate_site, real_ground
from training.export.export import export, measure_halo
from training.export.onnx_file import onnx_difference, write_onnx
from training.fit.config import FitConfig
from training.fit.kinds import untrained_spec
from training.measure.seams import seam_sums
from training.refine.options import RefineOptions
from training.refine.refine import refine

SPLITS = ("train", "train", "validation", "validation")
WORDS = {"name": "toy", "provenance": "Trained on a test.", "credit": "Test Survey", "licence": "CC-BY-4.0"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return write_run(folder / "run", write_site(folder / "town", SPLITS), write_tiny_weights)


@pytest.fixture(scope="module")
def scores(run):
    """What `evaluate --json` writes about the run's weights."""
    restorer, site = Restorer.open(run / "last.safetensors"), run.parent / "town"
    measured = evaluate_site(restorer, site)
    path = run.parent / "scores.json"
    path.write_text(json.dumps(document(restorer, measured, EvaluateOptions())))
    return path


@pytest.fixture(scope="module")
def exported(run, scores, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "toy.safetensors"
    return export(run, out, scores=scores, onnx=True, **WORDS)


def beside(exported, ending):
    return exported.files[0].with_suffix(ending)


def test_the_spec_is_complete_and_names_no_path(exported, run):
    spec = load_weights(exported.files[0]).spec
    assert (spec.name, spec.provenance, spec.credit, spec.licence) == tuple(WORDS.values())
    (site,) = spec.training["photographs"]
    assert (site["old"], site["new"], site["chips"]) == ("1998.tif", "2017.tif", 2)
    assert site["area_km2"] == pytest.approx(2 * (400 * 0.3048) ** 2 / 1e6, abs=1e-3)
    assert spec.training["aged"] == ["town.png:2"]
    assert spec.training["choices"]["steps"] == 3
    assert {row["method"] for row in spec.metrics["scores"]} >= {"orthosharp", "bicubic"}
    assert str(run.parent) not in spec.to_json()
    assert "somewhere" not in spec.to_json()


def test_the_halo_covers_what_the_network_sees_grain_included(exported, run):
    spec = exported.weights.spec
    assert spec.planes == 4
    olds = [pair.old for pair in load_pairs([run.parent / "town"], "validation")]
    assert abs(measure_halo(exported.weights, olds) - spec.halo_px) <= spec.stride
    old = olds[0]
    assert seam_sums(Restorer.from_weights(exported.weights), old).difference < 0.5
    without = replace(exported.weights, spec=replace(spec, halo_px=0))
    assert seam_sums(Restorer.from_weights(without), old).difference > 0.5


def test_the_onnx_file_gives_the_same_picture_alone(exported):
    path, weights = beside(exported, ".onnx"), exported.weights
    assert 0 <= exported.onnx_difference < 1 / 255
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert properties["orthosharp_digest"] == weights.digest
    assert json.loads(properties["orthosharp_spec"])["halo_px"] == weights.spec.halo_px
    rgb = np.random.default_rng(1).integers(0, 255, (1, 96, 128, 3)).astype(np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    planes = normalise(rgb, weights.spec)
    (output,) = session.run(["output"], {"input": planes})
    restored = Restorer.from_weights(weights, runtime="torch", device="cpu").restore(rgb)
    assert np.abs(correct(rgb, output - planes[:, :3], weights.spec).astype(int) - restored).max() <= 1


def test_an_onnx_model_that_differs_is_refused_and_not_written(exported, tmp_path, monkeypatch):
    other = load_weights(
        write_tiny_weights(tmp_path / "other.safetensors", config={"width": 16, "blocks": 1, "grain": 1})
    )
    assert onnx_difference(to_onnx(other), exported.weights) > 1 / 255
    monkeypatch.setattr(training.export.onnx_file, "to_onnx", lambda _: to_onnx(other))
    with pytest.raises(RunError, match="differs from torch"):
        write_onnx(tmp_path / "wrong.onnx", exported.weights)
    assert not (tmp_path / "wrong.onnx").exists()


def test_the_model_card_says_what_the_spec_and_the_scores_say(exported):
    card = beside(exported, ".md").read_text()
    for words in (*WORDS.values(), exported.weights.digest, "1998.tif", "town, new photo", "`toy.onnx`"):
        assert words in card, words
    rows = [line for line in card.splitlines() if line.startswith("| town")]
    assert len(rows) == 4
    assert {line.count("|") for line in rows} == {18}
    assert "{{" not in card
    assert "\n\n\n" not in card


def test_the_stac_item_is_valid(exported):
    item = json.loads(beside(exported, ".stac.json").read_text())
    # The core by STAC's own JSON schema, the extension's fields by the extension's own models.
    assert JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    assert SCHEMA_URI in item["stac_extensions"]
    fields = MLModelProperties(**item["properties"])
    assert fields.tasks == {"super-resolution"}
    assert fields.input[0].input.shape == [-1, 4, -1, -1]
    assert fields.total_parameters == sum(t.numel() for t in exported.weights.state.values())
    # What the extension's JSON schema asks beyond its models: https://github.com/stac-extensions/mlm.
    known = {f"mlm:{name}" for name in (*MLModelProperties.model_fields, "memory_size")} | {"file:size"}
    assert {key for key in item["properties"] if key.startswith("mlm:")} <= known
    assert re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]", item["properties"]["mlm:name"])
    assert all(re.fullmatch(r"[0-9a-zA-Z_.-]+", key) for key in item["properties"]["mlm:hyperparameters"])
    assert {band["name"] for band in item["properties"]["bands"]} == {"red", "green", "blue"}
    for functions in re.findall(r"sr_model[\w.]*:\w+", json.dumps(item)):
        module, name = functions.split(":")
        assert callable(getattr(importlib.import_module(module), name))
    models = {key for key, asset in item["assets"].items() if "mlm:model" in asset["roles"]}
    assert models == {key for key, asset in item["assets"].items() if "mlm:artifact_type" in asset}
    assert models == {"weights", "onnx"}


def test_the_stac_item_says_where_and_which_bytes(exported):
    item = json.loads(beside(exported, ".stac.json").read_text())
    west, south, east, north = item["bbox"]
    assert -75 < west < east < -72
    assert 40 < south < north < 45
    weights = item["assets"]["weights"]
    data = exported.files[0].read_bytes()
    assert weights["file:checksum"] == "1220" + hashlib.sha256(data).hexdigest()
    assert weights["href"] == "./toy.safetensors"


def test_scores_of_other_weights_and_wrong_names_are_refused(run, scores, tmp_path):
    other = json.loads(scores.read_text())
    other["model"]["digest"] = "0" * 64
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(RunError, match="evaluate the file of the run"):
        export(run, tmp_path / "a.safetensors", scores=tmp_path / "other.json", **WORDS)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(RunError, match="was not written by"):
        export(run, tmp_path / "a.safetensors", scores=tmp_path / "list.json", **WORDS)
    with pytest.raises(RunError, match=r"name it a\.safetensors"):
        export(run, tmp_path / "a.onnx", **WORDS)
    with pytest.raises(RunError, match=r"no best\.safetensors, .* --take last"):
        export(run, tmp_path / "a.safetensors", take="best", **WORDS)
    with pytest.raises(RunError, match="no weights yet"):
        export(tmp_path, tmp_path / "a.safetensors", take="best", **WORDS)
    assert not list(tmp_path.glob("a.*"))


@pytest.fixture(scope="module")
def relative(tmp_path_factory):
    """A run of relative weights as `fit` leaves it, and what is exported of it."""
    folder = tmp_path_factory.mktemp("relative")
    site = write_site(folder / "town", SPLITS)
    choices = FitConfig(pairs=(str(site),), architecture="half_scale", colours="photo", gsd_m=0.0)
    trained = load_weights(bundled_weights_path())
    (folder / "run").mkdir()
    fresh = replace(untrained_spec(choices), name="half_scale")
    save_weights(folder / "run" / "last.safetensors", fresh, trained.state, dtype=torch.float32)
    choices.write(folder / "run" / "config.json")
    words = {key: value for key, value in WORDS.items() if key != "name"}
    return folder, export(folder / "run", folder / "relative.safetensors", onnx=True, **words)


def test_relative_weights_are_exported_with_ratios_and_no_pixel_size(relative):
    folder, exported = relative
    spec = exported.weights.spec
    assert (spec.name, spec.colours, spec.ratio, spec.gsd_m) == ("half_scale", "photo", pytest.approx(2), 0)
    assert spec.source_gsd_range_m == pytest.approx((0.65 * 0.6096, 1.6 * 0.6096), rel=1e-3)
    assert 0 < spec.halo_px <= 72
    old = load_pairs([folder / "town"], "validation")[0].old
    for ratio in (spec.ratio_range[0], spec.ratio, spec.ratio_range[1]):
        sums = seam_sums(Restorer.from_weights(exported.weights), old, PhotoContext(ratio))
        assert sums.difference < 0.5
    card = beside(exported, ".md").read_text()
    assert "scale | relative: a photograph's pixel is 2 times the picture's at best" in card
    assert "colours | the photograph's own" in card
    assert "| colours | photo |" in card
    item = json.loads(beside(exported, ".stac.json").read_text())
    assert JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    properties = item["properties"]
    assert "gsd" not in properties
    assert properties["orthosharp:ratio_range"] == list(spec.ratio_range)
    (output,) = MLModelProperties(**properties).output
    assert output.post_processing_function.expression == "sr_model.binding:bind_colours"


def test_relative_weights_are_evaluated_at_the_ratio_of_the_site_and_not_refined(relative, tmp_path):
    folder, exported = relative
    site, spec = folder / "town", exported.weights.spec
    check_options([site], EvaluateOptions(), spec)
    (chip,) = load_pairs([site], "validation")[:1]
    restorer = Restorer.from_weights(exported.weights)
    made = real_ground(restorer, site, only={chip.name.split("/")[1]}).pictures["orthosharp"][0]
    whole = restorer.restore(chip.old[None], PhotoContext(2.0))[0]
    assert (made == whole[32:-32, 32:-32]).all()
    assert (made != restorer.restore(chip.old[None], PhotoContext(1.43))[0][32:-32, 32:-32]).any()
    with pytest.raises(RunError, match="are not refined: `export` them"):
        refine(exported.weights, [site], RefineOptions())
    values = json.loads((site / "site.json").read_text())
    other = write_site(tmp_path / "other", SPLITS)
    (other / "site.json").write_text(json.dumps(values | {"old_gsd_m": 6 * values["gsd_m"]}))
    with pytest.raises(DatasetError, match="6 times as large as the chips'"):
        check_options([other], EvaluateOptions(), spec)


def test_a_run_that_saw_aged_pictures_alone_is_exported(tmp_path):
    (tmp_path / "run").mkdir()
    write_tiny_weights(tmp_path / "run" / "last.safetensors")
    town = tmp_path / "town.png"
    for size in (200, 500):
        Image.fromarray(make_ground(1, size).astype(np.uint8)).save(town)
        FitConfig(pairs=(), degrade=(str(town),)).write(tmp_path / "run" / "config.json")
        spec = export(tmp_path / "run", tmp_path / "a.safetensors", **WORDS).weights.spec
        assert 0 < spec.halo_px < 160
        assert spec.training["photographs"] == []
        assert spec.training["aged"] == ["town.png"]
