"""What the originals opened is what this library writes today: the stored digests equal those of new files."""

import pytest

from tests.oracle import stored, written

HELD = stored.read("opened") if (stored.EXPECTED / "opened.json.gz").exists() else {}
ALL = [
    (pair, framework, kind)
    for pair in written.PAIRS
    for framework in written.WRITERS
    for kind in written.WRITERS[framework]
]


@pytest.mark.parametrize(("pair", "framework", "kind"), ALL)
def test_the_originals_opened_what_is_written_today(pair, framework, kind, tmp_path):
    if framework == "tf":
        pytest.importorskip("h5py")
    files = HELD[pair][framework][kind]["files"]
    found = written.hashes(written.write(pair, framework, kind, tmp_path))
    assert found == files, f"Other bytes than the originals opened: run `{stored.COMMAND}`."
