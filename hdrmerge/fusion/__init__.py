"""From an aligned, calibrated stack to radiance: noise, deghosting, the explicit merge."""
