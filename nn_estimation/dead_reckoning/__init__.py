"""Dead reckoning of a wheeled vehicle from its IMU: an invariant EKF with a learned covariance."""
