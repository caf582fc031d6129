"""ament_python package; also installable with pip on a machine without ROS (extra `ros`)."""

from glob import glob

from setuptools import find_packages, setup

PACKAGE = "nn_estimation"

ROS_MESSAGES = [
    "diagnostic-msgs",
    "geometry-msgs",
    "lifecycle-msgs",
    "nav-msgs",
    "rosgraph-msgs",
    "sensor-msgs",
    "std-srvs",
]
ROS_WHEELS = ["rclpy", "rmw-fastrtps-cpp", *ROS_MESSAGES]

setup(
    name=PACKAGE,
    version="0.1.0",
    description="Small neural networks inside classical state estimators, for ROS 2",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", glob("config/*.yaml") + glob("config/*.xml")),
        (f"share/{PACKAGE}/models", glob("models/*.onnx") + glob("models/*.md")),
    ],
    install_requires=[
        "backports.zstd; python_version < '3.14'",  # as rosbags wants it, and lz4
        "lz4",
        "matplotlib>=3.8",
        "numba>=0.60",
        "numpy>=1.26",
        "onnx>=1.21",
        "pyyaml>=6.0",
        "rosbags>=0.10",
        "scipy>=1.11",
        # What attitude is compared to. No estimate needs it, and a Jetson would have to compile it.
        "vqf>=2.1; platform_machine != 'aarch64'",
    ],
    extras_require={
        "ros": [f"ros-{name}" for name in ROS_WHEELS],
        "ros-jazzy": [f"ros-jazzy-{name}" for name in ROS_WHEELS],
        "cpu": ["onnxruntime>=1.20"],
        "gpu": ["onnxruntime-gpu>=1.20"],
        "train": [
            "cma>=4.0",
            "onnxscript>=0.5",
            "scikit-learn>=1.4",
            "tensorboard>=2.16",
            "torch>=2.5",
            "tqdm>=4.66",
        ],
        # Filters that attitude is compared to.
        "peers": ["ahrs>=0.4", "imufusion>=1.2", "riann>=0.2", "vqf>=2.1"],
        "test": ["pytest==8.3.5", "evo>=1.26", "hypothesis>=6.100", "mypy>=1.10", "ruff>=0.6"],
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            f"{PACKAGE} = {PACKAGE}.cli:main",
            f"attitude_node = {PACKAGE}.attitude.node:main",
            f"dead_reckoning_node = {PACKAGE}.dead_reckoning.node:main",
            f"uwb_bias_node = {PACKAGE}.uwb.node:main",
            f"uwb_localization_node = {PACKAGE}.uwb.localization_node:main",
        ]
    },
)
