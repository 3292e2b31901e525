"""Pictures of runs and of what was compared, from run folders alone."""
