"""What the nodes share: managed node, diagnostics, bag player and recorder. Needs rclpy."""
