"""Own photographs from the folder to the saved model, on a few made ones."""

import csv
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tlkeras import own_images
from tlkeras.__main__ import main
from tlkeras.data import images
from tlkeras.data.images import squares
from tlkeras.models import records
from tlkeras.own_images import backbones, comparison, findings, folder, page, study

COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40), "sand": (200, 180, 120)}


def picture(color, seed, size=(80, 70)):
    noise = np.random.default_rng(seed).normal(0, 40, (*size, 3)) + color
    return noise.clip(0, 255).astype(np.uint8)


def photographs(root, counts, *, split="", start=0):
    for place, (name, count) in enumerate(counts.items()):
        target = root / split / name
        target.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.fromarray(picture(COLOURS.get(name, (place, 9, 9)), start + 1000 * place + number))
            image.save(target / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    path = tmp_path_factory.mktemp("home")
    patch.setenv("TLKERAS_HOME", str(path))
    yield path
    patch.undo()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = photographs(tmp_path_factory.mktemp("mine"), {"blue": 8, "red": 7, "sand": 6}, split="train")
    return photographs(root, {"blue": 2, "red": 2, "sand": 2}, split="val", start=500)


@pytest.fixture(scope="module")
def adapted(home, tree, tmp_path_factory):
    return own_images.adapt_images(tree, tmp_path_factory.mktemp("out") / "mine", budget=0, repeats=1)


def test_a_whole_study_finds_colours(adapted):
    assert [row["chosen"] for row in adapted.rows] == [True] and adapted.rows[0]["candidate"] == "probe of squeezenet"
    assert adapted.rows[0]["accuracy"] > 0.9 and adapted.held_out_accuracy()["n"] == 6
    assert set(adapted.missing) == {"alexnet", "vgg16"}  # nothing may be fetched here
    assert adapted.skipped["freeze some of squeezenet"].startswith("no time")
    np.testing.assert_allclose(adapted.probabilities.sum(1), 1, rtol=1e-6)
    assert adapted.advice.quadrant in (3, 4) and adapted.collection.scarce() == {"blue": 8, "red": 7, "sand": 6}
    assert adapted.curve["forecast"]["images"] == 42


def test_what_is_written_can_be_read(adapted, tree):
    with open(adapted.files["predictions.csv"], encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["set"] for row in rows].count("held out") == 6 and len(rows) == 27
    assert rows[0]["file"] == "train/blue/0.png" and rows[0]["label"] == "blue"
    record = json.loads(adapted.files["run.json"].read_text())
    assert record["class_names"] == ["blue", "red", "sand"] and record["settings"]["seed"] == 0
    out = adapted.files["run.json"].parent
    assert record["command"].startswith(f"python -m tlkeras adapt {tree} --out {out} --budget 0")
    page = adapted.files["report.html"].read_text()
    assert page.count("data:image/png;base64") >= 4 and "stand-in" in page and "http" not in page


def test_the_command_does_the_same_again_for_any_path(adapted):
    out = adapted.files["model.keras"].parent
    options = ["--out", str(out), "--budget", "0", "--repeats", "1", "--seed", "0", "--backbone", "squeezenet"]
    command = findings.describe(adapted, "my photographs; 2024")["command"]
    assert shlex.split(command) == ["python", "-m", "tlkeras", "adapt", "my photographs; 2024", *options]
    assert " --out " not in findings.describe(dataclasses.replace(adapted, files={}), "mine")["command"]


def test_paths_that_are_no_text_are_written_and_printed(adapted, tree, tmp_path, capsys):
    broken = os.fsdecode(b"caf\xe9")  # as a file system hands it over
    record = findings.describe(dataclasses.replace(adapted, files={}), broken)
    assert record["folder"] == "caf\ufffd" and " adapt 'caf\ufffd' " in json.dumps(record, ensure_ascii=False)
    json.dumps(record, ensure_ascii=False).encode("utf-8")
    image = shutil.copy(tree / "val" / "red" / "0.png", tmp_path / f"{broken}.png")
    assert main(["predict", str(adapted.files["model.keras"]), str(image)]) == 0
    assert capsys.readouterr().out.split("\t")[0] == str(tmp_path / "caf\ufffd.png")


def test_plain_keras_opens_the_model_in_another_process(adapted, tree, tmp_path):
    image = np.asarray(Image.open(tree / "val" / "red" / "0.png"))
    given = squares([image], adapted.chosen.side)
    np.save(tmp_path / "given.npy", given)
    program = (
        "import sys, keras, numpy as np; m = keras.models.load_model(sys.argv[1]);"
        "print('tlkeras' in sys.modules); np.save(sys.argv[3], m(np.load(sys.argv[2])))"
    )
    files = [str(path) for path in (adapted.files["model.keras"], tmp_path / "given.npy", tmp_path / "said.npy")]
    told = subprocess.run([sys.executable, "-c", program, *files], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["False"]
    np.testing.assert_allclose(np.load(files[2]), adapted.model(given), rtol=1e-5, atol=1e-6)


def test_saved_models_predict_and_name_what_is_no_image(adapted, tree, tmp_path, capsys):
    (tmp_path / "no.png").write_text("text")
    model = adapted.files["model.keras"].parent
    rows = own_images.predict(model, [tree / "val" / "red", tmp_path / "no.png"])
    assert [row.get("predicted") for row in rows] == ["red", "red", None] and "no image" in rows[-1]["problem"]
    assert main(["predict", str(model), str(tree / "val" / "sand" / "0.png")]) == 0
    assert capsys.readouterr().out.split("\t")[1] == "sand"
    with pytest.raises(ValueError, match="Expected a saved model"):
        own_images.predict(tmp_path / "none.keras", [tree])


@pytest.mark.parametrize("change", [{"model_sha256": "0"}, {"class_names": None}, None])
def test_classes_of_another_study_are_not_predicted(adapted, tree, tmp_path, change):
    record = json.loads(adapted.files["run.json"].read_text()) | (change or {})
    text = json.dumps({key: value for key, value in record.items() if value is not None}) if change else "{"
    shutil.copy(adapted.files["model.keras"], tmp_path)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"of this model.*adapt again\. Received: .*run\.json'$"):
        own_images.predict(tmp_path, [tree / "val" / "red"])


def test_prediction_passes_over_what_systems_put_into_a_folder(adapted, tree, tmp_path):
    image, unpacked = (tree / "val" / "red" / "0.png").read_bytes(), tmp_path / "unpacked"
    (unpacked / "__MACOSX").mkdir(parents=True)
    for name in ("red.png", "._red.png", ".DS_Store", "__MACOSX/._red.png"):
        (unpacked / name).write_bytes(image)
    model = adapted.files["model.keras"]
    assert [row["file"] for row in own_images.predict(model, [unpacked])] == [str(unpacked / "red.png")]
    hidden = unpacked / "._red.png"
    assert [row["predicted"] for row in own_images.predict(model, [hidden])] == ["red"]  # it was asked for by name


def test_features_run_once_and_a_study_resumes(adapted, tree, monkeypatch):
    def nothing(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(backbones, "_compute", nothing)
    monkeypatch.setattr(comparison, "predict_fold", nothing)
    again = own_images.adapt_images(tree, adapted.files["run.json"].parent, budget=0, repeats=1)
    np.testing.assert_array_equal(again.probabilities, adapted.probabilities)


def test_what_a_killed_study_left_half_written_is_removed(adapted, tmp_path):
    half_written = [tmp_path / f".0.partial.{name}" for name in adapted.files]
    half_written += [tmp_path / "finished" / ".0.partial.a.npz", tmp_path / ".0.partial.of another"]
    (tmp_path / "finished").mkdir()
    for path in half_written:
        path.touch()
    study._write(dataclasses.replace(adapted), tmp_path, "mine")
    assert [path for path in half_written if path.exists()] == half_written[-1:]


def test_features_of_another_network_are_not_taken(tmp_path):
    path = tmp_path / "squeezenet-1-32.npz"
    backbones._keep(path, {"a": np.ones(3)})
    assert list(backbones._known(path)) == ["a"]
    assert backbones._known(path.rename(tmp_path / "alexnet-1-32.npz")) == {}


def test_an_interruption_keeps_what_is_done(home, tree, tmp_path, monkeypatch):
    real, done = comparison.predict_fold, []

    def third(*arguments, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(comparison, "predict_fold", third)
    with pytest.raises(own_images.InterruptedStudy, match="goes on from there"):
        own_images.adapt_images(tree, tmp_path / "out", budget=0, repeats=1)
    assert not (tmp_path / "out" / "run.json").exists()
    monkeypatch.setattr(comparison, "predict_fold", lambda *a, **o: done.append(1) or real(*a, **o))
    own_images.adapt_images(tree, tmp_path / "out", budget=0, repeats=1)
    assert len(done) == comparison.FOLDS


def test_a_folder_without_splits_is_read(tmp_path):
    found = folder.read(photographs(tmp_path / "flat", {"blue": 5, "red": 6}))
    assert found.counts() == {"blue": 5, "red": 6} and found.held_out is None
    assert found.train.files[0] == "blue/0.png" and not found.problems


def test_splits_without_one_to_train_on_are_pooled_with_a_remark(adapted, tmp_path):
    for split, start in (("test_set", 0), ("training_set", 500)):
        photographs(tmp_path, {"blue": 5, "red": 6}, split=split, start=start)
    found = folder.read(tmp_path)
    remark = "a held-out set: of the splits test_set, training_set none is called train, so all are trained on"
    assert found.problems == (remark,) and found.counts() == {"blue": 10, "red": 12} and not found.held_out
    assert f"Left out: {remark}" in page.remarks(dataclasses.replace(adapted, collection=found))
    (tmp_path / "training_set").rename(tmp_path / "Train")
    assert not folder.read(tmp_path).problems


def test_a_folder_that_is_named_like_a_data_set_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(folder.FolderError, match="Received: path='letters'"):
        folder.read(Path("letters"))
    for name in ("letters", "hymenoptera"):
        photographs(tmp_path / name, {"blue": 5, "red": 6})
        assert folder.read(name).counts() == folder.read(Path(name)).counts() == {"blue": 5, "red": 6}


def test_a_folder_without_a_name_has_that_of_its_place(tmp_path, monkeypatch):
    root = photographs(tmp_path / "mine", {"blue": 5, "red": 6})
    monkeypatch.chdir(root)
    assert folder.read(".").name == "mine"
    monkeypatch.chdir(root / "red")
    assert folder.read("..").name == "mine"


def bad_folders(root):
    yield root / "none", "Expected a folder"
    (root / "empty").mkdir()
    yield root / "empty", "Expected images"
    (root / "texts" / "a").mkdir(parents=True)
    (root / "texts" / "a" / "b.txt").write_text("text")
    yield root / "texts", "Expected images"
    yield photographs(root / "one", {"blue": 6}), r"two classes.*Received: \['blue'\]"
    yield photographs(root / "two", {"blue": 6, "red": 2}), r"at least 5 training images.*Received: {'red': 2}"
    yield photographs(root / "many", {f"c{n}": 1 for n in range(1001)}), "at most 1,000 classes.*Received: 1,001"


def test_folders_of_one_photograph_each_are_told_before_any_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_MOST_CLASSES", 2)
    monkeypatch.setattr(images, "decode_image", lambda *_: pytest.fail("decoded"))
    for split in ("", "train"):
        root = photographs(tmp_path / f"with{split}", {"a": 1, "b": 1, "c": 1}, split=split)
        with pytest.raises(folder.FolderError, match=r"at most 2 classes.*Received: 3 classes of 3 files$"):
            folder.read(root)


@pytest.mark.filterwarnings("ignore::tlkeras.data.loading.SkippedFilesWarning")
def test_folders_that_nothing_can_be_trained_on_are_named(tmp_path):
    for path, message in bad_folders(tmp_path):
        with pytest.raises(folder.FolderError, match=message):
            own_images.adapt_images(path, tmp_path / "out")


def test_an_output_that_cannot_be_written_is_told_first(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="which is a file"):
        own_images.adapt_images(tmp_path, tmp_path / "file")
    monkeypatch.setattr(study, "NEEDED_BYTES", 2**60)
    with pytest.raises(OSError, match="MiB free"):
        own_images.adapt_images(tmp_path, tmp_path / "out")
    assert main(["adapt", str(tmp_path / "nothing"), "--out", str(tmp_path / "file")]) == 2


def test_a_backbone_that_cannot_be_had_says_in_one_line_why():
    for reason in backbones.available()[1].values():
        assert "Tried: cache: no complete copy at " in reason and "; network: switched off" in reason


def test_unknown_backbones_and_settings_are_named(tree):
    with pytest.raises(ValueError, match=r"Received: \['resnet'\]"):
        own_images.adapt_images(tree, None, backbones=["resnet"])
    for wrong in ({"repeats": 0}, {"budget": -1}, {"budget": float("inf")}, {"budget": float("nan")}):
        with pytest.raises(ValueError, match="at least one repeat, and a finite budget"):
            own_images.adapt_images(tree, None, **wrong, backbones=["resnet"])
    with pytest.raises(records.WeightsUnavailableError, match="at least one backbone"):
        own_images.adapt_images(tree, None, backbones=["vgg16"])


def test_near_duplicates_are_found_resized_and_saved_again(tmp_path):
    rng = np.random.default_rng(0)
    smooth = [np.kron(rng.integers(0, 255, (6, 6, 3)), np.ones((20, 20, 1))).astype(np.uint8) for _ in range(4)]
    Image.fromarray(smooth[0]).resize((90, 90)).save(tmp_path / "again.jpg", quality=60)
    again = np.asarray(Image.open(tmp_path / "again.jpg"))
    first = folder.Photographs(tuple(smooth), np.array([0, 0, 1, 1]), ("a", "b", "c", "d"))
    second = folder.Photographs((again,), np.array([1]), ("again",))
    (pair,), count = folder.near_duplicates(first, second)
    assert (pair["first"], pair["second"], pair["same_class"], count) == ("a", "again", False, 1)
    assert folder.near_duplicates(first) == ([], 0)


def test_the_corrected_test_is_wider_than_the_plain_one():
    differences = np.array([0.1, 0.0, 0.05, 0.1, 0.0, 0.1, 0.05, 0.0, 0.1, 0.1])
    error = np.sqrt((1 / 10 + 1 / 4) * differences.var(ddof=1))
    low, high = comparison.interval(differences)
    assert (high - low) / 2 == pytest.approx(2.2622 * error, rel=1e-4)
    assert 0.02 < comparison.paired_p(differences) < 0.2
    assert comparison.paired_p(np.zeros(10)) == 1 and comparison.paired_p(np.full(10, 0.25)) == 0


@pytest.mark.parametrize(
    ("accuracies", "images", "expected"),
    [
        (np.ones(10), 20, (0.8389, 1.0)),  # folds that agree say nothing of images to come: Wilson
        (np.tile([0.7, 0.9], 5), 2000, (0.6589, 0.9411)),  # folds that differ
        (np.tile([0.6, 1.0], 5), 2000, (0.5179, 1.0)),
    ],
)
def test_an_accuracy_is_as_unsure_as_its_folds_and_its_images(accuracies, images, expected):
    assert comparison.accuracy_interval(accuracies, images) == pytest.approx(expected, abs=1e-4)
    score = comparison.Score(comparison.Candidate("a", ()), np.zeros((2, images, 2)), 1.0)
    (row,) = comparison.decide([score], {"a": accuracies})[1]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected, abs=1e-4)


def test_only_a_decided_difference_chooses_the_more_expensive_one():
    base = np.array([0.80, 0.82, 0.78, 0.80, 0.81, 0.79, 0.80, 0.82, 0.78, 0.80])
    three = [comparison.Score(comparison.Candidate(name, ()), np.zeros((1, 1, 2)), 1.0) for name in ("a", "b", "c")]
    noisy = base + np.tile([0.3, -0.2], 5)
    chosen, rows = comparison.decide(three, {"a": base, "b": noisy, "c": base + 0.1 + base / 100})
    assert chosen.name == "c" and [row["chosen"] for row in rows] == [False, False, True]
    assert comparison.decide(three[:2], {"a": base, "b": noisy})[0].name == "a"


def test_two_networks_side_by_side_make_one_model(home, monkeypatch):
    one = backbones.Backbone("squeezenet", "tinyimagenet32", "f", True)
    images = tuple(picture(COLOURS["red" if n % 2 else "blue"], n) for n in range(12))
    own = folder.Photographs(images, np.arange(12) % 2, tuple(map(str, range(12))))
    rows = backbones.features(one, own)
    other = backbones.Backbone("vgg16", "none", "g", True)
    monkeypatch.setattr(backbones.Backbone, "extractor", lambda self: _extractor(self.network))
    both = comparison.Candidate("both", (one, other))
    twin = np.concatenate([_extractor(name)(own.squares(64)).numpy() for name in ("squeezenet", "vgg16")], 1)
    features = {"squeezenet": twin[:, :4], "vgg16": twin[:, 4:]}
    model = comparison.finished(both, own, features, ("blue", "red"), seed=0)
    probe = comparison.fit_probe([comparison.joined(features, both.backbones)], own.labels, seed=0)
    expected = probe.probabilities([comparison.joined(features, both.backbones)])
    np.testing.assert_allclose(model(own.squares(64)), expected, atol=1e-5)
    assert rows.shape == (12, 512)


def _extractor(name):
    inputs = keras.Input((64, 64, 3), name="image")
    pooled = keras.layers.AveragePooling2D(32 if name == "squeezenet" else 16, name=f"{name}_pool")(inputs)
    kept = keras.layers.GlobalMaxPooling2D()(pooled) if name == "squeezenet" else keras.layers.Flatten()(pooled)
    return keras.Model(inputs, keras.layers.Dense(4, kernel_initializer=keras.initializers.Ones())(kept), name=name)


def test_fine_tuning_is_a_way_like_the_others(adapted, monkeypatch):
    monkeypatch.setattr(comparison, "EPOCHS", 1)
    monkeypatch.setattr(comparison, "HEAD_EPOCHS", 1)
    candidate = comparison.candidates(adapted.backbones)[-1]
    train, names = adapted.collection.train, adapted.collection.class_names
    assert candidate.strategy == "freeze_some" and comparison.expected_seconds(candidate, 20, 3) > 0
    inside, outside = comparison.folds(train.labels, repeats=1, seed=0)[0][0]
    chances = comparison.predict_fold(candidate, train, adapted.features, inside, outside, seed=0)
    again = comparison.predict_fold(candidate, train, adapted.features, inside, outside, seed=0)
    np.testing.assert_array_equal(chances, again)
    assert chances.shape == (len(outside), 3)
    assert comparison.finished(candidate, train, adapted.features, names, seed=0).output_shape == (None, 3)


@pytest.mark.parametrize(("errors", "forecast"), [((0.4, 0.2, 0.1), 0.05), ((0.1, 0.15, 0.2), 0.15)])
def test_errors_are_forecast_to_fall_or_to_stay_at_their_mean(errors, forecast):
    found = study._power_law(np.array([10.0, 20.0, 40.0]), np.array(errors), 40, 80)
    assert found == pytest.approx(forecast)


def test_a_forecast_is_as_unsure_as_its_folds_and_its_images():
    sizes, flat = np.array([20.0, 40.0, 80.0]), np.tile([[0.1], [0.2], [0.3], [0.2], [0.2]], 3)
    found = study._forecast(sizes, flat, 100)
    reach = 2.7764 * np.sqrt((1 / 5 + 1 / 4) * 0.005)
    assert found == pytest.approx(
        {"images": 200, "accuracy": 0.8, "ci_low": 0.8 - reach, "ci_high": 0.8 + reach}, abs=1e-4
    )
    found = study._forecast(sizes, 0 * flat, 100)
    assert found["accuracy"] == pytest.approx(0.995) and found["ci_low"] < 0.97 < 0.995 < found["ci_high"]


def test_the_range_of_a_forecast_holds_it_though_no_fold_has_it():
    wrong = np.array([[1, 0, 1, 0, 0], [0, 2, 0, 0, 0], [0, 1, 0, 1, 0], [6, 3, 0, 0, 0], [8, 1, 0, 0, 0]]) / 48
    found = study._forecast(192 * np.array([0.1, 0.2, 0.4, 0.7, 1.0]), wrong, 240)
    assert 0 <= found["ci_low"] < found["accuracy"] == found["ci_high"] < 1


def test_what_more_images_would_bring_names_the_probe_though_fine_tuning_is_chosen(adapted):
    chosen, labels = comparison.candidates(adapted.backbones)[-1], adapted.labels
    parts = comparison.folds(labels, repeats=1, seed=0)[0]
    curve = study._learning_curve(chosen, adapted.features, labels, parts, seed=0)
    assert chosen.strategy == "freeze_some" and curve["of"] == "probe of squeezenet"
    tuned = dataclasses.replace(adapted, chosen=chosen, curve=curve)
    told = page.render(tuned, findings.describe(tuned, "mine"))
    assert "<h2>What twice as many images would bring a probe of squeezenet</h2>" in told
    legend = page.growth(curve).legends[0].get_texts()
    assert any("of a probe of squeezenet" in text.get_text() for text in legend)


def test_mistakes_are_shown_the_most_certain_first(adapted):
    wrong = dataclasses.replace(adapted, probabilities=adapted.probabilities.copy())
    wrong.probabilities[[3, 10]] = [[0, 0.1, 0.9], [0.05, 0, 0.95]]  # a blue and a red one, taken for sand
    assert page.mistakes(wrong)[:2] == [10, 3]
    assert len(page.mistakes_with_heat(wrong).axes) >= 4
    assert page.mistakes_with_heat(dataclasses.replace(adapted, probabilities=np.eye(3)[adapted.labels])) is None


def test_names_that_look_like_formulas_are_drawn_as_they_are(adapted):
    collection = dataclasses.replace(adapted.collection, class_names=("a$b$", "$c_", "d$^$"))
    strange = dataclasses.replace(adapted, collection=collection, probabilities=adapted.probabilities[::-1])
    told = page.render(strange, findings.describe(strange, "mine"))
    assert "a$b$, $c_, d$^$" in told and told.count("data:image/png;base64") >= 4
    train = dataclasses.replace(collection.train, labels=adapted.labels % 2)
    two = dataclasses.replace(collection, class_names=("$c_", "d$^$"), train=train)
    sure = dataclasses.replace(adapted, collection=two, probabilities=adapted.probabilities[:, :2])
    assert page.calibration(sure).axes[0].get_xlabel().endswith(r"d\$^\$")


def test_a_summary_says_what_is_not_decided_and_remarks_name_the_doubts(adapted):
    better = {**adapted.rows[0], "candidate": "a dear way", "accuracy": 1.5, "p": 0.3, "chosen": False}
    told = page.summary(dataclasses.replace(adapted, rows=[*adapted.rows, better]))
    assert "a dear way" in told and "is not decided (p = 0.30)" in told
    pair = {"first": "a.png", "second": "b.png", "same_class": True, "likeness": 1.0}
    many = dataclasses.replace(adapted, duplicates=[pair], duplicate_count=4950)
    assert findings.describe(many, "mine")["near_duplicate_count"] == 4950
    remarks = "\n".join(page.remarks(many))
    assert "4,950 pairs" in remarks and "a.png and b.png" in remarks
    assert "stand-in" in remarks and "vgg16 was left out" in remarks
