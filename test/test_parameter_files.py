"""Claims about parameter files read without ROS: what names a node, what wins, and what is refused."""

from pathlib import Path

import pytest

from nn_estimation.attitude.parameters import NODE, PARAMETERS
from nn_estimation.parameters import ParameterError, from_file

CONFIG = Path(__file__).resolve().parents[1] / "config" / "attitude.yaml"


def written(folder: Path, text: str) -> Path:
    (folder / "node.yaml").write_text(text)
    return folder / "node.yaml"


def test_the_file_of_the_node_is_all_defaults() -> None:
    defaults = {parameter.name: parameter.default for parameter in PARAMETERS}
    assert from_file(CONFIG, NODE, PARAMETERS) == {"autostart": True} | defaults


@pytest.mark.parametrize(
    "head",
    [
        "/**:",
        "/*:",
        "/**/attitude_node:",
        "attitude_node:",
        "/attitude_node:",
        "/robot/left/attitude_node:",
        "robot:\n attitude_node:",
        "other_node: {ros__parameters: {imu_yaw: 3.0}}\nattitude_node:",
        "/**: {ros__parameters: {imu_yaw: 3.0, use_sim_time: true}}\nattitude_node:",
    ],
)
def test_a_node_is_named_as_in_ros(head: str, tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"{head}\n  ros__parameters:\n    imu_yaw: 90.0\n    qos_overrides./imu/mag.subscription.depth: 3\n",
    )
    found = from_file(path, NODE, PARAMETERS)
    assert found["imu_yaw"] == 90.0 and found["world_frame"] == "enu"
    assert set(found) == {"autostart", *(parameter.name for parameter in PARAMETERS)}


def test_a_node_of_which_nothing_is_said_has_its_defaults(tmp_path: Path) -> None:
    assert (
        from_file(written(tmp_path, "attitude_node:\n  ros__parameters:"), NODE, PARAMETERS)["use_mag"]
        is True
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("imu_jaw: 3.0", "unknown key 'imu_jaw', the nearest known one is 'imu_yaw'"),
        ("imu_yaw: 90", "imu_yaw is 90: write 90.0, it must be a float"),
        ("imu_yaw: 1e-3", "imu_yaw is '1e-3': it must be a float (YAML reads 1e-3 as text: write 1.0e-3)"),
        ("imu_yaw: true", "imu_yaw is True: it must be a float"),
        ("imu_yaw: [1.0]", "imu_yaw is [1.0]: it must be a float"),
        ("imu_yaw: 200.0", "imu_yaw is 200.0: its range is -180 to 180"),
        ("imu_yaw: .nan", "imu_yaw is nan: its range is -180 to 180"),
        ("use_mag: 1", "use_mag is 1: it must be a bool"),
        ("child_frame: 7", "child_frame is 7: it must be a str"),
        ("world_frame: esu", "world_frame is 'esu': choose one of enu, ned, nwu"),
        (
            "imu_yaw: 90\n    use_mag: 1",
            "imu_yaw is 90: write 90.0, it must be a float; use_mag is 1: it must be a bool",
        ),
    ],
)
def test_what_the_node_would_refuse_is_refused_all_at_once(said: str, problem: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"attitude_node:\n  ros__parameters:\n    {said}\n")
    with pytest.raises(ParameterError) as refused:
        from_file(path, NODE, PARAMETERS)
    assert str(refused.value) == f"{path}: {problem}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "says nothing of attitude_node; it has no ros__parameters"),
        ("imu_yaw: 90.0", "says nothing of attitude_node; it has no ros__parameters"),
        ("uwb_bias_node: {ros__parameters: {}}", "says nothing of attitude_node; it has /uwb_bias_node"),
        ("attitude_node: {ros__parameters: 3}", "of /attitude_node is 3: it must be names and values"),
        (
            "/left/attitude_node: {ros__parameters: {}}\n/right/attitude_node: {ros__parameters: {}}",
            "has /left/attitude_node and /right/attitude_node: leave the one that is meant",
        ),
        ("a: [", "cannot be read as YAML: "),
    ],
)
def test_a_file_that_is_not_of_the_node_is_refused_in_one_line(
    text: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError) as refused:
        from_file(written(tmp_path, text), NODE, PARAMETERS)
    assert problem in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"none\.yaml cannot be read"):
        from_file(tmp_path / "none.yaml", NODE, PARAMETERS)
