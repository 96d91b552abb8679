"""A share of `make reliability TRY=fuzz`: a damaged file is read, or refused by name, and nothing else happens."""

import fuzz
import pytest
import torch_writer

SHARE = 60  # cases of each reader; `make reliability TRY=fuzz` has all


@pytest.mark.parametrize("reader", fuzz.READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path, monkeypatch, reader):
    torch_writer.pretend_torch(monkeypatch)
    row = fuzz.fuzz(reader, SHARE, 1, tmp_path)
    assert row["findings"] == [] and row["taken"] + row["refused"] == row["cases"] > 0


def test_another_error_a_hang_and_a_file_elsewhere_are_findings(tmp_path, monkeypatch):
    def bad(path):
        if path.stat().st_size % 2:
            raise KeyError("labels")
        (path.parents[1] / "elsewhere").touch()

    reader = fuzz.Reader("bad", lambda path: path.write_bytes(b"1234"), bad, (ValueError,))
    told = " ".join(fuzz.fuzz(reader, 20, 0, tmp_path)["findings"])
    assert "KeyError: 'labels' (test_fuzz.py" in told and "wrote ['elsewhere'] outside" in told
    monkeypatch.setattr(fuzz, "MOST_SECONDS", 1)
    hangs = fuzz.Reader("hangs", lambda path: path.write_bytes(b"1"), lambda path: fuzz.time.sleep(9), (ValueError,))
    assert fuzz._outcome(hangs, tmp_path / "number.txt").startswith("HangError")
