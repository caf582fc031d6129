"""What launch tests share as fixtures."""

from typing import Any

import pytest


@pytest.fixture
def watch() -> Any:
    """What happens to the processes of a launch."""
    from launched import Watch  # needs a ROS 2 installation

    return Watch()
