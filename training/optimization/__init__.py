"""Where the weights start, and what moves them: initialization, optimisers, schedule, averages."""
