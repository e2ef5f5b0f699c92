from __future__ import annotations

from pipeline.source.kafka.ages import RecordAges

FRAMES = ("frames", 0)


def test_the_oldest_that_is_not_finished_counts() -> None:
    ages = RecordAges()
    ages.note(FRAMES, last_offset=9, first_at=100.0, last_at=101.0)
    ages.note(FRAMES, last_offset=19, first_at=105.0, last_at=106.0)
    assert ages.age_s(FRAMES, next_offset=0, end=20, now=110.0) == 10.0
    assert ages.age_s(FRAMES, next_offset=9, end=20, now=110.0) == 10.0
    assert ages.age_s(FRAMES, next_offset=10, end=20, now=110.0) == 5.0
    assert ages.age_s(FRAMES, next_offset=20, end=20, now=110.0) == 0.0


def test_records_that_were_not_read_are_at_most_as_old_as_the_last_that_was() -> None:
    ages = RecordAges()
    ages.note(FRAMES, last_offset=9, first_at=100.0, last_at=101.0)
    assert ages.age_s(FRAMES, next_offset=10, end=500, now=111.0) == 10.0


def test_nothing_is_known_of_a_partition_that_gave_nothing() -> None:
    ages = RecordAges()
    assert ages.age_s(FRAMES, next_offset=0, end=0, now=5.0) == 0.0
    assert ages.age_s(FRAMES, next_offset=0, end=500, now=5.0) == 0.0


def test_a_clock_that_is_ahead_makes_no_negative_age() -> None:
    ages = RecordAges()
    ages.note(FRAMES, last_offset=9, first_at=100.0, last_at=100.0)
    assert ages.age_s(FRAMES, next_offset=0, end=10, now=90.0) == 0.0


def test_what_is_taken_away_is_forgotten() -> None:
    ages = RecordAges()
    ages.note(FRAMES, last_offset=9, first_at=100.0, last_at=100.0)
    ages.keep_only([("frames", 1)])
    assert ages.age_s(FRAMES, next_offset=0, end=10, now=110.0) == 0.0
