"""Quality on real data: a published figure from scratch, and what warm-starting gives (`docs/quality.md`)."""
