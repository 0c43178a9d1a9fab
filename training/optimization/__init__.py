"""Initial weights and their updates: initialization, optimisers, schedule, averages."""
