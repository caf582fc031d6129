"""Claims about what a bag recorded, as arrays."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nn_estimation import cdr
from nn_estimation.bags import BagError, BagReader, BagWriter
from nn_estimation.recorded import columns, decoded, interpolated, reached, scored


def field(stamp_ns: int, x: float) -> cdr.MagneticFieldMessage:
    return cdr.MagneticFieldMessage(stamp_ns, "imu_link", np.array([x, 0.0, 0.0]), np.zeros(9))


@given(st.lists(st.integers(0, 50), max_size=40))
def test_columns_hold_what_came_later_than_all_before(stamps: list[int]) -> None:
    stamp, vector = columns([field(s, float(i)) for i, s in enumerate(stamps)], "field")
    kept = [i for i, s in enumerate(stamps) if i == 0 or s > max(stamps[:i])]
    assert vector[:, 0].tolist() == kept
    np.testing.assert_allclose(stamp, [stamps[i] * 1e-9 for i in kept])
    assert vector.shape == (len(kept), 3)


def test_a_message_with_a_nan_is_no_row_and_makes_none_late() -> None:
    stamp, _ = columns([field(1, 0.0), field(9, np.nan), field(2, 0.0)], "field")
    np.testing.assert_allclose(stamp, [1e-9, 2e-9])


def test_the_truth_reaches_over_short_gaps_and_not_beyond_its_ends() -> None:
    true = np.array([1.0, 1.1, 2.0, 2.1])
    stamp = np.array([0.9, 1.0, 1.05, 1.1, 1.5, 2.0, 2.05, 2.1, 2.11])
    expected = [False, True, True, True, False, True, True, True, False]
    assert reached(stamp, true, longest=0.11).tolist() == expected


@pytest.mark.parametrize(
    ("intervals", "inside"),
    [
        (None, [True] * 5),
        ([], [False] * 5),
        ([[2.0, 3.0]], [False, True, True, False, False]),
        ([[1.0, 1.0], [4.0, 9.0]], [True, False, False, True, True]),
    ],
)
def test_scored_are_the_intervals_with_both_their_ends(
    intervals: list[list[float]] | None, inside: list[bool]
) -> None:
    custom = {} if intervals is None else {"scored": yaml.safe_dump({"intervals": intervals})}
    assert scored(np.arange(1.0, 6.0), custom).tolist() == inside


def test_messages_are_decoded_by_topic_and_those_of_a_missing_topic_are_none(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as writer:
        for n in (3, 1, 2):
            writer.write("imu/mag", cdr.MAG, 10 + n, cdr.encode_mag(field(n, float(n))))
            writer.write("other", cdr.MAG, 10 + n, b"nobody asks")
    with BagReader(tmp_path / "bag") as bag:
        none, mags = decoded(bag, {"imu/data_raw": cdr.decode_imu, "imu/mag": cdr.decode_mag})
    assert none == [] and [message.stamp_ns for message in mags] == [1, 2, 3]


def test_between_two_values_is_their_mean() -> None:
    values = np.array([[0.0, 4.0], [2.0, 8.0]])
    np.testing.assert_allclose(interpolated(np.array([1.5]), np.array([1.0, 2.0]), values), [[1.0, 6.0]])


@pytest.mark.parametrize(
    "text", ["intervals: [[1, 2", "[1]", "intervals: [1, 2]", "intervals: 3", "intervals: [[a, 2]]"]
)
def test_a_scoring_that_cannot_be_read_is_a_bag_error(text: str) -> None:
    with pytest.raises(BagError, match=r"scored: .*put it right|expected"):
        scored(np.arange(3.0), {"scored": text})
