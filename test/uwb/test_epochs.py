"""Epochs do not depend on how messages of different topics were interleaved."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nn_estimation.uwb.epochs import LATE, REPEATED, RESET, Epoch, Link, Sequencer

Item = tuple[str, object, float]
Released = list[tuple[float, list[tuple[str, object]]]]

RATE = 20.0
TOPICS = {"tag0": 4, "tag1": 4, "imu": 1}


def recording(epochs: int, drop: float, seed: int) -> dict[str, list[Item]]:
    """Messages of each topic in its own order; some are lost."""
    rng = np.random.default_rng(seed)
    out: dict[str, list[Item]] = {topic: [] for topic in TOPICS}
    for topic, keys in TOPICS.items():
        for i in range(epochs):
            for key in range(keys):
                if rng.random() >= drop:
                    out[topic].append((topic, key, 100.0 + i / RATE))
    return out


def interleave(topics: dict[str, list[Item]], skew: float, seed: int) -> list[Item]:
    """Every topic in order, one up to `skew` seconds behind another."""
    rng = np.random.default_rng(seed)
    arrivals = []
    for items in topics.values():
        last = -np.inf
        tie = rng.random()  # among topics, not within one
        for item in items:
            last = max(last, item[2] + rng.uniform(0.0, skew))
            arrivals.append((last, tie, item))
    return [item for _, _, item in sorted(arrivals, key=lambda a: a[:2])]


def run(items: list[Item], sequencer: Sequencer | None = None) -> Released:
    sequencer = sequencer or Sequencer()
    out: Released = []
    for topic, key, stamp in items:
        sequencer.push(topic, key, stamp, None)
        out += [(s, sorted((t, k) for t, k, _ in batch)) for s, batch in sequencer.pop()]  # type: ignore[type-var]
    out += [(s, sorted((t, k) for t, k, _ in batch)) for s, batch in sequencer.flush()]  # type: ignore[type-var]
    return out


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.4]), st.sampled_from([0.0, 0.01, 0.045]))
def test_the_same_messages_give_the_same_epochs_in_any_interleaving(
    seed: int, drop: float, skew: float
) -> None:
    topics = recording(80, drop, seed)
    in_order = [item for items in topics.values() for item in items]
    in_order.sort(key=lambda item: item[2])
    sequencer = Sequencer()
    assert run(interleave(topics, skew, seed), sequencer) == run(in_order)
    assert sequencer.counts == {LATE: 0, REPEATED: 0, RESET: 0}


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_nothing_is_lost_and_stamps_increase(seed: int, drop: float) -> None:
    topics = recording(80, drop, seed)
    released = run(interleave(topics, 0.04, seed))
    stamps = [stamp for stamp, _ in released]
    assert stamps == sorted(set(stamps))
    assert sum(len(batch) for _, batch in released) == sum(map(len, topics.values()))


def test_a_complete_epoch_is_released_at_once() -> None:
    sequencer = Sequencer()
    waiting = 0
    for _topic, key, stamp in [("tag0", k, 100.0 + i / RATE) for i in range(100) for k in range(4)]:
        sequencer.push("tag0", key, stamp, None)
        released = [s for s, _ in sequencer.pop()]
        if stamp > 103.0 and key == 3:
            waiting += released != [stamp]
    assert waiting == 0


def test_an_incomplete_epoch_waits_no_longer_than_the_delay() -> None:
    sequencer = Sequencer(max_delay=0.05)
    for i in range(100):
        for topic in ("tag0", "tag1"):
            sequencer.push(topic, 0, 100.0 + i * 0.01, None)
        list(sequencer.pop())
    sequencer.push("tag0", 0, 101.0, None)
    assert 101.0 not in [s for s, _ in sequencer.pop()]
    sequencer.push("tag0", 0, 101.04, None)
    assert 101.0 not in [s for s, _ in sequencer.pop()]
    sequencer.push("tag0", 0, 101.06, None)
    assert 101.0 in [s for s, _ in sequencer.pop()]


def test_a_topic_that_falls_silent_is_not_waited_for_after_a_while() -> None:
    sequencer = Sequencer(max_delay=10.0, forget_after=2.0)
    for i in range(60):
        sequencer.push("tag0", 0, 100.0 + i / RATE, None)
        sequencer.push("tag1", 0, 100.0 + i / RATE, None)
    list(sequencer.pop())
    released = []
    for i in range(60, 140):
        sequencer.push("tag0", 0, 100.0 + i / RATE, None)
        released += [s for s, _ in sequencer.pop()]
    assert released[-1] == 100.0 + 139 / RATE


def test_a_link_that_comes_back_loses_one_message() -> None:
    sequencer = Sequencer()
    kept = []
    for i in range(200):
        for key in (0, 1) if 60 <= i < 120 else (0, 1, 2):
            sequencer.push("tag0", key, 100.0 + i / RATE, None)
        kept += [s for s, batch in sequencer.pop() for _, key, _ in batch if key == 2]
    kept += [s for s, batch in sequencer.flush() for _, key, _ in batch if key == 2]
    assert sum(stamp >= 106.0 for stamp in kept) == 79
    assert sequencer.counts[LATE] == 1


def test_late_and_repeated_messages_are_dropped_and_counted() -> None:
    sequencer = Sequencer()
    sequencer.push("a", 0, 100.0, "first")
    sequencer.push("a", 0, 100.0, "again")
    sequencer.push("a", 0, 100.2, "next")
    sequencer.push("a", 1, 100.1, "late")
    items = [item for _, batch in sequencer.flush() for _, _, item in batch]
    assert items == ["first", "next"]
    assert sequencer.counts == {LATE: 1, REPEATED: 1, RESET: 0}


def test_time_that_runs_backwards_starts_anew() -> None:
    sequencer = Sequencer(backward_jump=1.0)
    assert sequencer.push("a", 0, 100.0, "old")
    assert not sequencer.push("a", 0, 50.0, "new")
    assert sequencer.push("a", 0, 50.1, "newer")
    assert [item for _, batch in sequencer.flush() for _, _, item in batch] == ["new", "newer"]
    assert sequencer.counts[RESET] == 1


def test_a_topic_that_lags_by_more_is_late_and_the_others_go_on() -> None:
    sequencer = Sequencer(backward_jump=1.0)
    for i in range(100):
        assert sequencer.push("prompt", 0, 100.0 + 0.1 * i, i)
        assert sequencer.push("slow", 0, 97.0 + 0.1 * i, None)
    released = [item for _, batch in sequencer.flush() for source, _, item in batch if source == "prompt"]
    assert released == list(range(100))
    assert sequencer.counts[RESET] == 0


def test_a_loop_of_several_topics_begins_anew_and_loses_nothing_of_the_next_round() -> None:
    """The last message of one comes after the first of the next round of the other."""
    sequencer = Sequencer(backward_jump=1.0)
    released = []
    for source, stamp in [
        ("a", 150.0),
        ("a", 100.0),
        ("b", 150.0),
        ("a", 100.1),
        ("b", 100.0),
        ("b", 100.1),
        ("a", 100.2),
    ]:
        sequencer.push(source, 0, stamp, (source, stamp))
        released += [item for _, batch in sequencer.pop() for _, _, item in batch]
    released += [item for _, batch in sequencer.flush() for _, _, item in batch]
    assert sequencer.counts[RESET] == 2
    assert released[-3:] == [("b", 100.0), ("b", 100.1), ("a", 100.2)]
    assert {("a", 100.0), ("a", 100.1)} < set(released)


@given(st.permutations(range(6)))
def test_links_of_an_epoch_are_in_one_order(order: list[int]) -> None:
    links = [
        Link(t, a, b, 10.0 * t + a, 0.0, bytes([t, a]), {0: (t, a, 0.0)})
        for t in (0, 1)
        for a, b in ((0, -1), (1, -1), (1, 2))
    ]
    epoch = Epoch.of(5.0, [links[i] for i in order])
    assert epoch.tag.tolist() == [0, 0, 0, 1, 1, 1]
    assert epoch.anchor_a.tolist() == [0, 1, 1, 0, 1, 1]
    assert epoch.anchor_b.tolist() == [-1, -1, 2, -1, -1, 2]
    assert epoch.measured.tolist() == [0.0, 1.0, 1.0, 10.0, 11.0, 11.0]
    assert epoch.power[:, 1].tolist() == [0, 1, 1, 0, 1, 1]
    assert np.isnan(epoch.power[:, 3:]).all()
    assert [message[1] for message in epoch.messages] == [0, 1, 1, 0, 1, 1]
