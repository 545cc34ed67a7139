"""`seqgraft convert`: every framework's files from every other's, without any framework."""

import json

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

FILES = {"torch": "model.safetensors", "flax": "flax_model.msgpack", "tensorflow": "tf_model.h5"}


@pytest.mark.parametrize("target", ["flax", "tensorflow"])
def test_there_and_back(seqgraft, two, tmp_path, target):
    done = seqgraft("convert", two, "--to", target, "-o", tmp_path / "there")
    assert done.exit_code == 0, done.stderr
    assert f"Wrote {FILES[target]}, settings, tokenizers to" in " ".join(done.stderr.split())
    assert [path.name for path in (tmp_path / "there").iterdir() if path.name in FILES.values()] == [FILES[target]]
    done = seqgraft("convert", tmp_path / "there", "--to", "torch", "--output", tmp_path / "back", "--json")
    assert json.loads(done.stdout) == {"output": str(tmp_path / "back"), "files": ["model.safetensors"]}
    before, after = load_file(two / "model.safetensors"), load_file(tmp_path / "back/model.safetensors")
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype and (before[name] == after[name]).all() for name in before)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((two / name).read_text()) == json.loads((tmp_path / "back" / name).read_text())
    for kept in two.rglob("tokenizer.json"):
        assert kept.read_text() == (tmp_path / "back" / kept.relative_to(two)).read_text()


@pytest.mark.parametrize(("target", "said"), [("torch", "pt"), ("flax", "flax"), ("tensorflow", "tf")])
def test_safetensors_say_whose_names_they_hold(seqgraft, folder, tmp_path, target, said):
    assert seqgraft("convert", folder, "--to", target, "--safetensors", "-o", tmp_path / "out").exit_code == 0
    with safe_open(tmp_path / "out/model.safetensors", "numpy") as opened:
        assert opened.metadata()["format"] == said


def test_one_model_alone(seqgraft, bert, tmp_path):
    assert seqgraft("convert", bert, "--to", "flax", "-o", tmp_path / "flax").exit_code == 0
    assert seqgraft("convert", tmp_path / "flax", "--to", "torch", "-o", tmp_path / "back").exit_code == 0
    before, after = load_file(bert / "model.safetensors"), load_file(tmp_path / "back/model.safetensors")
    assert all((before[name] == after[name]).all() for name in before)


def test_what_is_not_overwritten(seqgraft, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    done = seqgraft("convert", folder, "--to", "flax", "-o", tmp_path / "out")
    assert done.exit_code != 0
    assert "--force" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    assert seqgraft("convert", folder, "--to", "flax", "-o", tmp_path / "out", "--force").exit_code == 0
    assert (tmp_path / "out/notes.txt").read_text() == "mine"


def test_what_cannot_be_converted(seqgraft, tmp_path):
    done = seqgraft("convert", tmp_path / "nowhere", "--to", "flax", "-o", tmp_path / "out")
    assert done.exit_code != 0
    assert "nowhere" in done.stderr
    assert not (tmp_path / "out").exists()
    assert seqgraft("convert", tmp_path, "--to", "caffe", "-o", tmp_path / "out").exit_code != 0


def test_no_framework_is_imported(shell, folder, tmp_path):
    code = (
        "import sys\n"
        "from seqgraft.cli import main\n"
        f"sys.argv = ['seqgraft', 'convert', {str(folder)!r}, '--to', 'flax', '-o', {str(tmp_path / 'out')!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'jax', 'flax', 'tensorflow'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = shell(code=code)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/flax_model.msgpack").is_file()
