from pathlib import Path

from harkara.devstack.process import log_tail


def test_the_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number}\n" for number in range(20_000)))
    assert log_tail(log, 2) == "line 19998\nline 19999"


def test_a_log_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    assert log_tail(tmp_path / "none.log") == ""
    (tmp_path / "odd.log").write_bytes(b"ok \xff\xfe\n")
    assert log_tail(tmp_path / "odd.log").startswith("ok ")
