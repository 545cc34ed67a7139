"""Programs timed in turn on the same weights and inputs: ratios, never absolute promises."""
