"""Graph to Plan: what fuses, loop order, tile, vector and parallel axis, where every buffer lives."""
