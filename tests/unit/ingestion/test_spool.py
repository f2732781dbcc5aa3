"""Webhooks on disk: in order, whole or not at all, bounded, and one process's alone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from harkara.ingestion import spool as module
from harkara.ingestion.spool import HEAD, Kept, Position, Spool, SpoolInUse, frames

MANY = 1 << 30


def some(count: int, start: int = 0) -> list[Kept]:
    return [Kept(1_000 + n, b'{"n": %d, "fill": "%s"}' % (n, b"x" * (n % 50))) for n in range(start, start + count)]


def drain(spool: Spool, about_bytes: int = 2_000) -> list[Kept]:
    found: list[Kept] = []
    while spool.waiting:
        batch = spool.read(about_bytes)
        assert batch.kept
        found += batch.kept
        spool.replayed(batch)
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.seg"))


def test_what_is_appended_comes_out_in_order_and_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    assert spool.append(some(300)) == 300
    assert (spool.waiting, spool.oldest_ms) == (300, 1_000)
    first = spool.read(1_000)
    assert 1 < len(first.kept) < 300
    spool.replayed(first)
    assert spool.oldest_ms == 1_000 + len(first.kept) - 1
    assert spool.append(some(50, 300)) == 50
    assert [*first.kept, *drain(spool)] == some(350)
    assert [spool.waiting, spool.oldest_ms, spool.size_bytes] == [0, None, 0]
    assert segments(tmp_path) == []
    assert spool.append(some(3)) == 3
    assert drain(spool) == some(3)
    spool.close()


def test_reading_without_going_on_gives_the_same_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(20))
    assert spool.read(300) == spool.read(300)
    assert spool.waiting == 20
    spool.close()


def test_a_body_larger_than_what_is_read_at_once_comes_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    large = [Kept(n, bytes([65 + n]) * 3_000_000) for n in range(4)]
    spool.append(large)
    assert [len(spool.read(1_000).kept)] == [1]
    assert drain(spool, 1_000) == large
    spool.close()


def test_segments_go_as_they_are_replayed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    large = [Kept(n, bytes([65 + n]) * 3_000_000) for n in range(9)]
    for kept in large:
        spool.append([kept])
    assert len(segments(tmp_path)) == 5  # two in each of 8 MiB
    found: list[Kept] = []
    sizes = []
    while spool.waiting:
        batch = spool.read(3_000_000)
        found += batch.kept
        spool.replayed(batch)
        sizes.append(spool.size_bytes)
    assert found == large
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0
    spool.close()


def test_what_was_not_replayed_is_there_after_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(100))
    batch = spool.read(1_000)
    spool.replayed(batch)
    spool.close()
    again = Spool(tmp_path, MANY)
    assert again.recovery == module.Recovery(100 - len(batch.kept), 0, 0)
    assert again.oldest_ms == 1_000 + len(batch.kept)
    again.append(some(5, 100))
    assert [*batch.kept, *drain(again)] == some(105)
    again.close()


@pytest.mark.parametrize("position", ["", "x", "1", "7 7 7"])
def test_a_position_that_is_lost_repeats_and_loses_nothing(tmp_path: Path, position: str) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(30))
    spool.replayed(spool.read(300))
    spool.close()
    (tmp_path / "position").write_text(position)
    again = Spool(tmp_path, MANY)
    assert drain(again) == some(30)
    again.close()


def test_a_segment_that_was_replayed_and_not_removed_is_not_repeated(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(10))
    kept = segments(tmp_path)[0].read_bytes()
    drain(spool)
    spool.close()
    (tmp_path / f"{1:012}.seg").write_bytes(kept)  # a death between the position and the removal
    again = Spool(tmp_path, MANY)
    assert again.waiting == 0
    again.append(some(2, 10))
    assert drain(again) == some(2, 10)
    again.close()


def test_a_torn_tail_is_cut_wherever_it_is_torn(tmp_path: Path) -> None:
    whole = b"".join(kept.frame() for kept in some(4))
    sizes = [len(kept.frame()) for kept in some(4)]
    for length in range(len(whole)):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / f"{1:012}.seg").write_bytes(whole[:length])
        spool = Spool(folder, MANY)
        sound = sum(sum(sizes[: n + 1]) <= length for n in range(4))
        assert spool.recovery == module.Recovery(sound, length - sum(sizes[:sound]), 0)
        spool.append(some(2, 50))
        assert drain(spool) == some(sound) + some(2, 50)
        spool.close()


def test_a_flipped_bit_costs_its_own_webhook_only_and_is_kept_for_a_look(tmp_path: Path) -> None:
    random = Random(20261121)
    frame_ends = [end for _, end, _ in frames(b"".join(kept.frame() for kept in some(20)))]
    for number in range(60):
        folder = tmp_path / str(number)
        spool = Spool(folder, MANY)
        spool.append(some(20))
        spool.close()
        (path,) = segments(folder)
        data = bytearray(path.read_bytes())
        place = random.randrange(frame_ends[18])  # not in the last: that would be a torn tail
        data[place] ^= 1 << random.randrange(8)
        path.write_bytes(data)
        hit = next(n for n, end in enumerate(frame_ends) if place < end)
        again = Spool(folder, MANY)
        assert again.recovery.damaged_bytes == frame_ends[hit] - (frame_ends[hit - 1] if hit else 0)
        assert drain(again) == [kept for n, kept in enumerate(some(20)) if n != hit]
        assert [each.suffix for each in folder.iterdir() if each.stem.isdigit()] == [".damaged"]
        again.close()


def test_what_the_disk_loses_after_the_opening_ends_the_wait(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(5))
    (path,) = segments(tmp_path)
    path.write_bytes(bytes(path.stat().st_size))
    batch = spool.read(1_000)
    assert (batch.kept, spool.waiting) == ([], 0)
    spool.replayed(batch)
    assert batch.damaged_bytes == path.with_suffix(".damaged").stat().st_size, "so that somebody is told"
    spool.close()


@pytest.mark.parametrize("damaged_frames", ["one", "the last", "all"])
def test_a_segment_damaged_after_the_opening_is_kept_though_a_later_one_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged_frames: str
) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 1_000)
    spool = Spool(tmp_path, MANY)
    for each in some(60):
        spool.append([each])
    first, *others = segments(tmp_path)
    assert others
    data = bytearray(first.read_bytes())
    starts = [begin for begin, _, _ in frames(bytes(data))]
    hit = {"one": starts[2:3], "the last": starts[-1:], "all": starts}[damaged_frames]
    for start in hit:
        data[start + HEAD.size] ^= 1
    first.write_bytes(data)
    found: list[Kept] = []
    while spool.waiting:
        batch = spool.read(500)
        found += batch.kept
        spool.replayed(batch)
    assert len(found) == 60 - len(hit)
    assert first.with_suffix(".damaged").read_bytes() == bytes(data)
    assert segments(tmp_path) == []
    spool.close()


def test_the_bound_holds_and_room_comes_back(tmp_path: Path) -> None:
    each = len(some(1)[0].frame())
    spool = Spool(tmp_path, 10 * each)
    same = some(1) * 15
    assert spool.append(same) == 10
    assert spool.append(same) == 0
    assert spool.size_bytes == 10 * each
    assert len(drain(spool)) == 10
    assert spool.append(same) == 10
    spool.close()


def test_a_spool_is_one_process_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    with pytest.raises(SpoolInUse, match="HARKARA_DATA_DIR"):
        Spool(tmp_path, MANY)
    spool.close()
    Spool(tmp_path, MANY).close()


def test_a_disk_that_takes_nothing_leaves_no_half_frame(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(3))
    assert spool._file is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, spool._file)
    os.close(full)
    with pytest.raises(OSError, match="No space left"):
        spool.append(some(3, 3))
    assert spool.waiting == 3
    assert spool.append(some(2, 6)) == 2
    assert drain(spool) == some(3) + some(2, 6)
    spool.close()


def test_a_disk_that_stays_full_is_not_filled_with_empty_segments(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # files can be made, and nothing written into them
    try:
        for _ in range(50):
            with pytest.raises(OSError, match="File too large"):
                spool.append(some(1, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(segments(tmp_path)) == 1
    assert spool.append(some(2, 6)) == 2
    assert drain(spool) == some(3) + some(2, 6)
    spool.close()


class Killed(Spool):
    """Dies as soon as its position is written."""

    def _keep_position(self) -> None:
        super()._keep_position()
        raise KeyboardInterrupt


def test_a_damaged_segment_is_kept_for_a_look_whenever_a_kill_comes(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(3))
    spool.close()
    (path,) = segments(tmp_path)
    path.write_bytes(b"?" + path.read_bytes()[1:])
    killed = Killed(tmp_path, MANY)
    killed.append(some(2, 3))
    with pytest.raises(KeyboardInterrupt):
        killed.replayed(killed.read(1_000))
    killed.close()
    again = Spool(tmp_path, MANY)
    assert (again.waiting, path.with_suffix(".damaged").exists()) == (0, True)
    again.close()


def test_a_position_that_cannot_be_written_holds_up_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    spool.append(some(30))
    (tmp_path / "position.new").mkdir()  # nobody can write there, as on a full disk
    batch = spool.read(300)
    spool.replayed(batch)
    assert [*batch.kept, *drain(spool)] == some(30)
    assert segments(tmp_path) == []
    spool.append(some(5, 30))
    spool.close()
    again = Spool(tmp_path, MANY)
    assert drain(again) == some(5, 30)
    again.close()


def test_one_is_set_aside_as_it_came(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MANY)
    assert spool.set_aside(Kept(5, b"too large")).read_bytes() == b"too large"
    spool.close()


def test_a_position_is_between_frames() -> None:
    assert Position(1, 500) < Position(2, 0)
    assert HEAD.size == 20


APPENDING = """
import sys
from pathlib import Path
from harkara.ingestion.spool import Kept, Spool
spool, n = Spool(Path(sys.argv[1]), 1 << 30), 0
while True:
    count = 1 + n % 7
    spool.append([Kept(1_000 + m, b'{"n": %d, "fill": "%s"}' % (m, b"x" * (m % 50))) for m in range(n, n + count)])
    n += count
    print(n, flush=True)  # as an answer 200 is
"""


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_synced_outlives_a_kill(tmp_path: Path, seed: int) -> None:
    enough, promised = Random(seed).randrange(50, 400), 0
    with subprocess.Popen([sys.executable, "-c", APPENDING, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        while promised < enough:
            promised = int(child.stdout.readline())
        child.kill()
        promised = int((child.stdout.read().splitlines() or [b"%d" % promised])[-1])
    spool = Spool(tmp_path, MANY)
    found = drain(spool, 100_000)
    assert len(found) >= promised
    assert found == some(len(found))
    spool.close()
