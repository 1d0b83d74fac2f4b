"""Tests under load: the plan is pure, the engine runs a shard of it, what comes back is merged and judged."""
